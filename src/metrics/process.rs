//! The process's own instruments, kept by the `prometheus` crate: no target's, no statics, owned by whoever runs.

use prometheus::core::Collector;
use prometheus::{Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use super::usage::ProcessUsage;
use crate::status::epoch_seconds;
use crate::status::process::{LastRead, ProcessStatus};

/// Who answered a request: the closed set of `handler`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    Page,
    Metrics,
    Probe,
    Health,
    Livez,
    Readyz,
    /// `/-/healthy`, `/-/ready`, `/-/reload`, and `/-/pools/`.
    Lifecycle,
    Api,
    /// No path of ours.
    Other,
}

impl Handler {
    /// In the order of the series.
    pub const ALL: [Handler; 9] = [
        Handler::Page,
        Handler::Metrics,
        Handler::Probe,
        Handler::Health,
        Handler::Livez,
        Handler::Readyz,
        Handler::Lifecycle,
        Handler::Api,
        Handler::Other,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Handler::Page => "page",
            Handler::Metrics => "metrics",
            Handler::Probe => "probe",
            Handler::Health => "health",
            Handler::Livez => "livez",
            Handler::Readyz => "readyz",
            Handler::Lifecycle => "lifecycle",
            Handler::Api => "api",
            Handler::Other => "other",
        }
    }

    /// The code it answers with when all is well: that series is there from the start.
    const fn usual_code(self) -> u16 {
        match self {
            Handler::Other => 404,
            _ => 200,
        }
    }
}

/// The instruments.
#[derive(Debug)]
pub struct ProcessMetrics {
    registry: Registry,
    targets: IntGauge,
    logins_in_flight: IntGauge,
    reload_successful: IntGauge,
    reload_success_at: Gauge,
    web_config_read: IntGauge,
    requests: IntCounterVec,
    history_file_writable: IntGauge,
    usage: Option<ProcessUsage>,
}

impl ProcessMetrics {
    /// `log_lines_dropped` is the log's, which begins before.
    ///
    /// # Errors
    /// Two instruments of one name or a malformed one: a bug that every start would show.
    pub fn new(version: &str, log_lines_dropped: IntCounter) -> prometheus::Result<Self> {
        let registry = Registry::new();
        keep(&registry, log_lines_dropped)?;
        let built = Opts::new("pgtether_build_info", "The build that runs, by its labels; always 1.");
        let built = built.const_label("version", version).const_label("revision", env!("PGTETHER_REVISION"));
        keep(&registry, IntGauge::with_opts(built)?)?.set(1);
        let metrics = ProcessMetrics {
            targets: whole(&registry, "pgtether_targets", "Targets that are configured.")?,
            logins_in_flight: whole(
                &registry,
                "pgtether_logins_in_flight",
                "Logins under way over all targets, which fleet.logins_in_flight limits.",
            )?,
            reload_successful: whole(
                &registry,
                "pgtether_config_last_reload_successful",
                "Whether the last read of the configuration succeeded: 1, or 0 while the previous one stays in use.",
            )?,
            reload_success_at: keep(
                &registry,
                Gauge::new(
                    "pgtether_config_last_reload_success_timestamp_seconds",
                    "When a configuration was last loaded.",
                )?,
            )?,
            web_config_read: whole(
                &registry,
                "pgtether_web_config_last_reload_successful",
                "Whether the last read of the web config file succeeded: 1, or 0 while the previous one stays in use.",
            )?,
            requests: keep(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "pgtether_http_requests_total",
                        "HTTP requests answered, by handler and status code.",
                    ),
                    &["handler", "code"],
                )?,
            )?,
            history_file_writable: whole(
                &registry,
                "pgtether_history_file_writable",
                "Whether the history file was last written without an error: 1, or 0 while it cannot be; 1 without such a file.",
            )?,
            usage: ProcessUsage::register(&registry)?,
            registry,
        };
        metrics.history_file_writable.set(1);
        for handler in Handler::ALL {
            metrics.counter(handler, handler.usual_code());
        }
        Ok(metrics)
    }

    /// For whoever writes the history file.
    pub fn history_file_writable(&self) -> IntGauge {
        self.history_file_writable.clone()
    }

    /// A request was answered.
    pub fn request(&self, handler: Handler, code: u16) {
        self.counter(handler, code).inc();
    }

    /// Appends the instruments to `out`; `targets` and `process` are as of now.
    pub fn render(
        &self,
        targets: usize,
        process: &ProcessStatus,
        out: &mut Vec<u8>,
    ) -> prometheus::Result<()> {
        if let Some(usage) = &self.usage {
            usage.read();
        }
        self.targets.set(as_gauge(targets));
        self.logins_in_flight.set(as_gauge(process.logins_in_flight));
        self.reload_successful.set(process.config.is_taken().into());
        self.reload_success_at.set(epoch_seconds(process.config.taken_at()));
        // Where there is no such file, none was refused.
        self.web_config_read.set(process.web_config.as_ref().is_none_or(LastRead::is_taken).into());
        TextEncoder::new().encode(&self.registry.gather(), out)
    }

    fn counter(&self, handler: Handler, code: u16) -> IntCounter {
        let code = itoa::Buffer::new().format(code).to_owned();
        self.requests.with_label_values(&[handler.as_str(), &code])
    }
}

/// The log's counter, kept by the log.
pub fn log_lines_dropped() -> prometheus::Result<IntCounter> {
    IntCounter::new(
        "pgtether_log_lines_dropped_total",
        "Log lines that were not written because nobody read standard error, or it was closed.",
    )
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn whole(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    keep(registry, IntGauge::new(name, help)?)
}

fn keep<C: Collector + Clone + 'static>(registry: &Registry, instrument: C) -> prometheus::Result<C> {
    registry.register(Box::new(instrument.clone()))?;
    Ok(instrument)
}
