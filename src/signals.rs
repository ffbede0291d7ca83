//! Signals as values to watch: TERM and INT drain, a second one ends at once, HUP reloads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::sync::watch;
use tracing::info;

/// What each signal does, for people.
pub const MEANINGS: [(&str, &str); 3] = [
    (
        "SIGTERM, SIGINT",
        "Ends it: /readyz fails, clients of pools end their transactions, then the sessions are closed.",
    ),
    ("A second SIGTERM or SIGINT", "Ends it at once, with exit code 128 and the signal's number."),
    (
        "SIGHUP",
        "Reads the configuration and the web config file again. An invalid one changes nothing, and is logged.",
    ),
];

/// What the process was told.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Becomes true once.
    pub shutdown: watch::Receiver<bool>,
    /// Changes with each request to reload.
    pub reload: watch::Receiver<u64>,
}

/// Takes the signals from now on. Must be called within a runtime.
pub fn take() -> io::Result<Signals> {
    // The second TERM or INT must end a process whose runtime no longer turns, so it is not the runtime's to handle.
    let told_before = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 128 + signal, told_before.clone())?;
        flag::register(signal, told_before.clone())?;
    }
    let mut stream = signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (stop, shutdown) = watch::channel(false);
    let (again, reload) = watch::channel(0);
    tokio::spawn(async move {
        while let Some(signal) = stream.next().await {
            if signal == SIGHUP {
                info!("told to reload");
                again.send_modify(|times| *times += 1);
            } else {
                let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
                info!(signal = name, "stopping: draining; a second signal ends at once");
                stop.send_replace(true);
            }
        }
    });
    Ok(Signals { shutdown, reload })
}
