//! What facts mean: `failures` as tables.

use super::{Facts, Verdict};

/// What these facts mean, taken by themselves; idle time and policy are the supervisor's context.
pub fn judge(_facts: &Facts) -> Verdict {
    Verdict {
        reason: super::Reason::Other,
        class: super::Class::Transient,
        at_least: std::time::Duration::ZERO,
    }
}
