//! The one table of what a target exports.
//!
//! A counter is there from a target's start, at 0; a gauge that has no value is absent, never frozen.

use super::read::{by_reason, counters, durations, of_pool, phases, seconds, target_info, timestamp};
use super::{Family, FamilyKind};
use crate::policy::breaker;
use crate::reason::Reason;
use crate::status::login::LoginFailure;
use crate::status::pool::{CheckoutFailure, ClientState, QUERY, ServerState, WAIT};
use crate::status::{State, epoch_seconds, histogram};
use crate::target::Role;

/// In the order in which they are exported.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "pgtether_up",
        help: "Whether the database is known to be reachable, as of the last check: 1 in the states up, degraded and sleeping.",
        kind: FamilyKind::Gauge,
        read: |view, out| out.whole(&[], view.state().is_up().into()),
    },
    Family {
        name: "pgtether_target_state",
        help: "The target's state, as of the last check: 1 for the one it is in, 0 for the others.",
        kind: FamilyKind::Gauge,
        read: |view, out| {
            let current = view.state();
            for state in State::ALL {
                out.whole(&[("state", state.as_str())], (state == current).into());
            }
        },
    },
    Family {
        name: "pgtether_target_reason",
        help: "Why the target is down or degraded, as of the last check: 1 for the reason in force; absent otherwise.",
        kind: FamilyKind::Gauge,
        read: |view, out| {
            if let Some(reason) = view.reason() {
                out.whole(&[("reason", reason.as_str())], 1);
            }
        },
    },
    Family {
        name: "pgtether_target_info",
        help: "Where the target is and how it is supervised; always 1.",
        kind: FamilyKind::Gauge,
        read: target_info,
    },
    Family {
        name: "pgtether_session_info",
        help: "Server and TLS version of the current session, short_version without what packagers add; always 1, absent without a session.",
        kind: FamilyKind::Gauge,
        read: |view, out| {
            if let Some(session) = &view.status.session {
                let tls = session.tls_version.as_deref().unwrap_or("none");
                let versions = [
                    ("server_version", session.server_version.as_str()),
                    ("short_version", session.short_version()),
                    ("tls_version", tls),
                ];
                out.whole(&versions, 1);
            }
        },
    },
    Family {
        name: "pgtether_server_in_recovery",
        help: "Whether the server of the current session is a standby, as it reports since PostgreSQL 14 or as role makes pgtether ask; absent where unknown.",
        kind: FamilyKind::Gauge,
        read: |view, out| {
            let role = view.status.session.as_ref().map(|session| session.role);
            if let Some(role @ (Role::Primary | Role::Standby)) = role {
                out.whole(&[], (role == Role::Standby).into());
            }
        },
    },
    Family {
        name: "pgtether_connection_age_seconds",
        help: "Age of the current session; absent without one.",
        kind: FamilyKind::Gauge,
        read: |view, out| seconds(view.connection_age(), out),
    },
    Family {
        name: "pgtether_last_success_timestamp_seconds",
        help: "When an attempt or a ping last succeeded; absent before the first.",
        kind: FamilyKind::Gauge,
        read: |view, out| timestamp(view.status.last_success, out),
    },
    Family {
        name: "pgtether_last_check_timestamp_seconds",
        help: "When an attempt or a ping last ended, whatever its result: the age of every other value here.",
        kind: FamilyKind::Gauge,
        read: |view, out| timestamp(view.status.last_check, out),
    },
    Family {
        name: "pgtether_last_login_timestamp_seconds",
        help: "When a login last succeeded; absent before the first.",
        kind: FamilyKind::Gauge,
        read: |view, out| timestamp(view.status.last_login, out),
    },
    Family {
        name: "pgtether_next_attempt_timestamp_seconds",
        help: "When the next attempt begins at the latest; absent where none is waited for.",
        kind: FamilyKind::Gauge,
        read: |view, out| timestamp(view.next_attempt(), out),
    },
    Family {
        name: "pgtether_consecutive_failures",
        help: "Attempts that failed since one last succeeded.",
        kind: FamilyKind::Gauge,
        read: |view, out| out.whole(&[], view.status.consecutive_failures),
    },
    Family {
        name: "pgtether_ping_interval_seconds",
        help: "Time between pings: ping.interval, or 80 % of a learned idle limit if that is less; absent where pings are off.",
        kind: FamilyKind::Gauge,
        read: |view, out| seconds(view.status.ping_every, out),
    },
    Family {
        name: "pgtether_refresh_interval_seconds",
        help: "Time after which a new login replaces the session: refresh.every, or 80 % of a learned idle limit if that is less; absent where off.",
        kind: FamilyKind::Gauge,
        read: |view, out| seconds(view.status.refresh_every, out),
    },
    Family {
        name: "pgtether_connect_attempts_total",
        help: "Attempts to open a session, those in flight included.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).attempts),
    },
    Family {
        name: "pgtether_connect_failures_total",
        help: "Attempts that failed, by reason.",
        kind: FamilyKind::Counter,
        read: |view, out| by_reason(Reason::CONNECT, &counters(view).failures, out),
    },
    Family {
        name: "pgtether_connections_total",
        help: "Attempts that succeeded: sessions opened.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).connections),
    },
    Family {
        name: "pgtether_reconnects_total",
        help: "Sessions opened in place of one that was lost; refreshes are not among them.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).reconnects),
    },
    Family {
        name: "pgtether_disconnects_total",
        help: "Sessions lost, by reason; planned closes are not among them.",
        kind: FamilyKind::Counter,
        read: |view, out| by_reason(Reason::DISCONNECT, &counters(view).disconnects, out),
    },
    Family {
        name: "pgtether_refreshes_total",
        help: "Sessions replaced as planned, by a fresh login.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).refreshes),
    },
    Family {
        name: "pgtether_refresh_failures_total",
        help: "Refreshes whose login failed.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).refresh_failures),
    },
    Family {
        name: "pgtether_tcp_connects_total",
        help: "TCP connects tried for the monitoring session, one for each address, whether or not a login followed.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).tcp_connects),
    },
    Family {
        name: "pgtether_pings_total",
        help: "Pings sent on a held session.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).pings),
    },
    Family {
        name: "pgtether_ping_failures_total",
        help: "Pings that failed, by reason.",
        kind: FamilyKind::Counter,
        read: |view, out| by_reason(Reason::PING, &counters(view).ping_failures, out),
    },
    Family {
        name: "pgtether_throttled_connects_total",
        help: "Attempts that the limits of connections per second made wait.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).throttled),
    },
    Family {
        name: "pgtether_throttle_wait_seconds_total",
        help: "Time that attempts waited for the limits of connections per second.",
        kind: FamilyKind::Counter,
        read: |view, out| out.real(&[], counters(view).throttle_wait.as_secs_f64()),
    },
    Family {
        name: "pgtether_address_changes_total",
        help: "Sessions that reached another address than the one before: a failover or a moved endpoint.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).address_changes),
    },
    Family {
        name: "pgtether_supervisor_restarts_total",
        help: "Restarts of the target's task after it ended by itself; anything above 0 is a bug in pgtether.",
        kind: FamilyKind::Counter,
        read: |view, out| out.whole(&[], counters(view).restarts),
    },
    Family {
        name: "pgtether_connect_duration_seconds",
        help: "Time from the start of an attempt to its first answered ping; successes only.",
        kind: FamilyKind::Histogram,
        read: |view, out| durations(&histogram::CONNECT, &counters(view).connect_seconds, out),
    },
    Family {
        name: "pgtether_ping_duration_seconds",
        help: "Time that a ping took; successes only.",
        kind: FamilyKind::Histogram,
        read: |view, out| durations(&histogram::PING, &counters(view).ping_seconds, out),
    },
    Family {
        name: "pgtether_wake_duration_seconds",
        help: "Time that it took to wake a sleeping database; successes only.",
        kind: FamilyKind::Histogram,
        read: |view, out| durations(&histogram::WAKE, &counters(view).wake_seconds, out),
    },
    Family {
        name: "pgtether_last_connect_phase_seconds",
        help: "Time that each phase of the last successful attempt took; tls is absent without TLS.",
        kind: FamilyKind::Gauge,
        read: phases,
    },
    Family {
        name: "pgtether_breaker_state",
        help: "The circuit breaker's state: 1 for the one it is in, 0 for the others.",
        kind: FamilyKind::Gauge,
        read: |view, out| {
            let current = view.status.breaker.state();
            for state in breaker::BreakerState::ALL {
                out.whole(&[("state", state.as_str())], (state == current).into());
            }
        },
    },
    Family {
        name: "pgtether_breaker_transitions_total",
        help: "Changes of the circuit breaker, by the state it went to.",
        kind: FamilyKind::Counter,
        read: |view, out| {
            for state in breaker::BreakerState::ALL {
                let count = counters(view).breaker_transitions[state as usize];
                out.whole(&[("state", state.as_str())], count);
            }
        },
    },
    Family {
        name: "pgtether_observed_idle_timeout_seconds",
        help: "After how long the other side closes an idle session, as learned; absent until then.",
        kind: FamilyKind::Gauge,
        read: |view, out| seconds(view.status.idle_limit, out),
    },
    Family {
        name: "pgtether_tls_certificate_expiry_timestamp_seconds",
        help: "When the first certificate of the chain that the server last presented expires, also of one that was refused; absent without TLS.",
        kind: FamilyKind::Gauge,
        read: |view, out| {
            let session = view.status.session.as_ref();
            let shown = session.and_then(|session| session.certificate_expiry);
            if let Some(expiry) = view.status.refused_certificate_expiry.or(shown) {
                out.real(&[], epoch_seconds(expiry));
            }
        },
    },
    Family {
        name: "pgtether_pool_clients",
        help: "Clients of the pool by what they do: log in, are idle, wait for a session, or are active with one.",
        kind: FamilyKind::Gauge,
        read: |view, out| {
            if let Some(pool) = view.pool {
                for state in ClientState::ALL {
                    out.whole(&[("state", state.as_str())], pool.clients(state));
                }
            }
        },
    },
    Family {
        name: "pgtether_pool_servers",
        help: "Sessions of the pool by what they do: log in, are idle, are tested, or are active for a client.",
        kind: FamilyKind::Gauge,
        read: |view, out| {
            if let Some(pool) = view.pool {
                for state in ServerState::ALL {
                    out.whole(&[("state", state.as_str())], pool.servers(state));
                }
            }
        },
    },
    Family {
        name: "pgtether_pool_size",
        help: "Sessions that the pool may have at the most.",
        kind: FamilyKind::Gauge,
        read: |view, out| of_pool(view, |pool| pool.size, out),
    },
    Family {
        name: "pgtether_pool_max_clients",
        help: "Clients that the pool lets in at the most.",
        kind: FamilyKind::Gauge,
        read: |view, out| of_pool(view, |pool| pool.max_clients, out),
    },
    Family {
        name: "pgtether_pool_paused",
        help: "Whether the pool is paused: 1 until somebody resumes it.",
        kind: FamilyKind::Gauge,
        read: |view, out| of_pool(view, |pool| u64::from(pool.paused), out),
    },
    Family {
        name: "pgtether_pool_checkouts_total",
        help: "Sessions that the pool gave to clients.",
        kind: FamilyKind::Counter,
        read: |view, out| of_pool(view, |pool| pool.checkouts, out),
    },
    Family {
        name: "pgtether_pool_checkout_failures_total",
        help: "Times that a client needed a session and got none, by reason.",
        kind: FamilyKind::Counter,
        read: |view, out| {
            if let Some(pool) = view.pool {
                for why in CheckoutFailure::ALL {
                    out.whole(&[("reason", why.as_str())], pool.checkout_failures(why));
                }
            }
        },
    },
    Family {
        name: "pgtether_pool_resets_total",
        help: "Times that the pool removed what a client had left on a session: a lock, LISTEN, a temporary table, and the like.",
        kind: FamilyKind::Counter,
        read: |view, out| of_pool(view, |pool| pool.resets, out),
    },
    Family {
        name: "pgtether_pool_client_disconnects_total",
        help: "Clients of the pool that were disconnected because the session they had was lost.",
        kind: FamilyKind::Counter,
        read: |view, out| of_pool(view, |pool| pool.disconnects, out),
    },
    Family {
        name: "pgtether_pool_login_failures_total",
        help: "Clients that the pool did not let in, by reason.",
        kind: FamilyKind::Counter,
        read: |view, out| {
            if let Some(pool) = view.pool {
                for why in LoginFailure::ALL {
                    out.whole(&[("reason", why.as_str())], pool.login_failures.get(why));
                }
            }
        },
    },
    Family {
        name: "pgtether_pool_wait_duration_seconds",
        help: "Time that clients waited for the sessions they got.",
        kind: FamilyKind::Histogram,
        read: |view, out| {
            if let Some(pool) = view.pool {
                durations(&WAIT, &pool.waits, out);
            }
        },
    },
    Family {
        name: "pgtether_pool_query_duration_seconds",
        help: "Time from a query to the server being ready for the next, as clients of the pool saw it.",
        kind: FamilyKind::Histogram,
        read: |view, out| {
            if let Some(pool) = view.pool {
                durations(&QUERY, &pool.queries, out);
            }
        },
    },
];
