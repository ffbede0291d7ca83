//! A client's session, in one of the ways that applications speak, and the transfers that it makes.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage, Statement};

use super::ledger::{Ledger, Outcome, Transfer};

/// Longer than anything may take: a client that waits for that long hangs.
pub const LIMIT: Duration = Duration::from_secs(45);

/// How it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One text, values and all.
    Simple,
    /// Parsed, bound and executed, without a name.
    Extended,
    /// Prepared once for the session, by name; `BEGIN` and `COMMIT` as well, as pgjdbc does.
    Prepared,
}

/// Why something was not done.
#[derive(Debug)]
pub enum Problem {
    Told(Error),
    Hung,
}

/// An open session. Dropping it says goodbye.
pub struct Session {
    client: Client,
    connection: JoinHandle<Result<(), Error>>,
    style: Style,
    prepared: HashMap<String, Statement>,
}

impl Session {
    pub async fn open(url: &str, style: Style) -> Result<Session, Problem> {
        let (client, connection) = within(tokio_postgres::connect(url, NoTls)).await?;
        Ok(Session { client, connection: tokio::spawn(connection), style, prepared: HashMap::new() })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Runs one statement, whose values are all text, and returns its rows' first columns.
    pub async fn run(&mut self, sql: &str, values: &[&str]) -> Result<Vec<String>, Problem> {
        within(self.ask(sql, values)).await
    }

    /// Says goodbye and tells what the connection itself met, where that is more than its end.
    pub async fn end(self) -> Result<(), Problem> {
        drop((self.client, self.prepared));
        match timeout(LIMIT, self.connection).await {
            Ok(ended) => ended.unwrap_or(Ok(())).map_err(Problem::Told),
            Err(_) => Err(Problem::Hung),
        }
    }

    /// One transfer in a transaction of several statements, and what the ledger is to know of it.
    pub async fn transfer(&mut self, ledger: &Ledger, transfer: Transfer) -> Result<(), Problem> {
        for (sql, values) in steps(transfer) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            if let Err(problem) = self.run(sql, &values).await {
                // Whatever became of it: nobody has sent a commit.
                ledger.tell(transfer, Outcome::Refused);
                return Err(problem);
            }
        }
        self.commit(ledger, transfer, "COMMIT", &[]).await
    }

    /// The same in one statement, which commits by itself.
    pub async fn transfer_at_once(&mut self, ledger: &Ledger, transfer: Transfer) -> Result<(), Problem> {
        const SQL: &str = "WITH t AS (SELECT $1::text::int8 AS id, $2::text::int8 AS source, $3::text::int8 AS target, \
             $4::text::int8 AS amount), row AS (INSERT INTO transfers SELECT * FROM t) \
             UPDATE accounts SET balance = balance + CASE accounts.id WHEN t.source THEN -t.amount ELSE t.amount END \
             FROM t WHERE accounts.id IN (t.source, t.target)";
        let values = [transfer.id, transfer.source, transfer.target, transfer.amount].map(|v| v.to_string());
        self.commit(ledger, transfer, SQL, &values.each_ref().map(String::as_str)).await
    }

    /// The same, taken back.
    pub async fn transfer_and_roll_back(
        &mut self,
        ledger: &Ledger,
        transfer: Transfer,
    ) -> Result<(), Problem> {
        ledger.tell(transfer, Outcome::Refused);
        for (sql, values) in steps(transfer) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            self.run(sql, &values).await?;
        }
        self.run("ROLLBACK", &[]).await.map(|_| ())
    }

    async fn commit(
        &mut self,
        ledger: &Ledger,
        transfer: Transfer,
        sql: &str,
        values: &[&str],
    ) -> Result<(), Problem> {
        let ended = self.run(sql, values).await;
        ledger.tell(transfer, outcome(&ended));
        ended.map(|_| ())
    }

    async fn ask(&mut self, sql: &str, values: &[&str]) -> Result<Vec<String>, Error> {
        let rows = match self.style {
            Style::Simple => {
                let mut text = sql.to_owned();
                for (value, place) in values.iter().zip(1..) {
                    text = text.replace(&format!("${place}"), &format!("'{value}'"));
                }
                let messages = self.client.simple_query(&text).await?;
                let first = |message: &SimpleQueryMessage| match message {
                    SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
                    _ => None,
                };
                return Ok(messages.iter().filter_map(first).collect());
            }
            Style::Extended => {
                let typed = values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT));
                self.client.query_typed(sql, &typed.collect::<Vec<_>>()).await?
            }
            Style::Prepared => {
                let statement = match self.prepared.get(sql) {
                    Some(statement) => statement.clone(),
                    None => {
                        let types = vec![Type::TEXT; values.len()];
                        let statement = self.client.prepare_typed(sql, &types).await?;
                        self.prepared.insert(sql.to_owned(), statement.clone());
                        statement
                    }
                };
                let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
                self.client.query(&statement, &values).await?
            }
        };
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

impl Problem {
    /// Whether the server has cancelled the query because somebody asked it to.
    pub fn is_cancel(&self) -> bool {
        matches!(self, Problem::Told(error) if error.code() == Some(&SqlState::QUERY_CANCELED))
    }

    /// Whether killed, stopped and hung servers explain it. What speaks of statements and transactions that are not
    /// as their client left them, or of answers that fit no question, is never explained.
    pub fn is_explained(&self) -> bool {
        let Problem::Told(error) = self else { return false };
        let io = error.source().is_some_and(|source| source.is::<std::io::Error>());
        match error.code() {
            Some(code) => {
                let explained = [
                    SqlState::ADMIN_SHUTDOWN,
                    SqlState::CRASH_SHUTDOWN,
                    SqlState::CANNOT_CONNECT_NOW,
                    SqlState::QUERY_CANCELED,
                    SqlState::T_R_DEADLOCK_DETECTED,
                ];
                explained.contains(code) || is_connection_exception(code)
            }
            None => error.is_closed() || io,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Hung => write!(f, "no answer within {LIMIT:?}"),
            Problem::Told(error) => match error.as_db_error() {
                Some(said) => write!(f, "{} {}: {}", said.severity(), said.code().code(), said.message()),
                None => write!(f, "{error}{}", error.source().map(|e| format!(": {e}")).unwrap_or_default()),
            },
        }
    }
}

/// What is done between `BEGIN` and the end, accounts in their order so that two transfers do not wait for each other.
fn steps(transfer: Transfer) -> Vec<(&'static str, Vec<String>)> {
    const ROW: &str =
        "INSERT INTO transfers VALUES ($1::text::int8, $2::text::int8, $3::text::int8, $4::text::int8)";
    const MOVE: &str = "UPDATE accounts SET balance = balance + $2::text::int8 WHERE id = $1::text::int8";
    let Transfer { id, source, target, amount } = transfer;
    let mut moves = [(source, -amount), (target, amount)];
    moves.sort_unstable();
    let texts = |numbers: &[i64]| numbers.iter().map(i64::to_string).collect();
    let mut steps = vec![("BEGIN", Vec::new()), (ROW, texts(&[id, source, target, amount]))];
    steps.extend(moves.map(|(account, by)| (MOVE, texts(&[account, by]))));
    steps
}

/// What the answer to a commit, or its absence, tells of the transaction.
fn outcome<T>(ended: &Result<T, Problem>) -> Outcome {
    match ended {
        Ok(_) => Outcome::Acknowledged,
        Err(Problem::Told(error)) if error.as_db_error().is_some_and(is_refusal) => Outcome::Refused,
        Err(_) => Outcome::Unknown,
    }
}

/// A statement's own error, or that it never reached a server. The end of a session tells nothing: a server may die
/// after it has committed and before it says so.
fn is_refusal(said: &DbError) -> bool {
    let lost = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(said.code())
        || is_connection_exception(said.code());
    *said.code() == SqlState::CANNOT_CONNECT_NOW || (said.parsed_severity() == Some(Severity::Error) && !lost)
}

/// Class 08, without the violation of the protocol, which is nobody's bad luck.
fn is_connection_exception(code: &SqlState) -> bool {
    code.code().starts_with("08") && *code != SqlState::PROTOCOL_VIOLATION
}

async fn within<T>(doing: impl Future<Output = Result<T, Error>>) -> Result<T, Problem> {
    timeout(LIMIT, doing).await.map_err(|_| Problem::Hung)?.map_err(Problem::Told)
}
