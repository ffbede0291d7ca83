//! Reads the configuration and the web config file again: when told to, and when they have changed.
//!
//! A bad file changes nothing, and is told of: by a metric, by the API, and in the log once as long as it stays bad in
//! the same way, unless somebody asked.

use std::fmt;
use std::sync::Arc;

use tracing::{debug, error, info, warn};

use super::daemon::Inside;
use super::{Reread, limits};
use crate::config::Config;
use crate::config::watch::Watch;
use crate::connection::Postgres;
use crate::http::LastRead;
use crate::http::web::Keeper;
use crate::metrics::ProcessMetrics;
use crate::status::Moment;
use crate::supervisor::Supervisor;

/// What a reload reads, and what it touches.
pub struct Reload {
    pub reread: Reread,
    pub watch: Watch,
    pub web: Option<Keeper>,
    pub metrics: Arc<ProcessMetrics>,
    pub inside: Arc<Inside>,
}

/// Which file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Config,
    Web,
}

/// Who wants it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    BySomebody,
    ByTheFile,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("watch", &self.watch).field("web", &self.web).finish_non_exhaustive()
    }
}

impl Reload {
    /// Waits until a file has changed.
    pub async fn noticed(&mut self) -> Changed {
        let web = async {
            match &mut self.web {
                Some(keeper) => keeper.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.watch.changed() => Changed::Config,
            () = web => Changed::Web,
        }
    }

    /// Follows a file that has changed.
    pub async fn follow(&mut self, changed: Changed, supervisor: &mut Supervisor<Postgres>) {
        // What is wrong was told where it was found.
        let _ = match changed {
            Changed::Config => self.config(Asked::ByTheFile, supervisor).await,
            Changed::Web => self.web(Asked::ByTheFile).await,
        };
    }

    /// Reads everything. The error says what is wrong, without secrets.
    pub async fn all(&mut self, supervisor: &mut Supervisor<Postgres>) -> Result<(), String> {
        let config = self.config(Asked::BySomebody, supervisor).await;
        let web = self.web(Asked::BySomebody).await;
        match (config, web) {
            (Err(config), Err(web)) => Err(format!("{config}\n{web}")),
            (config, web) => config.and(web),
        }
    }

    async fn config(&mut self, asked: Asked, supervisor: &mut Supervisor<Postgres>) -> Result<(), String> {
        self.watch.about_to_read().await;
        let reread = self.reread.clone();
        // The file is read on a thread that may wait for a disk.
        let read = tokio::task::spawn_blocking(move || reread()).await;
        let at = Moment::now().wall;
        let problems = match read {
            Ok(Ok(config)) => {
                self.apply(&config, supervisor);
                self.metrics.reload_succeeded(at);
                self.inside.config.store(Arc::new(LastRead::Taken { at }));
                return Ok(());
            }
            Ok(Err(problems)) => problems.to_string(),
            Err(failure) => format!("reading the configuration failed: {failure}"),
        };
        self.metrics.reload_failed();
        let known = is_known(&self.inside.config.load(), &problems);
        tell("configuration", &problems, asked == Asked::ByTheFile && known);
        self.inside.config.store(Arc::new(LastRead::Refused { at, problems: problems.clone() }));
        Err(problems)
    }

    fn apply(&self, config: &Config, supervisor: &mut Supervisor<Postgres>) {
        for warning in &config.warnings {
            warn!("{warning}");
        }
        self.inside.gate.set_limits(limits(&config.fleet));
        self.inside.service.store(Arc::new(config.service.clone()));
        supervisor.apply(&config.targets);
        info!(targets = config.targets.len(), "configuration reloaded");
    }

    async fn web(&mut self, asked: Asked) -> Result<(), String> {
        let Some(keeper) = &mut self.web else {
            return Ok(());
        };
        let read = keeper.reload().await;
        let at = Moment::now().wall;
        self.metrics.web_config_read(read.is_ok());
        match read {
            Ok(warnings) => {
                for warning in warnings {
                    warn!("{warning}");
                }
                info!("web configuration reloaded");
                self.inside.web_config.store(Some(Arc::new(LastRead::Taken { at })));
                Ok(())
            }
            Err(refused) => {
                let problems = refused.to_string();
                let last = self.inside.web_config.load_full();
                let known = last.is_some_and(|last| is_known(&last, &problems));
                tell("web configuration", &problems, asked == Asked::ByTheFile && known);
                let refused = LastRead::Refused { at, problems: problems.clone() };
                self.inside.web_config.store(Some(Arc::new(refused)));
                Err(problems)
            }
        }
    }
}

fn is_known(last: &LastRead, problems: &str) -> bool {
    matches!(last, LastRead::Refused { problems: told, .. } if told == problems)
}

fn tell(what: &str, problems: &str, known: bool) {
    for problem in problems.lines() {
        match known {
            true => debug!(problem, "the new {what} is still refused, the old one goes on"),
            false => error!(problem, "the new {what} is refused, the old one goes on"),
        }
    }
}
