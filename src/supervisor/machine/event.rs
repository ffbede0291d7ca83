//! What the machine takes and gives: what happens, and what is to be done about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::{ConnectTimes, Login, SessionEvent};
use crate::reason::{Facts, Reason};
use crate::status::{Because, Location, Purpose};
use crate::target::Tuning;

/// What happens.
#[derive(Debug, Clone)]
pub enum Event {
    Started,
    /// `due` has come.
    Timer,
    /// The TCP connect was accepted.
    Connected {
        dial: Dial,
        times: ConnectTimes,
    },
    LoggedIn(Box<Login>),
    /// The attempt ended: at the TCP connect if `dial` is there, else at the login.
    Failed {
        facts: Facts,
        at: Instant,
        dial: Option<Dial>,
    },
    /// The session that is held says so.
    Session(SessionEvent),
    /// The session that was being closed is gone.
    Closed,
    SecretChanged,
    Tuned(Arc<Tuning>),
    /// Somebody needs the session: the pool.
    Wanted,
    /// `/probe` asks for a login now, unless one is waited for.
    Prove,
    /// An operator asks for one whatever is waited for.
    TryNow,
    Stop,
}

/// What the gate reports of a TCP connect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dial {
    /// Another target of the same address connected, and this is its result.
    pub shared: bool,
    /// How long the guard held it back.
    pub waited: Duration,
    pub location: Option<Location>,
}

/// What the driver does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Pass the gate, resolve, connect.
    TcpConnect {
        purpose: Purpose,
    },
    /// Log in on the socket that was let in.
    Login,
    /// Drop the attempt, wherever it is.
    HangUp,
    Ping,
    /// The attempt's session becomes the line; a line that is there is closed behind it.
    Adopt,
    /// Close the line.
    Close,
    /// Answer whoever requested a proof.
    Answer(ProofResult),
    /// Everything is closed: the task ends.
    Stopped,
}

/// The answer to `/probe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofResult {
    Proven,
    Failed(Reason),
    /// Not tried: the wait that holds it.
    Refused(Because),
}
