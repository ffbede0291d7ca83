//! pgtether on a thread of its own, whose end, however it comes, ends nothing else.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::watch;
use tracing::error;

use crate::signals::Signals;
use crate::target::pool::Listen;

/// Where a pgtether is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub pool: Listen,
    /// The URL of the web port, if there is one.
    pub web: Option<String>,
}

/// Tells once where a pgtether is reached.
#[derive(Debug)]
pub struct Announcement {
    tell: SyncSender<Reached>,
    made: Arc<AtomicBool>,
}

impl Announcement {
    pub fn make(&self, reached: Reached) {
        self.made.store(true, Ordering::Relaxed);
        // Whoever has stopped waiting goes on without.
        let _ = self.tell.try_send(reached);
    }
}

/// A running pgtether.
#[derive(Debug)]
pub struct Beside {
    reached: Receiver<Reached>,
    ended: Receiver<Result<(), String>>,
    stop: watch::Sender<bool>,
    /// There is no file to reload; the run ends where nobody could ask for it.
    _reload: watch::Sender<u64>,
}

impl Beside {
    /// Starts it. `run` announces where it is reached, and returns when the signals say so, or why it cannot go on. An end
    /// before the announcement is for [`Beside::reached`] to tell, a later one is logged.
    pub fn start(
        run: impl FnOnce(Signals, Announcement) -> Result<(), String> + Send + 'static,
    ) -> io::Result<Beside> {
        let (stop, shutdown) = watch::channel(false);
        let (again, reload) = watch::channel(0);
        let (tell, reached) = sync_channel(1);
        let (tell_end, ended) = sync_channel(1);
        let told_to_end = shutdown.clone();
        let made = Arc::new(AtomicBool::new(false));
        let announcement = Announcement { tell, made: Arc::clone(&made) };
        Builder::new().name("pgtether".to_owned()).spawn(move || {
            let signals = Signals { shutdown, reload };
            // The log has the panic's own text.
            let end = catch_unwind(AssertUnwindSafe(|| run(signals, announcement)));
            let end = end.unwrap_or_else(|_| Err("it has crashed; please report this".to_owned()));
            if made.load(Ordering::Relaxed) && !*told_to_end.borrow() {
                let reason = end.as_ref().err().map_or("it ended by itself", String::as_str);
                error!(
                    reason,
                    "pgtether has ended: no pool, no web port; the command goes on with what it has"
                );
            }
            // Nobody may be waiting any more.
            let _ = tell_end.try_send(end);
        })?;
        Ok(Beside { reached, ended, stop, _reload: again })
    }

    /// Waits until it is reached, or says why it will not be.
    pub fn reached(&mut self, within: Duration) -> Result<Reached, String> {
        self.reached.recv_timeout(within).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("it does not listen after {within:?}"),
            RecvTimeoutError::Disconnected => match self.ended.recv_timeout(within) {
                Ok(Err(reason)) => reason,
                Ok(Ok(())) | Err(_) => "it ended by itself".to_owned(),
            },
        })
    }

    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for its end.
    pub fn has_ended(&mut self, within: Duration) -> bool {
        !matches!(self.ended.recv_timeout(within), Err(RecvTimeoutError::Timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn place() -> Reached {
        Reached { pool: Listen::Unix("/tmp/.s.PGSQL.1".into()), web: None }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn it_tells_where_it_is_and_ends_when_told() {
        let mut beside = Beside::start(|mut signals, announcement| {
            announcement.make(place());
            runtime().block_on(async {
                tokio::select! {
                    _ = signals.shutdown.wait_for(|told| *told) => Ok(()),
                    _ = signals.reload.changed() => Err("nobody can ask for a reload".to_owned()),
                }
            })
        })
        .unwrap();
        assert_eq!(beside.reached(SOON), Ok(place()));
        assert!(!beside.has_ended(Duration::ZERO));
        beside.stop();
        assert!(beside.has_ended(SOON));
    }

    #[test]
    fn why_it_does_not_start_is_told() {
        let mut refused = Beside::start(|_, _| Err("the port is taken".to_owned())).unwrap();
        assert_eq!(refused.reached(SOON), Err("the port is taken".to_owned()));
        let mut crashed = Beside::start(|_, _| panic!("made by a test")).unwrap();
        assert_eq!(crashed.reached(SOON), Err("it has crashed; please report this".to_owned()));
        let (hang, hangs) = sync_channel::<()>(0);
        let mut silent = Beside::start(move |_, _announcement| {
            let _ = hangs.recv();
            Ok(())
        })
        .unwrap();
        assert_eq!(silent.reached(Duration::from_millis(1)), Err("it does not listen after 1ms".to_owned()));
        drop(hang);
        assert!(silent.has_ended(SOON));
    }

    #[test]
    fn a_crash_later_ends_only_itself() {
        let mut crashed = Beside::start(|_, announcement| {
            announcement.make(place());
            panic!("made by a test")
        })
        .unwrap();
        assert_eq!(crashed.reached(SOON), Ok(place()));
        assert!(crashed.has_ended(SOON));
        assert!(crashed.has_ended(SOON), "and asked again, it still has");
    }
}
