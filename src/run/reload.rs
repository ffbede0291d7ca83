//! Reads the configuration and the web config file again: when told to, and when they have changed.
//!
//! A bad file changes nothing, and is told of: by a metric, by the API, and in the log once as long as it stays bad in
//! the same way, unless a signal asked for it. Who asks by HTTP is answered, and the log has the answer.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, error, info};

use super::Reread;
use super::warned::Warned;
use crate::blocking::OneCall;
use crate::config::watch::Watch;
use crate::config::{Config, Problems};
use crate::connection::Postgres;
use crate::http::ReloadRequest;
use crate::http::web::RulesFile;
use crate::pool::Pools;
use crate::status::Moment;
use crate::status::process::{LastRead, ProcessStatus};
use crate::supervisor::Supervisor;
use crate::supervisor::gate::Gate;
use crate::target::pool::ClientTls;

/// How long a file may take to be read anew; no target's task is looked after meanwhile.
const READING: Duration = Duration::from_secs(10);

/// What a reload reads, and what it touches.
pub struct Reload {
    pub reread: Reread,
    pub watch: Watch,
    pub reading: OneCall<Result<Config, Problems>>,
    pub web: Option<RulesFile>,
    pub gate: Gate,
    /// The snapshot that all others read.
    pub process: watch::Sender<ProcessStatus>,
    pub warned: Warned,
}

/// Who wants the files to be read anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReloadCause {
    /// By HTTP, where each request has a line of its own in the log, and what comes of it is in there.
    Operator,
    Signal,
    /// A file has changed.
    Nobody,
}

/// What is to be read.
#[derive(Debug)]
pub enum Due {
    /// Everything, for somebody asked. These wait to hear how it went.
    All(Vec<ReloadRequest>),
    /// The configuration has changed.
    Config,
    /// The web config file has changed, or what it names.
    Web,
}

impl Due {
    /// With all that are in the queue: what is read now is new enough for each of them.
    pub fn with(self, queue: &mut mpsc::Receiver<ReloadRequest>) -> Self {
        let Due::All(mut requests) = self else {
            return self;
        };
        while let Ok(another) = queue.try_recv() {
            requests.push(another);
        }
        Due::All(requests)
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("watch", &self.watch).field("web", &self.web).finish_non_exhaustive()
    }
}

impl Reload {
    /// Waits until a file has changed, or can be read that could not.
    pub async fn noticed(&mut self) -> Due {
        let web = async {
            match &mut self.web {
                Some(rules_file) => rules_file.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.watch.changed() => Due::Config,
            () = self.reading.over() => Due::Config,
            () = web => Due::Web,
        }
    }

    /// Reads what is due and puts it in force. What is wrong is told where it is found.
    pub async fn follow(&mut self, due: Due, supervisor: &mut Supervisor<Postgres>, pools: &mut Pools) {
        let mut process = self.process.borrow().clone();
        match due {
            Due::All(requests) => {
                let cause = if requests.is_empty() { ReloadCause::Signal } else { ReloadCause::Operator };
                let config = self.config(cause, &mut process, supervisor, pools).await;
                let web = self.web(cause, &mut process).await;
                self.process.send_replace(process);
                let outcome = match (config, web) {
                    (Err(config), Err(web)) => Err(format!("{config}\n{web}")),
                    (config, web) => config.and(web),
                };
                for request in requests {
                    // Whoever asked may have hung up; what was read is in force all the same.
                    let _ = request.send(outcome.clone());
                }
                return;
            }
            Due::Config => _ = self.config(ReloadCause::Nobody, &mut process, supervisor, pools).await,
            Due::Web => _ = self.web(ReloadCause::Nobody, &mut process).await,
        }
        self.process.send_replace(process);
    }

    async fn config(
        &mut self,
        cause: ReloadCause,
        process: &mut ProcessStatus,
        supervisor: &mut Supervisor<Postgres>,
        pools: &mut Pools,
    ) -> Result<(), String> {
        let read = timeout(READING, async {
            self.watch.about_to_read().await;
            let reread = self.reread.clone();
            let read = self.reading.run(move || reread()).await;
            if let Ok(Ok(config)) = &read {
                self.watch.turn_to_others(certificates(config)).await;
            }
            read
        })
        .await;
        let at = Moment::now().wall;
        let problems = match read {
            // What can still go wrong comes first: a socket that is taken, a certificate that cannot be read.
            Ok(Ok(Ok(config))) => match pools.apply(&config.targets).await {
                Ok(_) => {
                    self.apply(&config, cause, supervisor);
                    process.service = config.service.as_str().into();
                    process.config = LastRead::Taken { at };
                    return Ok(());
                }
                Err(problems) => problems.join("\n"),
            },
            Ok(Ok(Err(problems))) => problems.to_string(),
            Ok(Err(failure)) => format!("reading the configuration failed: {failure}"),
            Err(_) => hangs("the configuration"),
        };
        tell(
            "configuration",
            &problems,
            cause == ReloadCause::Signal || !process.config.is_refused_for(&problems),
        );
        process.config.refuse(at, problems.clone());
        Err(problems)
    }

    fn apply(&self, config: &Config, cause: ReloadCause, supervisor: &mut Supervisor<Postgres>) {
        self.warned.of_config(config);
        self.gate.set_limits(config.fleet);
        supervisor.apply(&config.targets);
        match cause {
            ReloadCause::Operator => debug!(targets = config.targets.len(), "configuration reloaded"),
            ReloadCause::Signal | ReloadCause::Nobody => {
                info!(targets = config.targets.len(), "configuration reloaded");
            }
        }
    }

    async fn web(&mut self, cause: ReloadCause, process: &mut ProcessStatus) -> Result<(), String> {
        let (Some(rules_file), Some(last)) = (&mut self.web, &mut process.web_config) else {
            return Ok(());
        };
        let read = timeout(READING, rules_file.reload()).await;
        let read = read.unwrap_or_else(|_| Err(hangs("the web configuration")));
        let at = Moment::now().wall;
        match read {
            Ok(warnings) => {
                self.warned.of_web(warnings);
                match cause {
                    ReloadCause::Operator => debug!("web configuration reloaded"),
                    ReloadCause::Signal | ReloadCause::Nobody => info!("web configuration reloaded"),
                }
                *last = LastRead::Taken { at };
                Ok(())
            }
            Err(problems) => {
                let is_news = !last.is_refused_for(&problems);
                tell("web configuration", &problems, is_news || cause == ReloadCause::Signal);
                last.refuse(at, problems.clone());
                Err(problems)
            }
        }
    }
}

/// The files of clients' TLS, which are renewed while the configuration that names them stays as it is.
pub fn certificates(config: &Config) -> Vec<PathBuf> {
    let tls = config.targets.iter().filter_map(|target| Some(&target.pool.as_ref()?.tls));
    let files = |tls: &ClientTls| match tls {
        ClientTls::Files { cert, key } => vec![cert.clone(), key.clone()],
        ClientTls::SelfSigned | ClientTls::Off => Vec::new(),
    };
    tls.flat_map(files).collect()
}

fn hangs(what: &str) -> String {
    format!("{what} could not be read within {READING:?}: is it on a disk that hangs, or a pipe?")
}

fn tell(what: &str, problems: &str, loudly: bool) {
    for problem in problems.lines() {
        match loudly {
            true => error!(problem, "the new {what} was rejected; the previous one stays in use"),
            false => debug!(problem, "the new {what} is still rejected; the previous one stays in use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn one_reload_answers_all_who_ask_before_it_begins() {
        let (ask, mut queue) = mpsc::channel(8);
        for _ in 0..3 {
            ask.try_send(oneshot::channel().0).unwrap();
        }
        let Due::All(requests) = Due::All(Vec::new()).with(&mut queue) else { panic!() };
        assert_eq!(requests.len(), 3);
        ask.try_send(oneshot::channel().0).unwrap();
        assert!(matches!(Due::Config.with(&mut queue), Due::Config), "a file that changed is half of it");
        assert!(queue.try_recv().is_ok());
    }
}
