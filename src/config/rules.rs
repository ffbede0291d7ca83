//! Values that are fine alone and not together. Each finding is a key, relative to the target or `defaults`, and what
//! to say of it.

use std::sync::Arc;

use super::duration::format;
use super::file::{Keys, TuningKeys};
use super::values::Switch;
use crate::target::{IdlePolicy, KEPT_AWAKE_COST, PasswordSource, SocketTuning, Source, Target, Tuning};

pub type KeyMessage = (&'static str, String);

/// What cannot be meant. Only where `keys` has a part in it: else it is the mistake of `defaults`, and told there.
pub fn contradictions(keys: &TuningKeys, tuning: &Tuning) -> Vec<KeyMessage> {
    let mut found = Vec::new();
    let (initial, max) = (tuning.backoff.initial, tuning.backoff.max);
    if keys.backoff.is_some() && initial > max {
        let message = format!("{} is more than backoff.max, {}", format(initial), format(max));
        found.push(("backoff.initial", message));
    }
    let (open, max) = (tuning.breaker.open_for, tuning.breaker.max_open_for);
    if keys.breaker.is_some() && open > max {
        let message = format!("{} is more than breaker.max_open_for, {}", format(open), format(max));
        found.push(("breaker.open_for", message));
    }
    found
}

/// What to say of a connection string with a password where there is a command that prints one.
pub const PASSWORD_AND_COMMAND: &str =
    "has a password, and password_command gives one, too: remove one of them";

/// Two places for one password.
pub fn two_passwords(keys: &Keys) -> Option<KeyMessage> {
    let both = keys.password_file.is_some() && keys.password_command.is_some();
    both.then(|| ("password_command", "password_file is there too: take one of them".to_owned()))
}

/// Where the password comes from by these keys.
pub fn password_source(keys: &Keys) -> Option<PasswordSource> {
    let command = keys.password_command.as_ref();
    let command = command.map(|command| PasswordSource::Command(Arc::new(command.0.clone())));
    command.or_else(|| Some(PasswordSource::File(keys.password_file.as_ref()?.0.clone())))
}

/// What works, but hardly as meant.
pub fn advice(keys: &TuningKeys, target: &Target) -> Vec<KeyMessage> {
    let mut found = Vec::new();
    let (endpoint, sockets) = match &target.source {
        Source::Inline(endpoint) => (Some(endpoint), target.socket_tuning(endpoint)),
        Source::File(_) => (None, target.sockets_without_url()),
    };
    if endpoint.is_some_and(|endpoint| target.kept_awake_unasked(endpoint)) {
        found.push(("idle_policy", KEPT_AWAKE_COST.to_owned()));
    }
    let ping = target.tuning.ping;
    if keys.ping.is_some() && ping.timeout > ping.interval {
        let message = format!(
            "{} is more than ping.interval, {}: a server that hangs is found that much later",
            format(ping.timeout),
            format(ping.interval)
        );
        found.push(("ping.timeout", message));
    }
    if let Some(every) = target.tuning.refresh.every
        && (keys.ping.is_some() || keys.refresh.is_some())
        && target.tuning.idle_policy == IdlePolicy::KeepAwake
        && ping.interval > every
    {
        let message = format!(
            "{} is more than refresh.every, {}: sessions are replaced before they are pinged",
            format(ping.interval),
            format(every)
        );
        found.push(("ping.interval", message));
    }
    if let Some(weakness) = endpoint.and_then(|endpoint| endpoint.weakness(endpoint.password.as_ref()?))
        && target.password == PasswordSource::Url
    {
        let message = format!(
            "the password {weakness}, so it is not removed from the server's messages, which are logged and shown: take a \
             long random one"
        );
        found.push(("url", message));
    }
    found.extend(probes_cut_short(&sockets));
    found.extend(without_effect(keys, target.tuning.idle_policy));
    found.extend(without_command(keys, target));
    found
}

/// The kernel gives up at `tcp_user_timeout`, however many probes are left.
fn probes_cut_short(sockets: &SocketTuning) -> Option<KeyMessage> {
    let keepalives = sockets.keepalives?;
    let user_timeout = sockets.tcp_user_timeout?;
    let last_probe = keepalives.idle + keepalives.interval * keepalives.count.saturating_sub(1);
    (user_timeout < last_probe).then(|| {
        let message = format!(
            "{} is less than the {} until the last keepalive probe: the connection is given up before all of them are sent",
            format(user_timeout),
            format(last_probe)
        );
        ("tcp_user_timeout", message)
    })
}

/// Keys of the target itself that its `idle_policy` makes meaningless; in `defaults` they may be for other targets.
fn without_effect(keys: &TuningKeys, policy: IdlePolicy) -> Vec<KeyMessage> {
    fn on<T>(key: Option<&Switch<T>>) -> bool {
        matches!(key, Some(Switch::On(_)))
    }
    let (set, needed): (&[(bool, &'static str)], _) = match policy {
        IdlePolicy::KeepAwake => (
            &[
                (on(keys.wake_every.as_ref()), "wake_every"),
                (on(keys.close_idle_after.as_ref()), "close_idle_after"),
            ],
            IdlePolicy::LetSleep,
        ),
        IdlePolicy::LetSleep => (
            &[
                (keys.ping.as_ref().is_some_and(|p| p.interval.is_some()), "ping.interval"),
                (keys.refresh.as_ref().is_some_and(|r| on(r.every.as_ref())), "refresh.every"),
            ],
            IdlePolicy::KeepAwake,
        ),
    };
    let useless = set.iter().filter(|(set, _)| *set);
    useless.map(|(_, key)| (*key, format!("does nothing without idle_policy: {}", needed.as_str()))).collect()
}

/// Keys of the target itself that are for a command, where there is none.
fn without_command(keys: &TuningKeys, target: &Target) -> Vec<KeyMessage> {
    let (tuning, usual) = (&target.tuning, Tuning::default());
    let set = [
        (
            keys.password_command_ttl.is_some() && tuning.password_command_ttl != usual.password_command_ttl,
            "password_command_ttl",
        ),
        (
            keys.password_command_timeout.is_some()
                && tuning.password_command_timeout != usual.password_command_timeout,
            "password_command_timeout",
        ),
    ];
    let useless = set.into_iter().filter(|(set, _)| *set && !target.password.is_command());
    useless.map(|(_, key)| (key, "does nothing without password_command".to_owned())).collect()
}
