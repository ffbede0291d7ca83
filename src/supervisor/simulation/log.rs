//! What the log would say, kept for the test that runs on this thread.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

/// The lines at info and above.
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Log {
    pub fn start() -> Self {
        let lines = Arc::default();
        let subscriber = Registry::default().with(Keep(Arc::clone(&lines)));
        Log { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// What was written since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("nobody panics while it writes"))
    }
}

struct Keep(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let ours = event.metadata().target().starts_with(env!("CARGO_CRATE_NAME"));
        if !ours || *event.metadata().level() > Level::INFO {
            return;
        }
        let mut line = LogLine(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().expect("nobody panics while it writes").push(line.0);
    }
}

struct LogLine(String);

impl Visit for LogLine {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).expect("a string takes everything");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value:?}", field.name()).expect("a string takes everything");
    }
}
