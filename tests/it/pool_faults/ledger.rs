//! What the clients of a chaos test received, what the database has in the end, and the judge between the two.
//!
//! Accounts lend to each other: every transfer moves an amount and leaves one row with an id of its own, in the same
//! transaction. Nothing here knows of pools, faults or connections.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// How many accounts there are: few enough for clients to meet on them.
pub const ACCOUNTS: i64 = 48;
/// What each has at first.
pub const OPENING: i64 = 1_000_000;

/// The tables. No index says that an id is there once: that is what is to be found out.
pub const TABLES: &str = "CREATE TABLE accounts (id int8 PRIMARY KEY, balance int8 NOT NULL);
    CREATE TABLE transfers (id int8 NOT NULL, source int8 NOT NULL, target int8 NOT NULL, amount int8 NOT NULL);
    CREATE TABLE spilled (line text);
    CREATE TABLE reshaped (v text); INSERT INTO reshaped VALUES ('7')";

/// One movement of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    pub id: i64,
    pub source: i64,
    pub target: i64,
    pub amount: i64,
}

/// What a client knows of its transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The commit was answered.
    Acknowledged,
    /// It was answered by an error that tells that nothing was done, or the commit was never sent.
    Refused,
    /// The commit was sent and no answer came that tells.
    Unknown,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// Acknowledged, and not there.
    Lost(i64),
    /// There more than once.
    Doubled(i64, usize),
    /// Refused, and there.
    Unwanted(i64),
    /// There with other contents than its client sent; or no client sent it at all.
    Altered(Transfer),
    /// An account's balance is not what the rows make of it.
    Balance { account: i64, has: i64, should: i64 },
    /// Lines that a client began to copy and never ended.
    Spilled(i64),
    /// A client got what was not meant for it.
    Mixed { client: String, wanted: String, got: String },
    /// A query was cancelled, and its client had not asked for that.
    StrayCancel { client: String },
    /// An error that no fault explains.
    Unexpected { client: String, doing: String, error: String },
    /// No answer in all that time.
    Hung { client: String, doing: String },
}

/// What the clients know, as they go.
#[derive(Debug, Default)]
pub struct Ledger {
    last: AtomicI64,
    told: Mutex<BTreeMap<i64, (Transfer, Outcome)>>,
    breaches: Mutex<Vec<Breach>>,
}

/// What the database has when all is over.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub transfers: Vec<Transfer>,
    pub balances: Vec<(i64, i64)>,
    pub spilled: i64,
}

impl Ledger {
    /// A transfer that nobody has made yet; it counts as unknown until its client was told more.
    pub fn begin(&self, dice: &mut fastrand::Rng) -> Transfer {
        let source = dice.i64(0..ACCOUNTS);
        let target = (source + dice.i64(1..ACCOUNTS)) % ACCOUNTS;
        let id = self.last.fetch_add(1, Relaxed) + 1;
        let transfer = Transfer { id, source, target, amount: dice.i64(1..100) };
        self.told().insert(id, (transfer, Outcome::Unknown));
        transfer
    }

    /// What became of it.
    pub fn tell(&self, transfer: Transfer, outcome: Outcome) {
        self.told().insert(transfer.id, (transfer, outcome));
    }

    /// Notes what a client met and must not have met.
    pub fn breach(&self, breach: Breach) {
        let mut breaches = self.breaches.lock().unwrap_or_else(|e| e.into_inner());
        // One that repeats itself must not fill the memory.
        if breaches.len() < 1000 {
            breaches.push(breach);
        }
    }

    /// Compares what a client asked for, and nobody else, with what it got.
    pub fn echoed(&self, client: &str, wanted: &str, got: &[String]) {
        if got != [wanted] {
            let (client, wanted, got) = (client.to_owned(), wanted.to_owned(), got.join("; "));
            self.breach(Breach::Mixed { client, wanted, got });
        }
    }

    /// How many transfers ended like this.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.told().values().filter(|(_, told)| *told == outcome).count()
    }

    /// All that must not be, of what the clients met and of what the database has.
    pub fn verdict(&self, found: &Found) -> Vec<Breach> {
        let mut breaches = self.breaches.lock().unwrap_or_else(|e| e.into_inner()).clone();
        breaches.extend(judge(&self.told(), found));
        breaches
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<i64, (Transfer, Outcome)>> {
        self.told.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Found {
    /// Reads it by a session of its own, past all pools.
    pub async fn read(conninfo: &str) -> Result<Found, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(conninfo, tokio_postgres::NoTls).await?;
        let _connection = tokio::spawn(connection);
        let rows = client.query("SELECT id, source, target, amount FROM transfers", &[]).await?;
        let transfer = |row: &tokio_postgres::Row| Transfer {
            id: row.get(0),
            source: row.get(1),
            target: row.get(2),
            amount: row.get(3),
        };
        let transfers = rows.iter().map(transfer).collect();
        let rows = client.query("SELECT id, balance FROM accounts", &[]).await?;
        let balances = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let spilled = client.query_one("SELECT count(*) FROM spilled", &[]).await?.get(0);
        Ok(Found { transfers, balances, spilled })
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breach::Lost(id) => write!(f, "transfer {id} was acknowledged and is lost"),
            Breach::Doubled(id, times) => write!(f, "transfer {id} is there {times} times"),
            Breach::Unwanted(id) => write!(f, "transfer {id} was refused and is there"),
            Breach::Altered(found) => write!(f, "nobody sent {found:?}"),
            Breach::Balance { account, has, should } => {
                write!(f, "account {account} has {has}, its transfers make {should}")
            }
            Breach::Spilled(lines) => write!(f, "{lines} lines of broken copies are there"),
            Breach::Mixed { client, wanted, got } => write!(f, "{client} got {got:?} instead of {wanted:?}"),
            Breach::StrayCancel { client } => write!(f, "{client} was cancelled and had not asked for it"),
            Breach::Unexpected { client, doing, error } => write!(f, "{client}, {doing}: {error}"),
            Breach::Hung { client, doing } => write!(f, "{client} hung, {doing}"),
        }
    }
}

fn judge(told: &BTreeMap<i64, (Transfer, Outcome)>, found: &Found) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut times: HashMap<i64, usize> = HashMap::new();
    let mut balances: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|account| (account, OPENING)).collect();
    for transfer in &found.transfers {
        *times.entry(transfer.id).or_default() += 1;
        *balances.entry(transfer.source).or_default() -= transfer.amount;
        *balances.entry(transfer.target).or_default() += transfer.amount;
        if told.get(&transfer.id).is_none_or(|(sent, _)| sent != transfer) {
            breaches.push(Breach::Altered(*transfer));
        }
    }
    for (id, (_, outcome)) in told {
        match (times.get(id).copied().unwrap_or(0), outcome) {
            (0, Outcome::Acknowledged) => breaches.push(Breach::Lost(*id)),
            (0, Outcome::Refused | Outcome::Unknown) => {}
            (_, Outcome::Refused) => breaches.push(Breach::Unwanted(*id)),
            (1, Outcome::Acknowledged | Outcome::Unknown) => {}
            (more, _) => breaches.push(Breach::Doubled(*id, more)),
        }
    }
    let has: BTreeMap<i64, i64> = found.balances.iter().copied().collect();
    for (account, should) in balances {
        let has = has.get(&account).copied().unwrap_or(0);
        if has != should {
            breaches.push(Breach::Balance { account, has, should });
        }
    }
    if found.spilled > 0 {
        breaches.push(Breach::Spilled(found.spilled));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three transfers that went as they should: one acknowledged, one refused, one nobody knows of.
    fn sound() -> (Ledger, Found) {
        let ledger = Ledger::default();
        let mut dice = fastrand::Rng::with_seed(1);
        let mut found = Found::default();
        let mut balances = [OPENING; ACCOUNTS as usize];
        for outcome in [Outcome::Acknowledged, Outcome::Refused, Outcome::Unknown] {
            let transfer = ledger.begin(&mut dice);
            ledger.tell(transfer, outcome);
            if outcome != Outcome::Refused {
                balances[transfer.source as usize] -= transfer.amount;
                balances[transfer.target as usize] += transfer.amount;
                found.transfers.push(transfer);
            }
        }
        found.balances = (0..).zip(balances).collect();
        (ledger, found)
    }

    /// Gives back what a transfer moved.
    fn undo(found: &mut Found, transfer: Transfer) {
        found.balances[transfer.source as usize].1 += transfer.amount;
        found.balances[transfer.target as usize].1 -= transfer.amount;
    }

    #[test]
    fn what_was_acknowledged_and_is_there_once_is_no_breach_and_the_unknown_may_be_there_or_not() {
        let (ledger, mut found) = sound();
        assert_eq!(ledger.verdict(&found), []);
        let unknown = found.transfers.pop().unwrap();
        undo(&mut found, unknown);
        assert_eq!(ledger.verdict(&found), []);
    }

    #[test]
    fn a_lost_write_is_found() {
        let (ledger, mut found) = sound();
        let lost = found.transfers.remove(0);
        undo(&mut found, lost);
        assert_eq!(ledger.verdict(&found), [Breach::Lost(1)]);
    }

    #[test]
    fn a_write_that_was_made_twice_is_found_even_where_its_outcome_is_unknown() {
        let (ledger, mut found) = sound();
        let unknown = found.transfers[1];
        found.transfers.push(unknown);
        let breaches = ledger.verdict(&found);
        assert!(breaches.contains(&Breach::Doubled(unknown.id, 2)), "{breaches:?}");
    }

    #[test]
    fn a_refused_write_that_is_there_is_found() {
        let (ledger, found) = sound();
        let (done, _) = ledger.told()[&1];
        ledger.tell(done, Outcome::Refused);
        assert_eq!(ledger.verdict(&found), [Breach::Unwanted(1)]);
    }

    #[test]
    fn a_row_that_nobody_sent_and_one_that_was_changed_on_the_way_are_found() {
        let (ledger, mut found) = sound();
        let forged = Transfer { id: 99, source: 0, target: 0, amount: 5 };
        found.transfers.push(forged);
        assert_eq!(ledger.verdict(&found), [Breach::Altered(forged)]);
        found.transfers.pop();
        found.transfers[0].amount += 1;
        assert!(ledger.verdict(&found).contains(&Breach::Altered(found.transfers[0])));
    }

    #[test]
    fn half_a_transfer_and_a_lost_account_are_found_by_the_balances() {
        let (ledger, mut found) = sound();
        found.balances[7].1 -= 1;
        let Breach::Balance { account: 7, has, should } = ledger.verdict(&found)[0] else {
            panic!("{:?}", ledger.verdict(&found))
        };
        assert_eq!(has, should - 1);
        found.balances[7].1 += 1;
        found.balances.pop();
        assert!(matches!(ledger.verdict(&found)[..], [Breach::Balance { has: 0, .. }]));
    }

    #[test]
    fn an_answer_to_somebody_else_is_found_and_so_is_none_and_one_too_many() {
        let (ledger, found) = sound();
        let [ours, theirs] = ["one, 17".to_owned(), "two, 18".to_owned()];
        ledger.echoed("one", &ours, std::slice::from_ref(&ours));
        assert_eq!(ledger.verdict(&found), []);
        for got in [vec![theirs.clone()], vec![], vec![ours.clone(), theirs]] {
            let before = ledger.verdict(&found).len();
            ledger.echoed("one", &ours, &got);
            assert_eq!(ledger.verdict(&found).len(), before + 1, "{got:?}");
        }
    }

    #[test]
    fn what_a_client_met_is_part_of_the_verdict() {
        let (ledger, mut found) = sound();
        let stray = Breach::StrayCancel { client: "transaction 3".to_owned() };
        ledger.breach(stray.clone());
        found.spilled = 2;
        assert_eq!(ledger.verdict(&found), [stray, Breach::Spilled(2)]);
    }
}
