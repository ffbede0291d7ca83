//! An event as one line: logfmt, or a JSON object. Both have the same keys in the same order.
//!
//! Ours, because no crate's logfmt has the keys and the time of fixed width that Go's programs made usual.

use std::fmt::{self, Write};
use std::time::SystemTime;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::cli::LogFormat;

/// The line of an event, with its newline.
pub fn line(format: LogFormat, at: SystemTime, event: &Event<'_>) -> String {
    let mut fields = EventFields::default();
    event.record(&mut fields);
    // The epoch for times that no calendar has. To the millisecond, and always as many digits.
    let ts = format!("{:.3}", jiff::Timestamp::try_from(at).unwrap_or_default());
    let head = [("ts", ts), ("level", level(*event.metadata().level()).to_owned()), ("msg", fields.message)];
    let head = head.into_iter().map(|(key, value)| (key, Value::String(value)));
    let all = head.chain(fields.others);
    let mut line = match format {
        LogFormat::Logfmt => logfmt(all),
        LogFormat::Json => json(all),
    };
    line.push('\n');
    line
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// What an event was given.
#[derive(Debug, Default)]
struct EventFields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl EventFields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.push((field.name(), value));
    }

    fn add_text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            _ => self.add(field, text.into()),
        }
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value.to_owned());
    }

    /// Seconds, for nothing else has a fraction: below one to the microsecond, for pings, and else to the millisecond.
    fn record_f64(&mut self, field: &Field, value: f64) {
        let digits = if value < 1.0 { 1e6 } else { 1e3 };
        self.add(field, ((value * digits).round() / digits).into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

fn logfmt(fields: impl Iterator<Item = (&'static str, Value)>) -> String {
    let mut line = String::new();
    for (key, value) in fields {
        let blank = if line.is_empty() { "" } else { " " };
        // A quoted value is a JSON string: readers of logfmt take both for the same.
        let written = match &value {
            Value::String(text) if is_plain(text) => write!(line, "{blank}{key}={text}"),
            _ => write!(line, "{blank}{key}={value}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    line
}

/// Whether a value needs no quotes.
fn is_plain(text: &str) -> bool {
    let needs_quotes = |c: char| c <= ' ' || c == '\u{7f}' || matches!(c, '=' | '"' | '\\' | '\u{fffd}');
    !text.is_empty() && !text.contains(needs_quotes)
}

fn json(fields: impl Iterator<Item = (&'static str, Value)>) -> String {
    let pairs: Vec<_> = fields.map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing::{error, info, warn};
    use tracing_subscriber::layer::{Context, SubscriberExt};
    use tracing_subscriber::{Layer, registry};

    use super::*;

    struct Kept(LogFormat, Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_050);
            self.1.lock().unwrap().push(line(self.0, at, event));
        }
    }

    fn lines(format: LogFormat, log: impl Fn()) -> Vec<String> {
        let kept = Arc::default();
        tracing::subscriber::with_default(registry().with(Kept(format, Arc::clone(&kept))), log);
        let lines = kept.lock().unwrap();
        lines.clone()
    }

    fn log() {
        let (target, nothing) = ("it's", None::<f64>);
        info!(target, size = 10, lasted_seconds = 0.263_000_04, nothing, on = true, "it is back");
        warn!(detail = "a=\"b\"\\\n\u{1b}[31m", empty = "", "plain");
        error!(%target, cause = ?Some(1), less = -1, long_seconds = 7.776_888, "{}", "a sentence; with blanks");
    }

    #[test]
    fn a_line_of_logfmt_has_its_keys_in_order_and_quotes_where_they_are_needed() {
        let ts = "ts=2026-09-21T14:13:20.050Z";
        assert_eq!(
            lines(LogFormat::Logfmt, log),
            [
                format!(
                    "{ts} level=info msg=\"it is back\" target=it's size=10 lasted_seconds=0.263 on=true\n"
                ),
                format!("{ts} level=warn msg=plain detail=\"a=\\\"b\\\"\\\\\\n\\u001b[31m\" empty=\"\"\n"),
                format!(
                    "{ts} level=error msg=\"a sentence; with blanks\" target=it's cause=Some(1) less=-1 long_seconds=7.777\n"
                ),
            ]
        );
    }

    #[test]
    fn a_line_of_json_has_the_same_keys_and_types() {
        let lines = lines(LogFormat::Json, log);
        assert_eq!(
            lines[0],
            "{\"ts\":\"2026-09-21T14:13:20.050Z\",\"level\":\"info\",\"msg\":\"it is back\",\"target\":\"it's\",\
             \"size\":10,\"lasted_seconds\":0.263,\"on\":true}\n"
        );
        for line in &lines {
            let read: Value = serde_json::from_str(line).unwrap();
            assert!(read.is_object() && line.ends_with("}\n") && line.lines().count() == 1, "{line}");
        }
        let second: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(second["detail"], "a=\"b\"\\\n\u{1b}[31m");
    }
}
