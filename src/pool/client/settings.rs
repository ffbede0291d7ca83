//! The settings of one client: as it asks for them when it connects, on each session that it gets, and when it gives one
//! back with what it has left there.

use std::collections::BTreeMap;

use tokio::time::{Instant, timeout, timeout_at};

use super::{Client, Farewell};
use crate::pool::inspect::{Inspected, inspect, is_too_late};
use crate::pool::leftovers::question::{Found, question};
use crate::pool::leftovers::{Hints, Kinds};
use crate::pool::server::{AnswerRow, Said, Server};
use crate::pool::settings::{ClientSettings, Spelled, Spellings};
use crate::protocol::{ErrorFields, Severity, backend};
use crate::status::pool::ClientState;

/// So many sessions are asked how they spell a client's settings.
const SESSIONS: usize = 3;
/// A session may have a `statement_timeout` that anything exceeds, until it is reset.
const TRIES: usize = 5;

const LOST: &str = "the server closed the connection unexpectedly";

impl Client {
    /// Learns how the server spells what the client asks for; it refuses what it does not take.
    pub(super) async fn learn_settings(
        &mut self,
        asked: &BTreeMap<String, String>,
        first: &mut Vec<u8>,
    ) -> Result<(), Farewell> {
        // What comes before AuthenticationOk is not to be mixed with what a session tells of itself.
        let pending = std::mem::take(&mut self.to_client);
        let spelled = self.spelled(asked, first).await;
        self.to_client = pending;
        self.settings = ClientSettings::new(spelled?);
        Ok(())
    }

    async fn spelled(
        &mut self,
        asked: &BTreeMap<String, String>,
        first: &mut Vec<u8>,
    ) -> Result<Spelled, Farewell> {
        let since = Instant::now();
        let known = self.shared.with_spellings(|spellings| spellings.are_begun());
        if !known || self.shared.driver.is_unproven() {
            // The first session brings them; and what failed last time is tried anew for whoever comes.
            let server = self.obtain_any(first).await?;
            self.shared.driver.give_back(server);
        }
        for _ in 0..SESSIONS {
            if let Some(spelled) = self.shared.with_spellings(|spellings| spellings.get(asked)) {
                return Ok(spelled);
            }
            // On a session that has nothing but its server's settings.
            self.settings =
                ClientSettings::new(self.shared.with_spellings(|spellings| spellings.of_nothing()));
            let server = self.obtain_for_login(first).await?;
            if let Some(spelled) = self.ask_for_spelling(server, asked).await? {
                return Ok(spelled);
            }
        }
        Err(self.too_late(since))
    }

    /// `None` where the session has ended.
    async fn ask_for_spelling(
        &mut self,
        mut server: Box<Server>,
        asked: &BTreeMap<String, String>,
    ) -> Result<Option<Spelled>, Farewell> {
        let question = Spellings::question(asked).unwrap_or_default();
        match timeout_at(self.patience(), server.run(&question)).await {
            Ok(Ok(Said { error: Some(error), .. })) => {
                self.shared.driver.give_back(server);
                Err(Farewell::Refused(error))
            }
            Ok(Ok(Said { mut rows, .. })) => {
                let row = rows.pop().unwrap_or_default();
                let spelled = self
                    .shared
                    .with_spellings(|spellings| spellings.learn_from(asked, row, &mut server.settings));
                match spelled {
                    Some(_) => self.shared.driver.give_back(server),
                    None => self.shared.driver.close(server),
                }
                Ok(spelled)
            }
            Ok(Err(_)) | Err(_) => {
                self.shared.driver.close(server);
                Ok(None)
            }
        }
    }

    /// Gives the session the client's settings; `None` where it has ended meanwhile.
    pub(super) async fn sync_settings(
        &mut self,
        mut server: Box<Server>,
        until: Instant,
    ) -> Result<Option<Box<Server>>, Farewell> {
        if let Some(sql) = self.settings.change(&server.settings) {
            self.slot.is_now(ClientState::Waiting);
            let mut said = Ok(Ok(Said::default()));
            for _ in 0..TRIES {
                said = timeout_at(until, server.run(&sql)).await;
                if !matches!(&said, Ok(Ok(said)) if is_too_late(said)) {
                    break;
                }
            }
            match said {
                Ok(Ok(Said { error: None, .. })) => {}
                Ok(Ok(said)) if !is_too_late(&said) => {
                    self.shared.driver.give_back(server);
                    return Err(Farewell::Refused(said.error.unwrap_or_default()));
                }
                _ => {
                    self.shared.driver.close(server);
                    return Ok(None);
                }
            }
        }
        for (name, value) in self.settings.were_given(&mut server.settings) {
            backend::parameter_status(&mut self.to_client, &name, &value);
        }
        Ok(Some(server))
    }

    /// On a session that the client keeps: what it has reset is what it asked for, not what the server has.
    pub(super) async fn restore_settings(
        &mut self,
        mut server: Box<Server>,
    ) -> Result<Box<Server>, Farewell> {
        let mut hints = Hints { kinds: Kinds::SETTINGS, names: Vec::new() };
        hints.names = self.settings.names().filter(|name| name.contains('.')).map(Box::from).collect();
        let asked = question(&hints, std::iter::empty());
        let rows = self.run_unseen(&mut server, &asked).await;
        let missing = match rows.and_then(|rows| Found::read(&hints, rows)) {
            Some(found) => self.settings.missing(&found.settings),
            None => {
                self.shared.driver.close(server);
                return Err(Farewell::Lost(LOST));
            }
        };
        if let Some(sql) = missing
            && self.run_unseen(&mut server, &sql).await.is_none()
        {
            self.shared.driver.close(server);
            return Err(Farewell::Lost(LOST));
        }
        self.settings.are_told(&server.settings);
        Ok(server)
    }

    /// Runs what the client has not sent. It gets what the server tells without being asked, and nothing else.
    async fn run_unseen(&mut self, server: &mut Server, sql: &str) -> Option<Vec<AnswerRow>> {
        match timeout_at(self.patience(), server.run(sql)).await {
            Ok(Ok(Said { error: None, too_long: false, rows, unasked, .. })) => {
                self.to_client.extend(unasked);
                Some(rows)
            }
            _ => None,
        }
    }

    /// Gives the session back. What the client has set on it follows the client; what else it has left is removed, and
    /// the client told of it, once.
    pub(super) async fn settle(&mut self, mut server: Box<Server>) -> Result<(), Farewell> {
        if server.hints.is_empty() {
            server.hints = Hints::default();
            self.shared.driver.give_back(server);
            return Ok(());
        }
        Box::pin(self.settle_inspected(server)).await
    }

    async fn settle_inspected(&mut self, mut server: Box<Server>) -> Result<(), Farewell> {
        let kinds = server.hints.kinds;
        let patience = self.config.get().target.tuning.ping.timeout;
        let Ok(Ok(Some(inspected))) = timeout(patience, inspect(&mut server)).await else {
            return self.lose(server, kinds);
        };
        let Inspected { settings, resets, were_reset, cleaned, lost } = inspected;
        if let Some(settings) = settings {
            self.settings.follow(&mut server.settings, settings, resets);
        }
        if were_reset {
            server.settings.were_reset();
        }
        if cleaned {
            self.shared.status.change(|pool| pool.resets += 1);
        }
        self.shared.with_spellings(|spellings| spellings.report(server.settings.of_server()));
        self.shared.driver.give_back(server);
        if let Some(lost) = lost {
            self.warn(&lost);
        }
        Ok(())
    }

    /// Closes a session that nobody has been able to ask what its client has set on it. That is lost with it, and the next
    /// query of the client must not be done without: so it is told.
    pub(super) fn lose(&self, server: Box<Server>, left: Kinds) -> Result<(), Farewell> {
        self.shared.driver.close(server);
        if left.contains(Kinds::SETTINGS) { Err(Farewell::Lost(LOST)) } else { Ok(()) }
    }

    fn warn(&mut self, lost: &str) {
        if std::mem::replace(&mut self.is_warned, true) {
            return;
        }
        let message = format!("in transaction mode this pool ends with each transaction: {lost}");
        let fields = ErrorFields::fatal("01000", message)
            .severity(Severity::Warning)
            .hint("Use a pool in session mode for it; further cases on this connection are not reported.");
        backend::notice(&mut self.to_client, &fields);
        tracing::debug!(target = %self.shared.name, lost, "a client loses what it had left on its session");
    }
}
