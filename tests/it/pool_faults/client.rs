//! One client of the chaos test, from its first session to its last: it transfers, it asks for echoes that only it can
//! have asked for, it makes mistakes, it leaves and comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cancel_keys::{CancelKey, CancelKeys};
use super::ledger::{Breach, Ledger};
use super::session::{LIMIT, Problem, Session, Style};

/// The server's own `work_mem`, and `search_path` and `row_security`, which only dumps change.
const WORK_MEM: &str = "4MB";
const DEFAULTS: &str = "\"$user\", public, on";

/// What all clients share.
#[derive(Default)]
pub struct Shared {
    pub ledger: Ledger,
    pub keys: CancelKeys,
    /// All faults are over: each client does one thing more, and leaves.
    pub closing: AtomicBool,
}

/// One client.
pub struct Client {
    pub name: String,
    pub url: String,
    pub style: Style,
    /// Whether a setting may stay with the session: not where sessions are shared.
    pub marks: bool,
    pub dice: fastrand::Rng,
    pub shared: Arc<Shared>,
}

/// What a client did.
#[derive(Debug, Default)]
pub struct Tally {
    pub sessions: usize,
    pub done: usize,
    /// By what they said, in short.
    pub errors: BTreeMap<String, usize>,
}

/// What a client may do next.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Transfer,
    TransferAtOnce,
    RollBack,
    Echo,
    Slow,
    Mistake,
    /// Sets something for its session, or resets it.
    Set,
    /// Reads a table whose column changes its type all the time.
    Reshaped,
}

/// The settings that a client has made in its session, as the server spells them.
struct Own {
    mark: String,
    work_mem: String,
}

impl Tally {
    /// Both together.
    pub fn add(&mut self, other: Tally) {
        self.sessions += other.sessions;
        self.done += other.done;
        for (error, times) in other.errors {
            *self.errors.entry(error).or_default() += times;
        }
    }
}

impl Client {
    /// Until all faults are over, and then until it has been served once more.
    pub async fn live(mut self) -> Tally {
        let mut tally = Tally::default();
        let mut last = None;
        loop {
            let closing = self.shared.closing.load(Relaxed);
            if closing && last.get_or_insert_with(Instant::now).elapsed() > LIMIT {
                self.breach_hung("until its last transfer");
                return tally;
            }
            let done = tally.done;
            self.session(&mut tally).await;
            if closing && tally.done > done {
                return tally;
            }
        }
    }

    /// A session from its start to its end.
    async fn session(&mut self, tally: &mut Tally) {
        let mut session = match Session::open(&self.url, self.style).await {
            Ok(session) => session,
            Err(problem) => {
                self.note(tally, "connecting", &problem);
                return sleep(Duration::from_millis(20)).await;
            }
        };
        tally.sessions += 1;
        let key = self.shared.keys.take(&self.name, session.client().cancel_token());
        let mut deeds = if self.shared.closing.load(Relaxed) { 1 } else { self.dice.u32(1..60) };
        let mut own = Own { mark: String::new(), work_mem: WORK_MEM.to_owned() };
        if self.marks && self.dice.bool() {
            own.mark.clone_from(&self.name);
            if let Err(problem) = session.run(&format!("SET chaos.mark = '{}'", own.mark), &[]).await {
                self.note_with_key(tally, &key, "marking its session", &problem);
                deeds = 0;
            }
        }
        while deeds > 0 && session.is_open() {
            deeds -= 1;
            let deed = if self.shared.closing.load(Relaxed) { Deed::Transfer } else { self.choose() };
            match self.act(deed, &mut session, &mut own).await {
                Ok(()) => tally.done += 1,
                Err(problem) => {
                    self.note_with_key(tally, &key, &format!("{deed:?}"), &problem);
                    // Whether it is set now, nobody knows.
                    let unknown = matches!(problem, Problem::Hung) || matches!(deed, Deed::Set);
                    if unknown || !self.recover(tally, &key, &mut session).await {
                        break;
                    }
                }
            }
            sleep(Duration::from_millis(self.dice.u64(0..15))).await;
        }
        self.shared.keys.leave(&self.name);
        if let Err(problem) = session.end().await {
            self.note(tally, "at the end of its session", &problem);
        }
    }

    /// Whether the session goes on after an error.
    async fn recover(&self, tally: &mut Tally, key: &CancelKey, session: &mut Session) -> bool {
        const TRIES: usize = 20;
        // A cancel that comes late meets the rollback; it may come as often as it was asked for.
        for _ in 0..TRIES {
            match session.run("ROLLBACK", &[]).await {
                Ok(_) => return true,
                Err(problem) if session.is_open() => self.note_with_key(tally, key, "rolling back", &problem),
                Err(_) => return false,
            }
        }
        false
    }

    fn choose(&mut self) -> Deed {
        match self.dice.u32(0..100) {
            0..30 => Deed::Transfer,
            30..50 => Deed::TransferAtOnce,
            50..60 => Deed::RollBack,
            60..85 => Deed::Echo,
            85..89 => Deed::Slow,
            89..93 => Deed::Set,
            93..96 => Deed::Reshaped,
            _ => Deed::Mistake,
        }
    }

    async fn act(&mut self, deed: Deed, session: &mut Session, own: &mut Own) -> Result<(), Problem> {
        let ledger = &self.shared.ledger;
        match deed {
            Deed::Transfer => session.transfer(ledger, ledger.begin(&mut self.dice)).await,
            Deed::TransferAtOnce => session.transfer_at_once(ledger, ledger.begin(&mut self.dice)).await,
            Deed::RollBack => session.transfer_and_roll_back(ledger, ledger.begin(&mut self.dice)).await,
            Deed::Echo => self.echo(session, own).await,
            Deed::Slow => {
                session.run("SELECT pg_sleep(0.06)::text", &[]).await?;
                self.echo(session, own).await
            }
            Deed::Set => {
                let (sql, value) = match self.dice.u32(0..3) {
                    0 => ("RESET work_mem".to_owned(), WORK_MEM.to_owned()),
                    _ => {
                        let value = format!("{}kB", self.dice.u32(65..73));
                        (format!("SET work_mem = '{value}'"), value)
                    }
                };
                session.run(&sql, &[]).await?;
                own.work_mem = value;
                self.echo(session, own).await
            }
            Deed::Reshaped => {
                let rows = session.run("SELECT v::text FROM reshaped", &[]).await?;
                self.shared.ledger.echoed(&self.name, "7", &rows);
                Ok(())
            }
            Deed::Mistake => match session.run("SELECT (1 / (length($1) - 1))::text", &["x"]).await {
                Err(Problem::Told(error)) if error.code().is_some_and(|code| code.code() == "22012") => {
                    Ok(())
                }
                Err(problem) => Err(problem),
                Ok(rows) => {
                    self.shared.ledger.echoed(&self.name, "an error", &rows);
                    Ok(())
                }
            },
        }
    }

    /// Asks for what nobody else asks for; and whether a transaction or a setting of somebody else's came with the
    /// session.
    async fn echo(&mut self, session: &mut Session, own: &Own) -> Result<(), Problem> {
        let token = format!("{:016x}", self.dice.u64(..));
        let sql = format!(
            "SELECT '{}, ' || $1 || ', ' || (pg_current_xact_id_if_assigned() IS NULL)::text || ', ' \
             || coalesce(current_setting('chaos.mark', true), '') || ', ' || current_setting('work_mem') || ', ' \
             || current_setting('search_path') || ', ' || current_setting('row_security')",
            self.name
        );
        let rows = session.run(&sql, &[&token]).await?;
        let Own { mark, work_mem } = own;
        let wanted = format!("{}, {token}, true, {mark}, {work_mem}, {DEFAULTS}", self.name);
        self.shared.ledger.echoed(&self.name, &wanted, &rows);
        Ok(())
    }

    fn note_with_key(&self, tally: &mut Tally, key: &CancelKey, doing: &str, problem: &Problem) {
        if problem.is_cancel() && !key.may_be_cancelled() {
            self.shared.ledger.breach(Breach::StrayCancel { client: self.name.clone() });
        }
        self.note(tally, doing, problem);
    }

    fn note(&self, tally: &mut Tally, doing: &str, problem: &Problem) {
        let error = problem.to_string();
        if matches!(problem, Problem::Hung) {
            self.breach_hung(doing);
        } else if !problem.is_explained() {
            let (client, doing) = (self.name.clone(), doing.to_owned());
            self.shared.ledger.breach(Breach::Unexpected { client, doing, error: error.clone() });
        }
        *tally.errors.entry(error).or_default() += 1;
    }

    fn breach_hung(&self, doing: &str) {
        self.shared.ledger.breach(Breach::Hung { client: self.name.clone(), doing: doing.to_owned() });
    }
}
