//! The one table of what a target exports.
//!
//! A counter is there from a target's start, at 0; a gauge that has no value is absent, never frozen.

use std::time::Duration;

use super::{Family, Kind, Sink};
use crate::policy::breaker;
use crate::reason::Reason;
use crate::status::histogram::{self, Histogram};
use crate::status::{ByReason, Counters, Moment, State, View, epoch_seconds};

/// In the order in which they are exported.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "pgtether_up",
        help: "Whether a line to the database is proven, as of the last check: 1 in the states up, degraded and sleeping.",
        kind: Kind::Gauge,
        read: |view, out| out.whole(&[], view.state().is_up().into()),
    },
    Family {
        name: "pgtether_target_state",
        help: "The target's state, as of the last check: 1 for the one it is in, 0 for the others.",
        kind: Kind::Gauge,
        read: |view, out| {
            let current = view.state();
            for state in State::ALL {
                out.whole(&[("state", state.as_str())], (state == current).into());
            }
        },
    },
    Family {
        name: "pgtether_target_info",
        help: "Where the target lives and how it is treated; always 1.",
        kind: Kind::Gauge,
        read: target_info,
    },
    Family {
        name: "pgtether_session_info",
        help: "What the current session said of its server; always 1, absent without a session.",
        kind: Kind::Gauge,
        read: |view, out| {
            if let Some(session) = &view.status.session {
                let tls = session.tls_version.as_deref().unwrap_or("none");
                out.whole(&[("server_version", &session.server_version), ("tls_version", tls)], 1);
            }
        },
    },
    Family {
        name: "pgtether_connection_age_seconds",
        help: "Age of the current session; absent without one.",
        kind: Kind::Gauge,
        read: |view, out| seconds(view.connection_age(), out),
    },
    Family {
        name: "pgtether_last_success_timestamp_seconds",
        help: "When an attempt or a ping last succeeded; absent before the first.",
        kind: Kind::Gauge,
        read: |view, out| timestamp(view.status.last_success, out),
    },
    Family {
        name: "pgtether_last_check_timestamp_seconds",
        help: "When an attempt or a ping last ended, for better or worse: the age of every other value here.",
        kind: Kind::Gauge,
        read: |view, out| timestamp(view.status.last_check, out),
    },
    Family {
        name: "pgtether_last_login_timestamp_seconds",
        help: "When a fresh login was last proven; absent before the first.",
        kind: Kind::Gauge,
        read: |view, out| timestamp(view.status.last_login, out),
    },
    Family {
        name: "pgtether_next_attempt_timestamp_seconds",
        help: "When the next attempt begins at the latest; absent where none is waited for.",
        kind: Kind::Gauge,
        read: |view, out| timestamp(view.next_attempt(), out),
    },
    Family {
        name: "pgtether_consecutive_failures",
        help: "Attempts that failed since one last succeeded.",
        kind: Kind::Gauge,
        read: |view, out| out.whole(&[], view.status.consecutive_failures),
    },
    Family {
        name: "pgtether_ping_interval_seconds",
        help: "How often the session is pinged, a learned idle limit considered; absent where pings are off.",
        kind: Kind::Gauge,
        read: |view, out| seconds(view.status.ping_every, out),
    },
    Family {
        name: "pgtether_refresh_interval_seconds",
        help: "How often a fresh login replaces the session, a learned idle limit considered; absent where off.",
        kind: Kind::Gauge,
        read: |view, out| seconds(view.status.refresh_every, out),
    },
    Family {
        name: "pgtether_connect_attempts_total",
        help: "Attempts to open a session, those in flight included.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).attempts),
    },
    Family {
        name: "pgtether_connect_failures_total",
        help: "Attempts that failed, by reason.",
        kind: Kind::Counter,
        read: |view, out| by_reason(Reason::CONNECT, &counters(view).failures, out),
    },
    Family {
        name: "pgtether_connections_total",
        help: "Attempts that succeeded: sessions opened.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).connections),
    },
    Family {
        name: "pgtether_reconnects_total",
        help: "Sessions opened in place of one that was lost; refreshes are not among them.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).reconnects),
    },
    Family {
        name: "pgtether_disconnects_total",
        help: "Sessions lost, by reason; planned closes are not among them.",
        kind: Kind::Counter,
        read: |view, out| by_reason(Reason::DISCONNECT, &counters(view).disconnects, out),
    },
    Family {
        name: "pgtether_refreshes_total",
        help: "Sessions replaced as planned, by a fresh login.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).refreshes),
    },
    Family {
        name: "pgtether_refresh_failures_total",
        help: "Refreshes whose login failed.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).refresh_failures),
    },
    Family {
        name: "pgtether_knocks_total",
        help: "TCP connects tried, whether or not a login followed.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).knocks),
    },
    Family {
        name: "pgtether_pings_total",
        help: "Pings sent on a held session.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).pings),
    },
    Family {
        name: "pgtether_ping_failures_total",
        help: "Pings that failed, by reason.",
        kind: Kind::Counter,
        read: |view, out| by_reason(Reason::PING, &counters(view).ping_failures, out),
    },
    Family {
        name: "pgtether_throttled_connects_total",
        help: "Attempts that the storm guard made wait.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).throttled),
    },
    Family {
        name: "pgtether_throttle_wait_seconds_total",
        help: "Time that attempts waited for the storm guard.",
        kind: Kind::Counter,
        read: |view, out| out.real(&[], counters(view).throttle_wait.as_secs_f64()),
    },
    Family {
        name: "pgtether_address_changes_total",
        help: "Sessions that reached another address than the one before: a failover or a moved endpoint.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).address_changes),
    },
    Family {
        name: "pgtether_supervisor_restarts_total",
        help: "Restarts of the target's task after it ended by itself; anything above 0 is a bug in pgtether.",
        kind: Kind::Counter,
        read: |view, out| out.whole(&[], counters(view).restarts),
    },
    Family {
        name: "pgtether_connect_duration_seconds",
        help: "Time from the start of an attempt to its first answered ping; successes only.",
        kind: Kind::Histogram,
        read: |view, out| durations(&histogram::CONNECT, &counters(view).connect_seconds, out),
    },
    Family {
        name: "pgtether_ping_duration_seconds",
        help: "Time that a ping took; successes only.",
        kind: Kind::Histogram,
        read: |view, out| durations(&histogram::PING, &counters(view).ping_seconds, out),
    },
    Family {
        name: "pgtether_wake_duration_seconds",
        help: "Time that it took to wake a sleeping database; successes only.",
        kind: Kind::Histogram,
        read: |view, out| durations(&histogram::WAKE, &counters(view).wake_seconds, out),
    },
    Family {
        name: "pgtether_last_connect_phase_seconds",
        help: "Time that each phase of the last successful attempt took; tls is absent without TLS.",
        kind: Kind::Gauge,
        read: phases,
    },
    Family {
        name: "pgtether_breaker_state",
        help: "The circuit breaker's state: 1 for the one it is in, 0 for the others.",
        kind: Kind::Gauge,
        read: |view, out| {
            let current = view.status.breaker.state();
            for state in breaker::State::ALL {
                out.whole(&[("state", state.as_str())], (state == current).into());
            }
        },
    },
    Family {
        name: "pgtether_breaker_transitions_total",
        help: "Changes of the circuit breaker, by the state it went to.",
        kind: Kind::Counter,
        read: |view, out| {
            for state in breaker::State::ALL {
                let count = counters(view).breaker_transitions[state as usize];
                out.whole(&[("state", state.as_str())], count);
            }
        },
    },
    Family {
        name: "pgtether_observed_idle_timeout_seconds",
        help: "After how long the other side closes an idle session, as learned; absent until then.",
        kind: Kind::Gauge,
        read: |view, out| seconds(view.status.idle_limit, out),
    },
    Family {
        name: "pgtether_tls_certificate_expiry_timestamp_seconds",
        help: "When the first certificate of the chain that the server showed expires; absent without TLS.",
        kind: Kind::Gauge,
        read: |view, out| {
            let session = view.status.session.as_ref();
            if let Some(expiry) = session.and_then(|session| session.certificate_expiry) {
                out.real(&[], epoch_seconds(expiry));
            }
        },
    },
];

fn counters<'a>(view: &View<'a>) -> &'a Counters {
    &view.status.counters
}

fn target_info(view: &View<'_>, out: &mut dyn Sink) {
    let tuning = &view.status.tuning;
    let required = if tuning.required { "true" } else { "false" };
    let treated = [
        ("idle_policy", tuning.idle_policy.as_str()),
        ("required", required),
        ("role", tuning.role.as_str()),
    ];
    match &view.status.place {
        Some(place) => {
            let port = place.port.to_string();
            let lives = [
                ("host", place.host.as_str()),
                ("port", port.as_str()),
                ("database", place.database.as_str()),
                ("provider", place.provider.as_str()),
            ];
            out.whole(&[lives.as_slice(), &treated].concat(), 1);
        }
        None => out.whole(&treated, 1),
    }
}

fn phases(view: &View<'_>, out: &mut dyn Sink) {
    let Some(phases) = view.status.last_phases else {
        return;
    };
    for (phase, took) in phases.named() {
        out.real(&[("phase", phase.as_str())], took.as_secs_f64());
    }
}

fn by_reason(set: &[Reason], counts: &ByReason, out: &mut dyn Sink) {
    for reason in set {
        out.whole(&[("reason", reason.as_str())], counts.get(*reason));
    }
}

fn durations<const N: usize>(bounds: &[f64; N], seen: &Histogram<N>, out: &mut dyn Sink) {
    out.histogram(bounds, &seen.buckets, seen.count, seen.sum);
}

fn seconds(value: Option<Duration>, out: &mut dyn Sink) {
    if let Some(duration) = value {
        out.real(&[], duration.as_secs_f64());
    }
}

fn timestamp(value: Option<Moment>, out: &mut dyn Sink) {
    if let Some(moment) = value {
        out.real(&[], epoch_seconds(moment.wall));
    }
}
