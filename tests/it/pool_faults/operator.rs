//! Who runs the pools while all that happens: gives them another size, pauses and resumes them, has their sessions
//! replaced.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::SIZE;
use crate::process::{Daemon, request};

/// See the module.
pub struct Operator {
    address: SocketAddr,
    pid: Pid,
    config: PathBuf,
    /// The configuration for each size.
    texts: Vec<String>,
    /// Pauses that are not over, and whether each went as it should.
    pauses: JoinSet<bool>,
}

impl Operator {
    /// `texts` are the configurations, by size.
    pub fn of(daemon: &Daemon, texts: Vec<String>) -> Self {
        let (address, pid, config) = (daemon.address(), Pid::from_raw(daemon.pid()), daemon.config_file());
        Operator { address, pid, config, texts, pauses: JoinSet::new() }
    }

    pub fn reload(&self, size: usize) {
        std::fs::write(&self.config, &self.texts[size]).unwrap();
        kill(self.pid, Signal::SIGHUP).unwrap();
    }

    /// For so long; the caller does not wait for its end.
    pub fn pause(&mut self, pool: &'static str, lasts: Duration) {
        let address = self.address;
        self.pauses.spawn(async move {
            let resumed = async {
                sleep(lasts).await;
                ask(address, pool, "resume").await
            };
            let (paused, resumed) = tokio::join!(ask(address, pool, "pause"), resumed);
            // It waits for sessions that clients have; somebody may resume the pool before they come free.
            let is_paused = paused.0 == 200 || paused.1.contains("is not paused any more");
            is_paused && resumed.0 == 200
        });
    }

    pub async fn resume(&self, pool: &str) -> bool {
        ask(self.address, pool, "resume").await.0 == 200
    }

    pub async fn reconnect(&self, pool: &str) -> bool {
        ask(self.address, pool, "reconnect").await.0 == 200
    }

    /// All as it was at the start. Returns how the pauses went.
    pub async fn end(&mut self) -> Vec<bool> {
        self.reload(SIZE);
        let mut ended = Vec::new();
        while let Some(pause) = self.pauses.join_next().await {
            ended.push(pause.unwrap());
        }
        ended
    }
}

/// The status and the text of the answer.
async fn ask(address: SocketAddr, pool: &str, what: &str) -> (u16, String) {
    let answer = request(address, Method::POST, &format!("/-/pools/{pool}/{what}"), &[]).await;
    (answer.status.as_u16(), answer.text())
}
