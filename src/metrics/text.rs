//! Writes families as Prometheus text, byte for byte as `prometheus::TextEncoder` would.

use std::io::Write;

use super::{Family, Labels, Sink};
use crate::status::View;

/// Appends the families to `out`, all targets under each.
pub(super) fn write(families: &[Family], views: &[View<'_>], out: &mut Vec<u8>) {
    let targets: Vec<Vec<u8>> = views.iter().map(|view| opening(view.status.name.as_str())).collect();
    for family in families {
        let start = out.len();
        header(family, out);
        let first = out.len();
        let mut series = Series::of(family, out);
        for (view, target) in views.iter().zip(&targets) {
            series.aim_at(target);
            (family.read)(view, &mut series);
        }
        if out.len() == first {
            out.truncate(start);
        }
    }
}

/// Where the samples of one target in one family go.
struct Series<'a> {
    name: &'static str,
    /// `{target="…"`, still open.
    target: &'a [u8],
    /// Name and target: what each sample begins with.
    opened: Vec<u8>,
    /// The values of `le`, formatted once a family.
    bounds: Vec<String>,
    out: &'a mut Vec<u8>,
}

impl<'a> Series<'a> {
    fn of(family: &Family, out: &'a mut Vec<u8>) -> Self {
        Series { name: family.name, target: &[], opened: Vec::new(), bounds: Vec::new(), out }
    }

    fn aim_at(&mut self, target: &'a [u8]) {
        self.target = target;
        self.opened.clear();
        self.opened.extend_from_slice(self.name.as_bytes());
        self.opened.extend_from_slice(target);
    }

    fn start(&mut self, labels: Labels<'_>) {
        self.out.extend_from_slice(&self.opened);
        for (name, value) in labels {
            self.out.push(b',');
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"=\"");
            escape(value, self.out);
            self.out.push(b'"');
        }
        self.out.extend_from_slice(b"} ");
    }

    fn start_with(&mut self, suffix: &str) {
        self.out.extend_from_slice(self.name.as_bytes());
        self.out.extend_from_slice(suffix.as_bytes());
        self.out.extend_from_slice(self.target);
    }

    fn end_whole(&mut self, value: u64) {
        let mut digits = itoa::Buffer::new();
        self.out.extend_from_slice(digits.format(value).as_bytes());
        self.out.push(b'\n');
    }

    fn end_real(&mut self, value: f64) {
        // Writing to a Vec cannot fail.
        let _ = writeln!(self.out, "{value}");
    }

    fn bucket(&mut self, bound: usize, count: u64) {
        self.start_with("_bucket");
        self.out.extend_from_slice(b",le=\"");
        let le = self.bounds.get(bound).map_or("+Inf", String::as_str);
        self.out.extend_from_slice(le.as_bytes());
        self.out.extend_from_slice(b"\"} ");
        self.end_whole(count);
    }
}

impl Sink for Series<'_> {
    fn whole(&mut self, labels: Labels<'_>, value: u64) {
        self.start(labels);
        self.end_whole(value);
    }

    fn real(&mut self, labels: Labels<'_>, value: f64) {
        self.start(labels);
        self.end_real(value);
    }

    fn histogram(&mut self, bounds: &[f64], counts: &[u64], count: u64, sum: f64) {
        if self.bounds.is_empty() {
            self.bounds = bounds.iter().map(f64::to_string).collect();
        }
        let mut cumulated = 0;
        for (bound, in_bucket) in counts.iter().enumerate() {
            cumulated += in_bucket;
            self.bucket(bound, cumulated);
        }
        self.bucket(bounds.len(), count);
        self.start_with("_sum");
        self.out.extend_from_slice(b"} ");
        self.end_real(sum);
        self.start_with("_count");
        self.out.extend_from_slice(b"} ");
        self.end_whole(count);
    }
}

fn header(family: &Family, out: &mut Vec<u8>) {
    out.extend_from_slice(b"# HELP ");
    out.extend_from_slice(family.name.as_bytes());
    out.push(b' ');
    // Written by us: a test holds that nothing in it needs an escape.
    out.extend_from_slice(family.help.as_bytes());
    out.extend_from_slice(b"\n# TYPE ");
    out.extend_from_slice(family.name.as_bytes());
    out.push(b' ');
    out.extend_from_slice(family.kind.as_str().as_bytes());
    out.push(b'\n');
}

fn opening(target: &str) -> Vec<u8> {
    let mut opened = b"{target=\"".to_vec();
    escape(target, &mut opened);
    opened.push(b'"');
    opened
}

/// In label values, `\`, newline and `"` are what the format gives a meaning.
fn escape(text: &str, out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\n' => b"\\n",
            b'"' => b"\\\"",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}
