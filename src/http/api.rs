//! `/api/v1/targets`: what the status page reads, everything of a view.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::App;
use crate::health::{Reach, Status, rfc3339};
use crate::reason::Reason;
use crate::status::history::{UptimeSpan, WINDOWS};
use crate::status::pool::{CheckoutFailure, ClientState, PoolStatus, ServerState};
use crate::status::process::{LastRead, ProcessStatus};
use crate::status::{Attempt, Because, Failure, Moment, Purpose, View};
use crate::target::Role;

#[derive(Debug, Serialize)]
struct TargetsDocument<'a> {
    service: &'a str,
    version: &'a str,
    now: Option<String>,
    status: &'static str,
    config: FileJson,
    /// Null where there is none.
    web_config: Option<FileJson>,
    targets: Vec<TargetJson<'a>>,
}

/// How a file was last read.
#[derive(Debug, Serialize)]
struct FileJson {
    /// `taken`, or `refused` where the previous one stays in use.
    last_read: &'static str,
    at: Option<String>,
    /// Since when it has been refused; null where it was taken.
    refused_since: Option<String>,
    /// What is wrong with it, in lines.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TargetJson<'a> {
    name: &'a str,
    /// What it means for `/health`.
    health: &'static str,
    status: &'static str,
    state: &'static str,
    since: Option<String>,
    reason: Option<&'static str>,
    remedy: Option<&'static str>,
    /// What was seen of the reason in force.
    detail: Option<&'a str>,
    /// What a POST to it tries at once; null without `--web.enable-lifecycle`.
    reconnect_path: Option<String>,
    required: bool,
    idle_policy: &'static str,
    /// The role that is asked for.
    role: &'static str,
    location: Option<LocationJson<'a>>,
    session: Option<SessionJson<'a>>,
    attempt: AttemptJson,
    breaker: &'static str,
    consecutive_failures: u64,
    last_failure: Option<FailureJson<'a>>,
    /// By the names of [`WINDOWS`].
    uptime: UptimeJson,
    last_success: Option<String>,
    last_check: Option<String>,
    last_login: Option<String>,
    success_rate: Option<f64>,
    ping_ms: Option<f64>,
    /// The last pings, newest last; null where one failed.
    pings_ms: Vec<Option<f64>>,
    /// Of the last successful attempt.
    phases: Vec<PhaseJson>,
    ping_interval_seconds: Option<f64>,
    refresh_interval_seconds: Option<f64>,
    observed_idle_timeout_seconds: Option<f64>,
    counters: CountersJson,
    /// Only where applications connect through one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<PoolJson>,
}

#[derive(Debug, Serialize)]
struct PoolJson {
    listen: String,
    mode: &'static str,
    size: u64,
    max_clients: u64,
    paused: bool,
    clients: ByWord<4>,
    servers: ByWord<4>,
    checkouts: u64,
    failures: ByWord<5>,
}

/// Numbers under the words of a closed set, in its order.
#[derive(Debug)]
struct ByWord<const N: usize>([(&'static str, u64); N]);

impl<const N: usize> Serialize for ByWord<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0)
    }
}

#[derive(Debug, Serialize)]
struct LocationJson<'a> {
    host: &'a str,
    port: u16,
    database: &'a str,
    provider: &'static str,
    /// The address that the last TCP connect reached.
    address: Option<String>,
}

#[derive(Debug, Serialize)]
struct SessionJson<'a> {
    age_seconds: Option<f64>,
    server_version: &'a str,
    /// `primary` or `standby`; null where unknown.
    role: Option<&'static str>,
    tls_version: Option<&'a str>,
    certificate_expiry: Option<String>,
    pooler: Option<&'static str>,
    /// Why `password_command` gives no password any more, while its last output is used; null where it does.
    password_command_failure: Option<&'a str>,
}

/// What is done about the next session.
#[derive(Debug, Serialize)]
#[serde(tag = "doing", rename_all = "snake_case")]
enum AttemptJson {
    Nothing,
    Waiting {
        purpose: &'static str,
        because: &'static str,
        until: Option<String>,
        tcp_connect: Option<String>,
    },
    Connecting {
        purpose: &'static str,
        since: Option<String>,
    },
    LoggingIn {
        purpose: &'static str,
        since: Option<String>,
    },
}

#[derive(Debug, Serialize)]
struct FailureJson<'a> {
    at: Option<String>,
    reason: &'static str,
    remedy: &'static str,
    detail: &'a str,
}

/// How much of each window up to now a target was up.
#[derive(Debug)]
struct UptimeJson([UptimeSpan; WINDOWS.len()]);

impl Serialize for UptimeJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let window = |(span, (name, _)): (&UptimeSpan, (&'static str, Duration))| {
            (name, WindowJson { ratio: span.ratio().map(rounded), known: rounded(span.known()) })
        };
        serializer.collect_map(self.0.iter().zip(WINDOWS).map(window))
    }
}

#[derive(Debug, Serialize)]
struct WindowJson {
    /// The share that it was up of the time that is known; null where nothing is.
    ratio: Option<f64>,
    /// The share of the window that is known.
    known: f64,
}

/// To six digits, and down: what was not all is not told as all.
pub(super) fn rounded(share: f64) -> f64 {
    (share * 1_000_000.0).floor() / 1_000_000.0
}

#[derive(Debug, Serialize)]
struct PhaseJson {
    phase: &'static str,
    ms: f64,
}

#[derive(Debug, Serialize)]
struct CountersJson {
    attempts: u64,
    connections: u64,
    failures: u64,
    reconnects: u64,
    disconnects: u64,
    refreshes: u64,
    refresh_failures: u64,
    tcp_connects: u64,
    pings: u64,
    ping_failures: u64,
    throttled: u64,
    address_changes: u64,
    restarts: u64,
}

/// All targets, sorted by name.
pub(super) fn render(app: &App, process: &ProcessStatus, now: Moment) -> serde_json::Result<Vec<u8>> {
    app.board.look(now, |views| {
        serde_json::to_vec(&TargetsDocument {
            service: &process.service,
            version: app.web.version,
            now: rfc3339(now.wall),
            status: Status::overall(views).as_str(),
            config: read(&process.config),
            web_config: process.web_config.as_ref().map(read),
            targets: views.iter().map(|view| target(app, view)).collect(),
        })
    })
}

fn read(last: &LastRead) -> FileJson {
    match last {
        LastRead::Taken { at } => {
            FileJson { last_read: "loaded", at: rfc3339(*at), refused_since: None, problems: Vec::new() }
        }
        LastRead::Refused { at, since, problems, .. } => FileJson {
            last_read: "refused",
            at: rfc3339(*at),
            refused_since: rfc3339(*since),
            problems: problems.lines().map(str::to_owned).collect(),
        },
    }
}

fn target<'a>(app: &App, view: &View<'a>) -> TargetJson<'a> {
    let status = view.status;
    let tuning = &status.tuning;
    let reason = view.reason();
    let at = |moment: Option<Moment>| moment.and_then(|moment| rfc3339(moment.wall));
    TargetJson {
        name: status.name.as_str(),
        health: Status::of(view, tuning.required).as_str(),
        status: Reach::of(view.state()).as_str(),
        state: view.state().as_str(),
        since: rfc3339(view.since().wall),
        reason: reason.map(Reason::as_str),
        remedy: view.remedy(),
        detail: view.detail(),
        reconnect_path: app.reconnect_path(view),
        required: tuning.required,
        idle_policy: tuning.idle_policy.as_str(),
        role: Role::as_str(tuning.role),
        location: location(view),
        session: session(view),
        attempt: doing(&status.attempt),
        breaker: status.breaker.state().as_str(),
        consecutive_failures: status.consecutive_failures,
        last_failure: status.last_failure.as_ref().map(last_failure),
        uptime: UptimeJson(app.board.uptime(view)),
        last_success: at(status.last_success),
        last_check: at(status.last_check),
        last_login: at(status.last_login),
        success_rate: status.recent.rate(),
        ping_ms: status.last_ping.map(|took| ms(took.as_secs_f64())),
        pings_ms: status.pings.iter().map(|took| Some(ms(took?.into()))).collect(),
        phases: phases(view),
        ping_interval_seconds: status.ping_every.map(|every| every.as_secs_f64()),
        refresh_interval_seconds: status.refresh_every.map(|every| every.as_secs_f64()),
        observed_idle_timeout_seconds: status.idle_limit.map(|limit| limit.as_secs_f64()),
        counters: counters(view),
        pool: view.pool.map(pool),
    }
}

fn pool(pool: &PoolStatus) -> PoolJson {
    PoolJson {
        listen: pool.listen.to_string(),
        mode: pool.mode.as_str(),
        size: pool.size,
        max_clients: pool.max_clients,
        paused: pool.paused,
        clients: ByWord(ClientState::ALL.map(|state| (state.as_str(), pool.clients(state)))),
        servers: ByWord(ServerState::ALL.map(|state| (state.as_str(), pool.servers(state)))),
        checkouts: pool.checkouts,
        failures: ByWord(CheckoutFailure::ALL.map(|why| (why.as_str(), pool.checkout_failures(why)))),
    }
}

fn location<'a>(view: &View<'a>) -> Option<LocationJson<'a>> {
    let location = view.status.location.as_ref()?;
    Some(LocationJson {
        host: &location.host,
        port: location.port,
        database: &location.database,
        provider: location.provider.as_str(),
        address: view.status.peer.map(|peer| peer.to_string()),
    })
}

fn session<'a>(view: &View<'a>) -> Option<SessionJson<'a>> {
    let session = view.status.session.as_ref()?;
    Some(SessionJson {
        age_seconds: view.connection_age().map(|age| age.as_secs_f64()),
        server_version: &session.server_version,
        role: Some(session.role).filter(|role| *role != Role::Any).map(Role::as_str),
        tls_version: session.tls_version.as_deref(),
        certificate_expiry: session.certificate_expiry.and_then(rfc3339),
        pooler: session.pooler,
        password_command_failure: session.failed_renewal.as_deref(),
    })
}

fn doing(attempt: &Attempt) -> AttemptJson {
    match attempt {
        Attempt::None => AttemptJson::Nothing,
        Attempt::Waiting { until, tcp_connect, purpose, because } => AttemptJson::Waiting {
            purpose: named(*purpose),
            because: Because::as_str(*because),
            until: rfc3339(until.wall),
            tcp_connect: tcp_connect.and_then(|at| rfc3339(at.wall)),
        },
        Attempt::Connecting { since, purpose, .. } => {
            AttemptJson::Connecting { purpose: named(*purpose), since: rfc3339(since.wall) }
        }
        Attempt::LoggingIn { since, purpose } => {
            AttemptJson::LoggingIn { purpose: named(*purpose), since: rfc3339(since.wall) }
        }
    }
}

const fn named(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::First => "first",
        Purpose::Reconnect => "reconnect",
        Purpose::Refresh => "refresh",
        Purpose::Wake => "wake",
        Purpose::Prove => "prove",
        Purpose::Confirm => "confirm",
    }
}

fn last_failure(failure: &Failure) -> FailureJson<'_> {
    FailureJson {
        at: rfc3339(failure.at.wall),
        reason: failure.reason.as_str(),
        remedy: failure.remedy,
        detail: &failure.detail,
    }
}

fn phases(view: &View<'_>) -> Vec<PhaseJson> {
    let phases = view.status.last_phases;
    let named = phases.iter().flat_map(|phases| phases.named());
    named.map(|(phase, took)| PhaseJson { phase: phase.as_str(), ms: ms(took.as_secs_f64()) }).collect()
}

fn counters(view: &View<'_>) -> CountersJson {
    let counters = &view.status.counters;
    CountersJson {
        attempts: counters.attempts,
        connections: counters.connections,
        failures: counters.failures.total(),
        reconnects: counters.reconnects,
        disconnects: counters.disconnects.total(),
        refreshes: counters.refreshes,
        refresh_failures: counters.refresh_failures,
        tcp_connects: counters.tcp_connects,
        pings: counters.pings,
        ping_failures: counters.ping_failures.total(),
        throttled: counters.throttled,
        address_changes: counters.address_changes,
        restarts: counters.restarts,
    }
}

/// Milliseconds, to the microsecond.
fn ms(seconds: f64) -> f64 {
    (seconds * 1_000_000.0).round() / 1000.0
}
