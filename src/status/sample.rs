//! Snapshots for the tests of those who read them.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::histogram::Histogram;
use super::pool::{self as numbers, CheckoutFailure, ClientState, PoolStatus, ServerState};
use super::*;
use crate::target::pool::{Listen, Pool};
use crate::target::{Breaker as BreakerLimits, IdlePolicy, Role};

/// A moment that reads 2026-09-21T14:13:20.123Z.
pub fn moment() -> Moment {
    Moment { mono: Instant::now(), wall: UNIX_EPOCH + Duration::from_millis(1_790_000_000_123) }
}

/// So long before `now`.
pub fn ago(now: Moment, seconds: f64) -> Moment {
    let ago = Duration::from_secs_f64(seconds);
    Moment { mono: now.mono - ago, wall: now.wall - ago }
}

/// A target that nothing has happened to.
pub fn starting(name: &str, now: Moment) -> TargetStatus {
    let location = Location {
        host: "db.example.org".to_owned(),
        port: 5432,
        database: "orders".to_owned(),
        user: "app".to_owned(),
        provider: Provider::Other,
    };
    let name = TargetName::new(name).expect("a well-formed name");
    TargetStatus::new(name, Arc::new(Tuning::default()), Some(location), now)
}

/// A session since 93.25 s, pinged a second ago.
pub fn up(name: &str, now: Moment) -> TargetStatus {
    let mut status = starting(name, now);
    let opened = ago(now, 93.25);
    status.line = Line::Live(held(opened, ago(now, 1.0)));
    status.since = opened;
    status.tried = true;
    status.session = Some(SessionFacts {
        server_version: "15.18 (Debian 15.18-0+deb12u1)".to_owned(),
        tls_version: Some("TLSv1.3".to_owned()),
        certificate_expiry: Some(now.wall + Duration::from_secs(86_400)),
        role: Role::Standby,
        ..SessionFacts::default()
    });
    status.last_success = Some(ago(now, 1.0));
    status.last_check = Some(ago(now, 1.0));
    status.last_login = Some(opened);
    status.last_ping = Some(Duration::from_micros(412));
    status.last_phases = Some(Phases {
        resolve: Duration::from_micros(150),
        connect: Duration::from_micros(50),
        tls: Some(Duration::from_micros(2900)),
        startup: Duration::from_micros(3100),
        ping: Duration::from_micros(412),
    });
    status.ping_every = Some(Duration::from_secs(30));
    status.refresh_every = Some(Duration::from_secs(240));
    status.recent.push(true);
    status.pings.push(Some(Duration::from_micros(412)));
    let counters = &mut status.counters;
    counters.attempts = 1;
    counters.connections = 1;
    counters.tcp_connects = 1;
    counters.pings = 4;
    for micros in [400, 412, 700, 9_000_000] {
        let took = Duration::from_micros(micros);
        counters.ping_seconds.observe(&histogram::PING, took);
    }
    let took = Duration::from_micros(6612);
    counters.connect_seconds.observe(&histogram::CONNECT, took);
    status
}

/// Lost so long ago; the first attempt to reconnect has not ended.
pub fn lost(name: &str, now: Moment, seconds: f64) -> TargetStatus {
    let mut status = up(name, now);
    let at = ago(now, seconds);
    status.line = Line::Lost { at, reason: Reason::Shutdown };
    status.since = at;
    status.session = None;
    status.counters.disconnects.add(Reason::Shutdown);
    status
}

pub fn asleep(name: &str, now: Moment) -> TargetStatus {
    let mut status = up(name, now);
    status.line = Line::Asleep { since: ago(now, 60.0), idle_for: Duration::from_secs(300) };
    status.since = ago(now, 60.0);
    status.session = None;
    status
}

/// A pool as it is without keys but `listen`.
pub fn pool() -> Pool {
    Pool::with_defaults(Listen::Tcp(([127, 0, 0, 1], 6432).into()), IdlePolicy::KeepAwake)
}

/// A pool at work.
pub fn busy_pool() -> PoolStatus {
    let mut pool = PoolStatus::new(&pool());
    for state in [ClientState::Idle, ClientState::Idle, ClientState::Waiting, ClientState::Active] {
        pool.client_moved(None, Some(state));
    }
    pool.set_servers([0, 1, 1, 1]);
    for micros in [12, 700, 3_000_000] {
        pool.checked_out(Duration::from_micros(micros));
        pool.answered(Duration::from_micros(micros));
    }
    pool.checkout_failed(CheckoutFailure::Busy);
    pool
}

/// Every number of it differs from 0 and from every other, so that a reader cannot take one for another.
pub fn distinct(name: &str, now: Moment) -> (TargetStatus, PoolStatus) {
    let mut last = 100;
    let mut next = || {
        last += 1;
        last
    };
    let mut status = up(name, now);
    status.last_success = Some(ago(now, 1.5));
    status.last_check = Some(ago(now, 2.5));
    status.last_login = Some(ago(now, 3.5));
    let until = now.after(Duration::from_secs(17));
    let (purpose, because) = (Purpose::Refresh, Because::Backoff);
    status.attempt = Attempt::Waiting { until, tcp_connect: None, purpose, because };
    status.consecutive_failures = next();
    status.idle_limit = Some(Duration::from_secs(next()));
    status.last_phases =
        status.last_phases.map(|phases| Phases { ping: Duration::from_micros(413), ..phases });
    let counters = &mut status.counters;
    counters.attempts = next();
    counters.connections = next();
    counters.reconnects = next();
    counters.refreshes = next();
    counters.refresh_failures = next();
    counters.tcp_connects = next();
    counters.pings = next();
    counters.throttled = next();
    counters.throttle_wait = Duration::from_secs(next());
    counters.address_changes = next();
    counters.restarts = next();
    counters.breaker_transitions.fill_with(&mut next);
    let mut several = |counts: &mut ByReason, reasons: &[Reason]| {
        for reason in reasons {
            (0..next()).for_each(|_| counts.add(*reason));
        }
    };
    several(&mut counters.failures, Reason::CONNECT);
    several(&mut counters.disconnects, Reason::DISCONNECT);
    several(&mut counters.ping_failures, Reason::PING);
    counters.connect_seconds = spread(10_000);
    counters.ping_seconds = spread(11_000);
    counters.wake_seconds = spread(12_000);
    (status, distinct_pool(&mut next))
}

/// One in each bucket but the first, which has `first`, and one above the last bound.
fn spread<const N: usize>(first: u64) -> Histogram<N> {
    let mut buckets = [1; N];
    buckets[0] = first;
    Histogram { buckets, count: first + N as u64, sum: first as f64 + 0.5 }
}

fn distinct_pool(next: &mut impl FnMut() -> u64) -> PoolStatus {
    let mut pool = PoolStatus::new(&pool());
    pool.size = next();
    pool.max_clients = next();
    for state in ClientState::ALL {
        (0..next()).for_each(|_| pool.client_moved(None, Some(state)));
    }
    pool.paused = true;
    pool.set_servers(ServerState::ALL.map(|_| usize::try_from(next()).unwrap_or_default()));
    for why in CheckoutFailure::ALL {
        (0..next()).for_each(|_| pool.checkout_failed(why));
    }
    for why in login::LoginFailure::ALL {
        (0..next()).for_each(|_| pool.login_failures.count(why));
    }
    pool.resets = next();
    pool.disconnects = next();
    let durations = |bounds: &[f64], first: u64| {
        let first = std::iter::repeat_n(0.0, usize::try_from(first).unwrap_or_default());
        let seconds = first.chain(bounds.iter().copied()).chain([99.0]);
        seconds.map(Duration::from_secs_f64).collect::<Vec<_>>()
    };
    durations(&numbers::WAIT, 13_000).into_iter().for_each(|waited| pool.checked_out(waited));
    durations(&numbers::QUERY, 14_000).into_iter().for_each(|took| pool.answered(took));
    pool
}

/// `status` with other tuning.
pub fn tuned(mut status: TargetStatus, change: impl FnOnce(&mut Tuning)) -> TargetStatus {
    let mut tuning = Tuning::clone(&status.tuning);
    change(&mut tuning);
    status.tuning = Arc::new(tuning);
    status
}

pub fn held(since: Moment, answered_at: Moment) -> Held {
    Held { since, unbroken_since: since, answered_at, ping: Ok(()), login: Ok(()), role: Ok(()) }
}

/// Anything, whether or not it makes sense.
pub fn random(dice: &mut fastrand::Rng, name: &str, now: Moment) -> TargetStatus {
    let mut status = match dice.u8(..4) {
        0 => starting(name, now),
        1 => up(name, now),
        2 => lost(name, now, dice.f64() * 5.0),
        _ => asleep(name, now),
    };
    status.location = status.location.filter(|_| dice.u8(..8) > 0);
    if let Some(location) = &mut status.location {
        let letters = ['a', '"', '\\', 'é', '{', '}', ',', '=', '\n', '🐘'];
        location.database = (0..dice.usize(..6)).map(|_| letters[dice.usize(..letters.len())]).collect();
    }
    status = tuned(status, |tuning| {
        tuning.required = dice.bool();
        tuning.idle_policy = if dice.bool() { IdlePolicy::LetSleep } else { IdlePolicy::KeepAwake };
    });
    status.idle_limit = span(dice);
    status.ping_every = span(dice);
    status.refresh_every = span(dice);
    status.last_check = span(dice).map(|wait| now.after(wait));
    status.consecutive_failures = dice.u64(..1 << 53);
    status.counters.throttle_wait = span(dice).unwrap_or_default();
    status.counters.attempts = dice.u64(..1 << 53);
    for _ in 0..dice.usize(..40) {
        if let Some(took) = span(dice) {
            status.counters.ping_seconds.observe(&histogram::PING, took);
            status.counters.wake_seconds.observe(&histogram::WAKE, took);
        }
        if let Some(reason) = dice.choice(Reason::CONNECT) {
            status.counters.failures.add(*reason);
        }
        status.counters.breaker_transitions[dice.usize(..3)] += 1;
    }
    let limits = BreakerLimits { consecutive_failures: 1, ..status.tuning.breaker };
    if dice.bool() {
        status.breaker.failed(now.mono, &limits);
    }
    if dice.bool() {
        status.breaker.admit();
    }
    status.attempt = Attempt::Waiting {
        until: now.after(span(dice).unwrap_or_default()),
        tcp_connect: None,
        purpose: Purpose::Reconnect,
        because: Because::Backoff,
    };
    status
}

/// A pool where anything has happened, or none.
pub fn random_pool(dice: &mut fastrand::Rng) -> Option<PoolStatus> {
    let mut numbers = PoolStatus::new(&pool());
    for _ in 0..dice.usize(..20) {
        numbers.client_moved(None, dice.choice(ClientState::ALL));
        numbers.checkout_failed(CheckoutFailure::ALL[dice.usize(..CheckoutFailure::ALL.len())]);
        numbers.checked_out(span(dice).unwrap_or_default());
        numbers.answered(span(dice).unwrap_or_default());
    }
    numbers.set_servers(ServerState::ALL.map(|_| dice.usize(..20)));
    dice.bool().then_some(numbers)
}

/// From nothing to years.
fn span(dice: &mut fastrand::Rng) -> Option<Duration> {
    let exponent = dice.u32(..18);
    dice.bool().then(|| Duration::from_nanos(dice.u64(..10_u64.pow(exponent) + 1)))
}
