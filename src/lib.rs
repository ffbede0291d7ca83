//! pgtether keeps a live, proven connection to every PostgreSQL database it is told of, and tells the truth about it.
//!
//! One way, no circle: configuration makes targets; one supervisor task per target decides by a pure machine and acts
//! through the connection; it publishes one snapshot, as each pool does; all that people see is a projection of
//! snapshots. A module knows only lower layers, and the files of a folder do not use each other in a circle.
//!
//! The last column says what a module knows nothing of: other modules, and names that would stand in its code. A test
//! holds all of this, to the name.
//!
//! | layer | module | what it is | what it does without |
//! | --- | --- | --- | --- |
//! | 8 | `main` | the checklist: arguments, log, configuration, listeners, run; exit codes | how any of it works: `pool`, `supervisor`, `metrics`, `policy`, `reason` |
//! | 7 | [`exec`] | a command beside pgtether: its environment, signals, end | how pgtether works: `pool`, `supervisor`, `connection`, `metrics`, `health` |
//! | 6 | [`run`], [`demo`], [`logging`] | wiring, reload, drain; a temporary PostgreSQL; the log | decisions about targets: `policy`, `health`, `check`, `protocol` |
//! | 6 | [`healthcheck`] | asks another pgtether on this machine by HTTP | how it would answer: `http`, `health`, `status` |
//! | 5 | [`http`] | paths, limits, probes' grammar, the status page; TLS and users of the web port | databases, and how targets are supervised, for it reads snapshots and sends requests: `connection`, `pool`, `protocol`, `tokio_postgres`, `Machine`, `Driver` |
//! | 5 | [`cli`], [`signals`] | what the process was told, at its start and later | what is then done: `connection`, `status`, `supervisor`, `tokio::net` |
//! | 5 | [`pool`] | the entry for clients: their sessions, and the relay between them and the server | who shows it, who configures it: `http`, `metrics`, `health`, `config`, `hyper` |
//! | 5 | [`history_file`] | keeps what is remembered of the targets over restarts, on a thread of its own | who writes the history, who reads it: `supervisor`, `pool`, `http`, `metrics`, `config` |
//! | 4 | [`supervisor`] | machine (pure), driver (clock, dice, sessions), gate (the guard's async shell) | who reads the snapshot, and files: `pool`, `http`, `metrics`, `health`, `config`, `std::fs` |
//! | 4 | [`metrics`], [`health`] | projections of snapshots | who writes them, who is shown them: `connection`, `supervisor`, `pool`, `http`, `hyper`, `tokio` |
//! | 4 | [`check`] | examines a target once, and tells what it found | what goes on: `supervisor`, `status`, `pool`, `http` |
//! | 3 | [`status`] | the snapshots, and the board on which they are | who writes, who reads, in which words: `supervisor`, `pool`, `run`, `metrics`, `health`, `http`, `serde` |
//! | 2 | [`connection`] | TCP connect, login, session, TLS: reports facts | what they mean, waits, retries: `Reason`, `Diagnosis`, `policy`, `status` |
//! | 2 | [`config`] | the file, strictly read, all mistakes at once; whether it has changed | what runs: `connection`, `status`, `supervisor`, `tokio::net` |
//! | 1 | [`target`] | endpoints, tuning, secrets, connection strings | YAML, sockets, files: `config`, `saphyr_parser`, `serde`, `tokio`, `std::fs` |
//! | 1 | [`mod@reason`] | facts and what they mean | when, and for how long to wait: `Instant`, `Backoff`, `tokio` |
//! | 0 | [`policy`] | waits by class of failure, breaker, guard, idle limits, failed accepts; std only | clocks and dice, which are arguments: `Instant::now`, `SystemTime::now`, `fastrand`, `tokio` |
//! | 0 | [`blocking`] | calls that block, off the runtime's threads, bounded in number | what they do: `std::fs`, `ToSocketAddrs`, `tracing` |
//! | 0 | [`tasks`] | tasks by their names: restarts with growing pauses, who is stuck at the end | what they do: `tokio::net`, `std::fs`, `tracing` |
//! | 0 | [`children`] | processes that are waited for by whoever has started them, and by nobody else | what they do: `tokio`, `tracing`, `std::fs` |
//! | 0 | [`printable`] | what others wrote, made fit to be shown: one line, nothing hidden, cut | who wrote it: `tokio`, `ErrorFields`, `Facts` |
//! | 0 | [`protocol`] | PostgreSQL's messages as bytes: frames, error fields, builders | sockets, and why something is sent: `tokio`, `std::io`, `std::net` |
//!
//! Whatever decides is pure: time, dice and the world are arguments.
//!
//! | pure | what it does without |
//! | --- | --- |
//! | `policy`, `protocol`, `mod@reason`, `supervisor::machine`, `pool::core`, `pool::link` | `Instant::now`, `SystemTime::now`, `Moment::now`, `fastrand`, `tokio::net`, `tokio::spawn`, `std::fs`, `Mutex`, `tracing` |

pub mod blocking;
pub mod check;
pub mod children;
pub mod cli;
pub mod config;
pub mod connection;
pub mod demo;
pub mod exec;
#[cfg(test)]
mod generated;
pub mod health;
pub mod healthcheck;
pub mod history_file;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod policy;
pub mod pool;
pub mod printable;
pub mod protocol;
pub mod reason;
pub mod run;
pub mod signals;
pub mod status;
pub mod supervisor;
pub mod target;
pub mod tasks;
