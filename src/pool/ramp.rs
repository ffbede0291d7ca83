//! How many sessions may be opened at once: one after trouble, then twice as many with each that opens.

/// At the most.
const WIDEST: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp(usize);

impl Default for Ramp {
    fn default() -> Self {
        Ramp(1)
    }
}

impl Ramp {
    /// So many at once, those under way included.
    pub fn width(self) -> usize {
        self.0
    }

    pub fn opened(&mut self) {
        self.0 = (self.0 * 2).min(WIDEST);
    }

    pub fn failed(&mut self) {
        *self = Ramp::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_eight_and_begins_anew_after_a_failure() {
        let mut ramp = Ramp::default();
        let mut widths = vec![ramp.width()];
        for _ in 0..4 {
            ramp.opened();
            widths.push(ramp.width());
        }
        assert_eq!(widths, [1, 2, 4, 8, 8]);
        ramp.failed();
        assert_eq!(ramp.width(), 1);
    }
}
