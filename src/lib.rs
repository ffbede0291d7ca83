//! pgtether keeps a live, proven line to every PostgreSQL database it is told of, and tells the truth about it.
//!
//! One way, no circle: configuration makes targets; one supervisor task per target decides by a pure machine and acts
//! through the connection; it publishes one snapshot; all that people see is a projection of snapshots. A module
//! knows only lower floors.
//!
//! | floor | module | what it is | what it must not know |
//! | --- | --- | --- | --- |
//! | 6 | `main`, [`cli`], [`run`], [`logging`], [`signals`], [`demo`] | the process: flags, wiring, drain, exit codes | decisions about targets |
//! | 5 | [`http`] | paths, limits, probes' grammar, the page | databases: it reads the board and sends hints |
//! | 4 | [`metrics`], [`health`], [`check`] | projections of snapshots; the doctor | each other; HTTP |
//! | 3 | [`supervisor`] | machine (pure), driver (clock, dice, sessions), gate (the storm guard's async shell) | HTTP, metrics, files |
//! | 3 | [`config`] | the file, strictly read, all mistakes at once | the supervisor, sockets |
//! | 2 | [`connection`] | knock, login, session, TLS: reports facts | reasons, waits, retries |
//! | 2 | [`status`] | the snapshot and the board it hangs on | who writes it, who reads it |
//! | 1 | [`target`] | endpoints, tuning, secrets, connection strings | YAML, sockets |
//! | 0 | [`policy`] | backoff, breaker, guard, idle limits | clocks, dice: they are arguments |
//! | 0 | [`mod@reason`] | facts and what they mean | everything else |

pub mod check;
pub mod cli;
pub mod config;
pub mod connection;
pub mod demo;
pub mod health;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod policy;
pub mod reason;
pub mod run;
pub mod signals;
pub mod status;
pub mod supervisor;
pub mod target;
