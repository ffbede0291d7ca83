//! From an accepted socket to a proven session: the ways that `sslmode` allows, and on to the next host where this
//! one does not fit. What happens on one socket is a [`SocketLogin`]'s.

use tokio::time::Instant;

use super::Login;
use super::attempt::{Ask, Context, SocketLogin};
use super::facts::more_telling;
use super::session::{PgSession, SessionRoute};
use super::tcp::{Address, Candidates, Connected, connect};
use crate::reason::{Cause, Facts, LoginTls, Phase};
use crate::target::{SessionAttrs, SslMode};

/// An accepted socket, not logged in yet, and the addresses that were not tried.
#[derive(Debug)]
pub struct OpenSocket {
    pub(super) connected: Connected,
    pub(super) candidates: Candidates,
}

impl Context<'_> {
    pub async fn login(self, socket: OpenSocket) -> Result<(PgSession, Login), Facts> {
        let begun = Instant::now();
        let attrs = self.endpoint.session;
        let first = self.walk(attrs, Some(socket.connected), socket.candidates).await;
        let entered = match (attrs, first) {
            // No standby anywhere: any server will do.
            (SessionAttrs::PreferStandby, Err(Facts { cause: Cause::WrongRole { .. }, .. })) => {
                self.pace.next().await;
                self.walk(SessionAttrs::Any, None, self.candidates()).await
            }
            (_, first) => first,
        };
        let (session, login) = entered?;
        let detour = begun.elapsed().saturating_sub(login.took());
        Ok((session, Login { detour, ..login }))
    }

    /// All addresses of the connection string.
    pub fn candidates(&self) -> Candidates {
        Candidates::new(self.endpoint, self.sockets.clone(), self.resolver.clone(), self.pace.clone())
    }

    /// Sends a cancel request the way that its session went.
    pub async fn cancel(self, route: &SessionRoute, key: (i32, i32)) -> Result<(), Facts> {
        let socket = connect(&route.address, self.sockets, self.deadline, &self.pace.made).await?;
        let attempt = SocketLogin {
            context: &self,
            attrs: SessionAttrs::Any,
            host: route.host,
            address: &route.address,
            ask: if route.secured { Ask::Demand } else { Ask::Plain },
            until: self.deadline,
        };
        attempt.cancel(socket, key).await
    }

    /// The first server on the way that fits. A server that refuses us ends the search, as in libpq; one that
    /// hangs, hangs up, is starting or has another role does not.
    async fn walk(
        &self,
        attrs: SessionAttrs,
        mut here: Option<Connected>,
        mut candidates: Candidates,
    ) -> Result<(PgSession, Login), Facts> {
        let mut failed: Option<Facts> = None;
        loop {
            let connected = match here.take() {
                Some(connected) => Ok(connected),
                None => candidates.next(self.deadline).await,
            };
            let facts = match connected {
                Err(facts) => facts,
                Ok(connected) => {
                    let (host, until) = (connected.host, candidates.share(self.deadline, 1));
                    match self.enter(attrs, connected, &candidates, until).await {
                        Ok(entered) => return Ok(entered),
                        Err(facts) => {
                            if ends_the_search(&facts) {
                                return Err(facts);
                            }
                            if speaks_for_the_host(&facts) {
                                candidates.skip(host);
                            }
                            facts
                        }
                    }
                }
            };
            let most = more_telling(failed.take(), facts);
            if candidates.is_empty() {
                return Err(most);
            }
            failed = Some(most);
        }
    }

    /// One address; twice where the mode knows two ways and the server refused the first.
    async fn enter(
        &self,
        attrs: SessionAttrs,
        connected: Connected,
        candidates: &Candidates,
        until: Instant,
    ) -> Result<(PgSession, Login), Facts> {
        let Connected { socket, host, address, .. } = connected;
        let (first, second) = ways(self.endpoint.tls.mode, &address);
        let way = |ask| SocketLogin { context: self, attrs, host, address: &address, ask, until };
        let mut facts = match way(first).run(socket).await {
            Ok(entered) => return Ok(entered),
            Err(facts) => facts,
        };
        let Some(second) = second.filter(|_| refused_this_way(first, &facts)) else {
            return Err(facts);
        };
        let Ok(socket) = candidates.connect_again(&address, until).await else {
            return Err(facts);
        };
        match way(second).run(socket).await {
            Err(Facts { cause: Cause::TlsRefused, .. }) => {
                if let Cause::Server { words, .. } = &mut facts.cause {
                    words.tls = LoginTls::NotOffered;
                }
                Err(facts)
            }
            other => other,
        }
    }
}

/// The ways to try on one address: libpq's meaning of `sslmode`, which Unix sockets ignore.
fn ways(mode: SslMode, address: &Address) -> (Ask, Option<Ask>) {
    match (mode, address) {
        (SslMode::Disable, _) | (_, Address::Unix(_)) => (Ask::Plain, None),
        (SslMode::Allow, _) => (Ask::Plain, Some(Ask::Demand)),
        (SslMode::Prefer, _) => (Ask::Offer, Some(Ask::Plain)),
        (SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull, _) => (Ask::Demand, None),
    }
}

/// Whether the other way may fare better. A rejected password (28P01) would be rejected again, and counted.
fn refused_this_way(ask: Ask, facts: &Facts) -> bool {
    // Where the server has no TLS, the other way is the same one.
    let by_the_rules = matches!(&facts.cause, Cause::Server { sqlstate, words, .. }
        if sqlstate == "28000" && words.tls != LoginTls::NotOffered);
    // A server that says why (it is full), or that hangs, would do so again.
    let is_final = matches!(facts.cause, Cause::Server { .. } | Cause::Timeout);
    match ask {
        Ask::Plain => by_the_rules,
        Ask::Offer => by_the_rules || (facts.phase == Phase::Tls && !is_final),
        Ask::Demand => false,
    }
}

fn ends_the_search(facts: &Facts) -> bool {
    match &facts.cause {
        Cause::Timeout | Cause::Closed | Cause::Io { .. } | Cause::WrongRole { .. } => false,
        Cause::Server { sqlstate, .. } => sqlstate != "57P03",
        _ => true,
    }
}

/// Another address of the same host would say the same.
fn speaks_for_the_host(facts: &Facts) -> bool {
    matches!(facts.cause, Cause::WrongRole { .. } | Cause::Server { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(phase: Phase, sqlstate: &str) -> Facts {
        Facts::new(phase, Cause::server(sqlstate, ""))
    }

    #[test]
    fn only_the_weak_modes_know_a_second_way_and_unix_sockets_know_no_tls() {
        let tcp = Address::Tcp(([127, 0, 0, 1], 5432).into());
        let unix = Address::Unix("/run/x".into());
        for (mode, expected) in [
            (SslMode::Disable, (Ask::Plain, None)),
            (SslMode::Allow, (Ask::Plain, Some(Ask::Demand))),
            (SslMode::Prefer, (Ask::Offer, Some(Ask::Plain))),
            (SslMode::Require, (Ask::Demand, None)),
            (SslMode::VerifyCa, (Ask::Demand, None)),
            (SslMode::VerifyFull, (Ask::Demand, None)),
        ] {
            assert_eq!(ways(mode, &tcp), expected);
            assert_eq!(ways(mode, &unix), (Ask::Plain, None));
        }
    }

    #[test]
    fn the_second_way_is_not_for_what_would_fail_there_too() {
        for ask in [Ask::Plain, Ask::Offer] {
            assert!(refused_this_way(ask, &facts(Phase::Startup, "28000")));
            assert!(!refused_this_way(ask, &facts(Phase::Startup, "28P01")));
            assert!(!refused_this_way(ask, &facts(Phase::Startup, "53300")));
        }
        let mut without = facts(Phase::Startup, "28000");
        let Cause::Server { words, .. } = &mut without.cause else { panic!("{without:?}") };
        words.tls = LoginTls::NotOffered;
        assert!(!refused_this_way(Ask::Offer, &without), "there is no other way");
        let handshake = Facts::new(Phase::Tls, Cause::tls("no common version"));
        assert!(refused_this_way(Ask::Offer, &handshake));
        assert!(!refused_this_way(Ask::Demand, &handshake));
        assert!(!refused_this_way(Ask::Offer, &Facts::new(Phase::Tls, Cause::Timeout)));
        assert!(!refused_this_way(Ask::Offer, &facts(Phase::Tls, "53300")));
    }

    #[test]
    fn a_search_goes_on_past_servers_that_are_not_there_for_us() {
        assert!(!ends_the_search(&facts(Phase::Startup, "57P03")));
        assert!(!ends_the_search(&Facts::new(Phase::Startup, Cause::Timeout)));
        for sqlstate in ["28P01", "3D000", "53300"] {
            assert!(ends_the_search(&facts(Phase::Startup, sqlstate)), "{sqlstate}");
        }
        assert!(ends_the_search(&Facts::new(Phase::Tls, Cause::TlsRefused)));
    }
}
