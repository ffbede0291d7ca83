//! What Prometheus scrapes: a projection of snapshots, and the process's own instruments.
//!
//! [`families`] is the one table of what a target exports, read by [`read`]; [`text`] writes it straight into bytes. [`ProcessMetrics`]
//! holds what is not a target's. Nothing here waits, decides or knows of HTTP.

#[cfg(test)]
mod document;
mod families;
mod process;
mod read;
#[cfg(test)]
mod tests;
mod text;
mod usage;

pub use families::FAMILIES;
pub use process::{Handler, ProcessMetrics, log_lines_dropped};

use crate::status::View;

/// The content type of what [`render`] and [`ProcessMetrics::render`] write.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A family of series, one or more a target, and how a target's values are read off its view.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: FamilyKind,
    /// Tells `Sink` the target's values; tells nothing where there is none.
    pub read: fn(&View<'_>, &mut dyn Sink),
}

/// What Prometheus may do with a family's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    Gauge,
    Counter,
    Histogram,
}

impl FamilyKind {
    /// The word after `# TYPE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            FamilyKind::Gauge => "gauge",
            FamilyKind::Counter => "counter",
            FamilyKind::Histogram => "histogram",
        }
    }
}

/// Labels beside `target`.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Takes a target's values; the label `target` is the sink's to add.
pub trait Sink {
    /// A whole number.
    fn whole(&mut self, labels: Labels<'_>, value: u64);
    /// Any number: seconds, mostly.
    fn real(&mut self, labels: Labels<'_>, value: f64);
    /// `counts` are by bucket, not cumulated; what lies above the last bound is in `count` alone.
    fn histogram(&mut self, bounds: &[f64], counts: &[u64], count: u64, sum: f64);
}

/// Appends every family of every target to `out`; a family without a value is left out.
pub fn render(views: &[View<'_>], out: &mut Vec<u8>) {
    text::write(FAMILIES, views, out);
}
