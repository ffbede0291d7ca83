//! Between the file's keys and the types that the rest of pgtether uses: [`Tuning`], [`UrlTimings`], [`Fleet`]; and
//! back, for `config show` and the schema's defaults.

use std::time::Duration;

use super::Fleet;
use super::file::{BackoffKeys, BreakerKeys, FleetKeys, KeepaliveKeys, Keys, PingKeys, RefreshKeys};
use super::values::{Flag, IdlePolicyWord, RoleWord, Share, Span, Switch, Whole};
use crate::target::{Keepalives, Tuning, UrlTimings};

impl Keys {
    /// Lays these keys over `tuning`.
    pub fn apply(&self, tuning: &mut Tuning) {
        set(&mut tuning.required, self.required.map(|v| v.0));
        set(&mut tuning.idle_policy, self.idle_policy.map(|v| v.0));
        set(&mut tuning.role, self.role.map(|v| v.0));
        set(&mut tuning.connect_timeout, span(self.connect_timeout));
        match &self.keepalives {
            None => {}
            Some(Switch::Off) => tuning.keepalives = None,
            Some(Switch::On(keys)) => {
                let mut keepalives = tuning.keepalives.unwrap_or(Keepalives::DEFAULT);
                set(&mut keepalives.idle, span(keys.idle));
                set(&mut keepalives.interval, span(keys.interval));
                set(&mut keepalives.count, keys.count.map(|v| v.0));
                tuning.keepalives = Some(keepalives);
            }
        }
        set(&mut tuning.tcp_user_timeout, switch(self.tcp_user_timeout));
        if let Some(ping) = &self.ping {
            set(&mut tuning.ping.interval, span(ping.interval));
            set(&mut tuning.ping.timeout, span(ping.timeout));
        }
        if let Some(refresh) = &self.refresh {
            set(&mut tuning.refresh.every, switch(refresh.every));
            set(&mut tuning.refresh.jitter, refresh.jitter.map(|v| v.0));
            set(&mut tuning.refresh.overlap, refresh.overlap.map(|v| v.0));
        }
        if let Some(backoff) = &self.backoff {
            set(&mut tuning.backoff.initial, span(backoff.initial));
            set(&mut tuning.backoff.max, span(backoff.max));
        }
        if let Some(breaker) = &self.breaker {
            let failures = breaker.consecutive_failures.map(|v| v.0);
            set(&mut tuning.breaker.consecutive_failures, failures);
            set(&mut tuning.breaker.open_for, span(breaker.open_for));
            set(&mut tuning.breaker.max_open_for, span(breaker.max_open_for));
        }
        set(&mut tuning.wake_every, switch(self.wake_every));
        set(&mut tuning.wake_timeout, span(self.wake_timeout));
        set(&mut tuning.close_idle_after, switch(self.close_idle_after));
    }

    /// Those of a target's own keys that beat its connection string.
    pub fn timings(&self) -> UrlTimings {
        let keepalives = match &self.keepalives {
            Some(Switch::On(keys)) => Some(keys),
            Some(Switch::Off) | None => None,
        };
        UrlTimings {
            connect_timeout: span(self.connect_timeout),
            keepalives: self.keepalives.as_ref().map(|k| matches!(k, Switch::On(_))),
            keepalives_idle: keepalives.and_then(|k| span(k.idle)),
            keepalives_interval: keepalives.and_then(|k| span(k.interval)),
            keepalives_count: keepalives.and_then(|k| k.count).map(|v| v.0),
            // As libpq's 0: the system's default, whatever the connection string says.
            tcp_user_timeout: switch(self.tcp_user_timeout).map(Option::unwrap_or_default),
        }
    }

    /// Every key, with the value that `tuning` has.
    pub fn of(tuning: &Tuning) -> Keys {
        Keys {
            password_file: None,
            required: Some(Flag(tuning.required)),
            idle_policy: Some(IdlePolicyWord(tuning.idle_policy)),
            connect_timeout: Some(Span(tuning.connect_timeout)),
            keepalives: Some(tuning.keepalives.map_or(Switch::Off, |k| {
                Switch::On(KeepaliveKeys {
                    idle: Some(Span(k.idle)),
                    interval: Some(Span(k.interval)),
                    count: Some(Whole(k.count)),
                })
            })),
            tcp_user_timeout: Some(or_off(tuning.tcp_user_timeout)),
            ping: Some(PingKeys {
                interval: Some(Span(tuning.ping.interval)),
                timeout: Some(Span(tuning.ping.timeout)),
            }),
            refresh: Some(RefreshKeys {
                every: Some(or_off(tuning.refresh.every)),
                jitter: Some(Share(tuning.refresh.jitter)),
                overlap: Some(Flag(tuning.refresh.overlap)),
            }),
            backoff: Some(BackoffKeys {
                initial: Some(Span(tuning.backoff.initial)),
                max: Some(Span(tuning.backoff.max)),
            }),
            breaker: Some(BreakerKeys {
                consecutive_failures: Some(Whole(tuning.breaker.consecutive_failures)),
                open_for: Some(Span(tuning.breaker.open_for)),
                max_open_for: Some(Span(tuning.breaker.max_open_for)),
            }),
            wake_every: Some(or_off(tuning.wake_every)),
            wake_timeout: Some(Span(tuning.wake_timeout)),
            close_idle_after: Some(or_off(tuning.close_idle_after)),
            role: Some(RoleWord(tuning.role)),
        }
    }
}

impl FleetKeys {
    pub fn fleet(&self) -> Fleet {
        let mut fleet = Fleet::default();
        set(&mut fleet.logins_in_flight, self.logins_in_flight.map(|v| v.0));
        set(&mut fleet.connects_per_second, self.connects_per_second.map(|v| v.0));
        let per_host = self.connects_per_host_per_second.map(|v| v.0);
        set(&mut fleet.connects_per_host_per_second, per_host);
        fleet
    }

    pub fn of(fleet: &Fleet) -> FleetKeys {
        FleetKeys {
            logins_in_flight: Some(Whole(fleet.logins_in_flight)),
            connects_per_second: Some(Whole(fleet.connects_per_second)),
            connects_per_host_per_second: Some(Whole(fleet.connects_per_host_per_second)),
        }
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn span<const MIN: u64, const MAX: u64, const STEP: u64>(
    key: Option<Span<MIN, MAX, STEP>>,
) -> Option<Duration> {
    key.map(|span| span.0)
}

/// `None` where the key is not set, `Some(None)` where it is off.
fn switch<const MIN: u64, const MAX: u64>(key: Option<Switch<Span<MIN, MAX>>>) -> Option<Option<Duration>> {
    key.map(|key| match key {
        Switch::Off => None,
        Switch::On(span) => Some(span.0),
    })
}

fn or_off<const MIN: u64, const MAX: u64>(value: Option<Duration>) -> Switch<Span<MIN, MAX>> {
    value.map_or(Switch::Off, |value| Switch::On(Span(value)))
}
