//! What breaks at night, each made with real servers, networks and disks: what pgtether calls it, what it says, what it
//! advises, and how soon. `docs/failures.md` is written from what was seen; `make failures` writes it anew.

mod logins;
mod network;
mod page;
mod servers;

use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;

use crate::process::{Daemon, wait_until};
use crate::supervise::{SOON, await_state, config};

/// What all targets of the page have: `docs/failures.md` says so.
pub const KEYS: &[&str] = &[
    "ping: {interval: 1s, timeout: 1s}",
    "refresh: {every: 1s}",
    "connect_timeout: 3s",
    "backoff: {initial: 200ms, max: 1s}",
];

/// What a machine that is busy may add.
const SLACK: Duration = Duration::from_secs(3);

/// What a breakage is first seen by, which decides how long that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// The server or the system ends the session or refuses the next one.
    End,
    /// A ping is not answered, or answered with an error.
    Ping,
    /// The next login is refused; the open session works.
    Login,
    /// No answer to a connect or a login.
    ConnectTimeout,
}

impl SeenBy {
    const fn as_str(self) -> &'static str {
        match self {
            SeenBy::End => "at once: the session ends (2 s, with the next attempt)",
            SeenBy::Ping => "`ping.interval` + `ping.timeout` (2 s)",
            SeenBy::Login => "the next login: `refresh.every` (1 s), or at once without a session",
            SeenBy::ConnectTimeout => "`connect_timeout` (3 s)",
        }
    }

    const fn limit(self) -> Duration {
        Duration::from_secs(match self {
            SeenBy::Login => 1,
            SeenBy::End | SeenBy::Ping => 2,
            SeenBy::ConnectTimeout => 3,
        })
    }
}

/// One row of the page.
pub struct Breakage {
    pub what: &'static str,
    pub seen_by: SeenBy,
    pub reason: &'static str,
    /// How the remedy begins.
    pub remedy: &'static str,
    /// Breaks it. `None` where this machine does not let us.
    pub make: fn(&'static Breakage) -> LocalBoxFuture<'static, Option<Told>>,
}

/// What pgtether told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub state: String,
    pub detail: String,
    pub remedy: String,
    pub after: Duration,
}

impl Breakage {
    /// A daemon whose one target is up, before anything is broken.
    pub async fn healthy(&self, url: &str, keys: &[&str]) -> Daemon {
        let daemon = Daemon::start(&config(url, &[KEYS, keys].concat()));
        await_state(&daemon, SOON, "up").await;
        daemon
    }

    /// Waits until the daemon tells it, from now on.
    pub async fn told(&self, daemon: &Daemon) -> Told {
        let begun = Instant::now();
        wait_until(self.seen_by.limit() + SLACK, self.what, async || {
            let health = daemon.get("/health").await.json();
            let target = &health["targets"][0];
            let text = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
            let told = Told {
                state: text("state"),
                detail: text("detail"),
                remedy: text("remedy"),
                after: begun.elapsed(),
            };
            let is_told = text("reason") == self.reason && told.remedy.starts_with(self.remedy);
            if is_told && ["down", "degraded"].contains(&&*told.state) {
                Ok(told)
            } else {
                Err(target.to_string())
            }
        })
        .await
    }
}

/// Fourteen of them.
pub const BREAKAGES: &[Breakage] = &[
    Breakage {
        what: "The password was changed",
        seen_by: SeenBy::Login,
        reason: "auth",
        remedy: "Check user, password or token",
        make: logins::password,
    },
    Breakage {
        what: "The role may not log in any more (`NOLOGIN`)",
        seen_by: SeenBy::Login,
        reason: "auth",
        remedy: "The role may not log in: run ALTER ROLE … LOGIN",
        make: logins::no_login,
    },
    Breakage {
        what: "The database was dropped",
        seen_by: SeenBy::End,
        reason: "database_missing",
        remedy: "Check the database name",
        make: logins::dropped,
    },
    Breakage {
        what: "All connection slots are taken",
        seen_by: SeenBy::Login,
        reason: "capacity",
        remedy: "All connection slots are taken",
        make: logins::full,
    },
    Breakage {
        what: "The certificate has expired",
        seen_by: SeenBy::Login,
        reason: "tls",
        remedy: "The server's certificate, or one above it, has expired",
        make: logins::expired,
    },
    Breakage {
        what: "The server does not offer TLS any more",
        seen_by: SeenBy::Login,
        reason: "tls",
        remedy: "The server has no TLS",
        make: logins::no_tls,
    },
    Breakage {
        what: "The server was stopped",
        seen_by: SeenBy::End,
        reason: "refused",
        remedy: "Nothing listens there",
        make: servers::stopped,
    },
    Breakage {
        what: "A standby is in recovery with `hot_standby = off`",
        seen_by: SeenBy::End,
        reason: "starting_up",
        remedy: "The server is a standby with hot_standby = off",
        make: servers::cold_standby,
    },
    Breakage {
        what: "A standby answers where `role: primary` is set",
        seen_by: SeenBy::End,
        reason: "wrong_role",
        remedy: "The server does not have the required role",
        make: servers::standby,
    },
    Breakage {
        what: "The server's disk is full",
        seen_by: SeenBy::Login,
        reason: "resources",
        remedy: "The server's disk is full",
        make: servers::full_disk,
    },
    Breakage {
        what: "PgBouncer is paused",
        seen_by: SeenBy::Ping,
        reason: "timeout",
        remedy: "The query is not answered",
        make: servers::paused,
    },
    Breakage {
        what: "The host name does not resolve any more",
        seen_by: SeenBy::Login,
        reason: "dns",
        remedy: "Check the host name and the resolver",
        make: network::no_name,
    },
    Breakage {
        what: "Packets are dropped on the way, as by a firewall",
        seen_by: SeenBy::ConnectTimeout,
        reason: "timeout",
        remedy: "Nothing answers the TCP connect",
        make: network::dropped_packets,
    },
    Breakage {
        what: "Something accepts the connection and says nothing",
        seen_by: SeenBy::ConnectTimeout,
        reason: "timeout",
        remedy: "The TCP connect is accepted, then nothing comes",
        make: network::silence,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_breakage_is_told_with_its_reason_and_remedy_in_time_as_the_page_says() {
    let mut rows = Vec::new();
    for breakage in BREAKAGES {
        let told = (breakage.make)(breakage).await;
        match &told {
            Some(told) => {
                eprintln!("{}: {} after {:?}: {}", breakage.what, breakage.reason, told.after, told.detail)
            }
            None => eprintln!("NOT TRIED, THIS MACHINE DOES NOT LET US: {}", breakage.what),
        }
        rows.push((breakage, told));
    }
    page::holds(&rows);
}
