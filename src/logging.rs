//! The process's log: logfmt or JSON lines on standard error.
//!
//! Only pgtether's own events are written: what libraries would tell at debug level may quote what they were given.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

use crate::cli::{LogArgs, LogFormat, LogLevel};

/// Starts the log. Fails where the process has one already.
pub fn start(args: &LogArgs) -> Result<(), TryInitError> {
    let level = match args.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    // `target` is a database here, not a module path.
    let layer = match args.format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_target(false)
            .with_span_path(false)
            .layer()
            .with_writer(io::stderr)
            .boxed(),
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_target(false).with_writer(io::stderr).boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(ours)).try_init()
}
