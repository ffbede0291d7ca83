//! The process's log: logfmt or JSON lines on standard error, for which nothing here waits.
//!
//! Only pgtether's own events are written: what libraries would tell at debug level may quote what they were given.

mod line;
mod output;

use std::backtrace::Backtrace;
use std::time::SystemTime;
use std::{panic, thread};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

pub use output::LogOutput;

use crate::cli::{LogArgs, LogFormat, LogLevel};

/// Writes each event as a line.
struct Lines {
    format: LogFormat,
    output: LogOutput,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.output.take(line::line(self.format, SystemTime::now(), event).as_bytes());
    }
}

/// Starts the log, panics included. Fails where the process has one already.
pub fn start(args: &LogArgs, output: &LogOutput) -> Result<(), TryInitError> {
    let level = match args.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let layer = Lines { format: args.format, output: output.clone() };
    tracing_subscriber::registry().with(layer.with_filter(ours)).try_init()?;
    let output = output.clone();
    panic::set_hook(Box::new(move |what| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        output.take(format!("thread {name} {what}\n{}\n", Backtrace::capture()).as_bytes());
    }));
    Ok(())
}
