//! pgtether keeps a live, proven line to every PostgreSQL database it is told of, and tells the truth about it.
//!
//! One way, no circle: configuration makes targets; one supervisor task per target decides by a pure machine and acts
//! through the connection; it publishes one snapshot; all that people see is a projection of snapshots. A module
//! knows only lower layers, and the files of a folder do not use each other in a circle: a test holds both.
//!
//! | layer | module | what it is | what it must not know |
//! | --- | --- | --- | --- |
//! | 8 | `main` | the checklist: arguments, log, configuration, listeners, run; exit codes | how any of it works |
//! | 7 | [`exec`] | a command beside pgtether: its environment, signals, end | how pgtether works |
//! | 6 | [`run`], [`demo`], [`logging`] | wiring, reload, drain; a throw-away PostgreSQL; the log | decisions about targets |
//! | 5 | [`http`] | paths, limits, probes' grammar, the status page; TLS and users of the web port | databases: it reads the board and sends requests |
//! | 5 | [`cli`], [`signals`] | what the process was told, at its start and later | what is then done |
//! | 5 | [`pool`] | the door: clients, their sessions, the relay between them | HTTP, metrics; how the line is kept |
//! | 4 | [`supervisor`] | machine (pure), driver (clock, dice, sessions), gate (the storm guard's async shell) | HTTP, metrics, files |
//! | 4 | [`metrics`], [`health`] | projections of snapshots | each other; HTTP |
//! | 4 | [`check`] | the doctor: examines a target once | the supervisor, the board, HTTP |
//! | 3 | [`status`] | the snapshot and the board it hangs on | who writes it, who reads it |
//! | 2 | [`connection`] | TCP connect, login, session, TLS: reports facts | reasons, waits, retries |
//! | 2 | [`config`] | the file, strictly read, all mistakes at once; whether it has changed | the supervisor, sockets |
//! | 1 | [`target`] | endpoints, tuning, secrets, connection strings | YAML, sockets |
//! | 1 | [`mod@reason`] | facts and what they mean | how long to wait |
//! | 0 | [`policy`] | waits by class of failure, breaker, guard, idle limits, failed accepts; std only | clocks, dice: they are arguments |
//! | 0 | [`blocking`] | calls that block, off the runtime's threads, bounded in number | what they do |
//! | 0 | [`tasks`] | tasks by their names: restarts with growing pauses, who is stuck at the end | what they do |
//! | 0 | [`protocol`] | PostgreSQL's messages as bytes: frames, error fields, builders | sockets; why something is sent |

pub mod blocking;
pub mod check;
pub mod cli;
pub mod config;
pub mod connection;
pub mod demo;
pub mod exec;
#[cfg(test)]
mod generated;
pub mod health;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod policy;
pub mod pool;
pub mod protocol;
pub mod reason;
pub mod run;
pub mod signals;
pub mod status;
pub mod supervisor;
pub mod target;
pub mod tasks;
