//! The process's log: logfmt or JSON lines on standard error, for which nothing here waits.
//!
//! Only pgtether's own events are written: what libraries would tell at debug level may quote what they were given.

mod output;

use std::backtrace::Backtrace;
use std::io::Write;
use std::{panic, thread};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

pub use output::LogOutput;

use crate::cli::{LogArgs, LogFormat, LogLevel};

/// Starts the log, panics included. Fails where the process has one already.
pub fn start(args: &LogArgs, output: &LogOutput) -> Result<(), TryInitError> {
    let level = match args.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let writer = output.clone();
    let writer = move || writer.clone();
    // A formatter's own errors would go to standard error past the queue. `target` is a database here, not a module path.
    let layer = match args.format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_target(false)
            .with_span_path(false)
            .layer()
            .with_writer(writer)
            .log_internal_errors(false)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_writer(writer)
            .log_internal_errors(false)
            .boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(ours)).try_init()?;
    let output = output.clone();
    panic::set_hook(Box::new(move |what| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        // Never an error: it waits or is dropped, and counted.
        let _ = output.clone().write(format!("thread {name} {what}\n{}\n", Backtrace::capture()).as_bytes());
    }));
    Ok(())
}
