//! `check`: examines a target once, phase by phase, and reports what it found and what to do.
//!
//! It goes through the same connection as the supervisor and judges by the same table; it holds no state and knows
//! nothing of supervisors, the board or HTTP.

mod pool;
mod report;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use crate::config::overrides;
use crate::connection::{ConnectTimes, Connector, Login, Prepared, Session, SessionEvent};
use crate::reason::{Cause, Facts, Phase, Reason, table};
use crate::target::{Endpoint, IdlePolicy, KEPT_AWAKE_COST, PasswordSource, Role, Source, Target};
pub use report::{CheckFinding, CheckReport, CheckStep, Verdict, json, text};

/// Pings on the session that is held: enough for a median, few enough to disturb nobody.
const PINGS: usize = 5;
/// Less time than this on other sockets is not worth a line.
const DETOUR: Duration = Duration::from_millis(100);
/// A certificate that ends sooner is a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// Examines one target; `watch` holds the session idle for that long and asks whether it survived.
pub async fn examine<C: Connector>(
    connector: &C,
    target: Arc<Target>,
    watch: Option<Duration>,
) -> CheckReport {
    let mut report = CheckReport::new(&target);
    if let Some(pool) = &target.pool {
        pool::examine(pool, &mut report);
    }
    let Some((mut session, prepared)) = first_login(connector, &target, &mut report).await else {
        return report;
    };
    advise(&target, &prepared, &mut report);
    ping_again(&mut session, &target, &mut report).await;
    let quiet_since = Instant::now();
    second_login(connector, &target, &mut report).await;
    if let Some(watch) = watch {
        hold_idle(&mut session, &target, quiet_since, watch, &mut report).await;
    }
    if !report.lost {
        session.close().await;
    }
    report
}

/// TCP connect and login with every phase timed; a failure is in the report.
async fn first_login<C: Connector>(
    connector: &C,
    target: &Arc<Target>,
    report: &mut CheckReport,
) -> Option<(C::Session, Prepared)> {
    let begun = Instant::now();
    let prepared = match connector.prepare(target.clone()).await {
        Ok(prepared) => prepared,
        Err(facts) => return report.failed("prepare", begun.elapsed(), &facts),
    };
    report.meet(&prepared.endpoint);
    let begun = Instant::now();
    let prepared = match connector.with_password(target.clone(), prepared).await {
        Ok(prepared) => prepared,
        Err(facts) => return report.failed("password", begun.elapsed(), &facts),
    };
    if let PasswordSource::Command(command) = &target.password {
        report.ok("password", begun.elapsed(), format!("printed by {}", command.program.display()));
    }
    let deadline = Instant::now() + patience(target, &prepared);
    let begun = Instant::now();
    let (socket, times) = match connector.tcp_connect(prepared.clone(), deadline).await {
        Ok(open) => open,
        Err(facts) => return report.failed(facts.phase.as_str(), begun.elapsed(), &facts),
    };
    tcp_connected(&times, report);
    let begun = Instant::now();
    match connector.login(socket, target.clone(), prepared.clone(), deadline).await {
        Ok((session, login)) => {
            logged_in(&login, target, report);
            Some((session, prepared))
        }
        Err(facts) => report.failed(facts.phase.as_str(), begun.elapsed(), &facts),
    }
}

/// A database that may sleep gets the time to wake.
fn patience(target: &Target, prepared: &Prepared) -> Duration {
    let usual = prepared.sockets.connect_timeout;
    match target.tuning.idle_policy {
        IdlePolicy::KeepAwake => usual,
        IdlePolicy::LetSleep => usual.max(target.tuning.wake_timeout),
    }
}

fn tcp_connected(times: &ConnectTimes, report: &mut CheckReport) {
    report.ok("resolve", times.resolve, String::new());
    let peer = times.peer.map_or_else(|| "Unix socket".to_owned(), |peer| peer.to_string());
    let before = match times.unanswered {
        0 => String::new(),
        1 => ", after 1 address that did not answer".to_owned(),
        several => format!(", after {several} addresses that did not answer"),
    };
    report.ok("connect", times.connect, format!("{peer}{before}"));
}

fn logged_in(login: &Login, target: &Target, report: &mut CheckReport) {
    let facts = &login.facts;
    let role = facts.role;
    // Looked for while logging in, and shown where it was lost.
    if login.detour >= DETOUR {
        let peer = facts.peer.map(|peer| format!(" until {peer}")).unwrap_or_default();
        report.ok("connect", login.detour, format!("spent on other sockets{peer} took the login"));
    }
    if let Some(took) = login.tls {
        let version = facts.tls_version.as_deref().unwrap_or("TLS");
        let expiry =
            facts.certificate_expiry.map(|at| format!(", certificate valid until {}", report::day(at)));
        report.ok("tls", took, format!("{version}{}", expiry.unwrap_or_default()));
    }
    let server = match facts.server_version.as_str() {
        "" => "server version not reported".to_owned(),
        version => format!("PostgreSQL {version}"),
    };
    report.ok("startup", login.startup, server);
    let what = if role == Role::Any { String::new() } else { format!("a {}", role.as_str()) };
    report.ok("ping", login.ping, what);
    report.session(facts);
    if target.tuning.role != Role::Any && role != Role::Any && role != target.tuning.role {
        let wanted = target.tuning.role.as_str();
        report.warn(format!("the server is a {}, and role asks for a {wanted}", role.as_str()));
    }
    if let Some(at) = facts.certificate_expiry {
        match at.duration_since(SystemTime::now()) {
            Ok(left) if left > EXPIRES_SOON => {}
            Ok(left) => {
                report.warn(format!("the server's certificate ends in {} days", left.as_secs() / 86_400))
            }
            Err(_) => report.warn("the server's certificate has expired".to_owned()),
        }
    }
}

/// What the configuration means for this database, before anything goes wrong.
fn advise(target: &Target, prepared: &Prepared, report: &mut CheckReport) {
    // As it was written: what is prepared has the password that was read from a file.
    let written = match &target.source {
        Source::Inline(endpoint) => endpoint.clone(),
        Source::File(_) => Arc::new(Endpoint { password: None, ..(*prepared.endpoint).clone() }),
    };
    for line in overrides(target, &written) {
        report.note(line);
    }
    if target.kept_awake_unasked(&prepared.endpoint) {
        report.warn(format!("pgtether {KEPT_AWAKE_COST}"));
    }
    if target.pool.is_some() && report.pooler.is_some() {
        let text = "pool: its sessions would go through the other pooler, which may give each transaction another one: take \
                    the connection string that leads to the database itself (Neon's without -pooler)";
        report.warn(text.to_owned());
    }
}

async fn ping_again<S: Session>(session: &mut S, target: &Target, report: &mut CheckReport) {
    let begun = Instant::now();
    let mut took = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        match ping(session, target).await {
            Ok(time) => took.push(time),
            Err(facts) => {
                report.failed::<()>("ping again", begun.elapsed(), &facts);
                return;
            }
        }
    }
    took.sort();
    let slowest = took.last().copied().unwrap_or_default();
    let detail = format!("median of {PINGS} on the same session, slowest {}", report::millis(slowest));
    report.ok("ping again", took[PINGS / 2], detail);
}

/// One ping; a session that ends instead is a failure, too.
async fn ping<S: Session>(session: &mut S, target: &Target) -> Result<Duration, Facts> {
    session.ping(target.tuning.role);
    match timeout(target.tuning.ping.timeout, session.event()).await {
        Ok(SessionEvent::Pong { took, .. }) => Ok(took),
        Ok(SessionEvent::PingFailed(facts) | SessionEvent::Lost(facts)) => Err(facts),
        Err(_) => Err(Facts::new(Phase::Ping, Cause::Timeout)),
    }
}

/// A long-lived session hides a login that no longer works: prove another beside it.
async fn second_login<C: Connector>(connector: &C, target: &Arc<Target>, report: &mut CheckReport) {
    if report.lost {
        return;
    }
    let begun = Instant::now();
    match login_beside(connector, target).await {
        Ok(session) => {
            report.ok("second login", begun.elapsed(), "beside the first, as a refresh does".to_owned());
            session.close().await;
        }
        Err(facts) => {
            let reason = table::diagnose(&facts).reason;
            report.failed::<()>("second login", begun.elapsed(), &facts);
            if reason == Reason::Capacity {
                report.note("with CONNECTION LIMIT 1, set refresh.overlap to false".to_owned());
            }
        }
    }
}

async fn login_beside<C: Connector>(connector: &C, target: &Arc<Target>) -> Result<C::Session, Facts> {
    let prepared = connector.prepare(target.clone()).await?;
    let prepared = connector.with_password(target.clone(), prepared).await?;
    let deadline = Instant::now() + prepared.sockets.connect_timeout;
    let (socket, _) = connector.tcp_connect(prepared.clone(), deadline).await?;
    let (session, _) = connector.login(socket, target.clone(), prepared, deadline).await?;
    Ok(session)
}

/// Says nothing for `watch` and sees whether the session is still there: what an idle application would meet.
async fn hold_idle<S: Session>(
    session: &mut S,
    target: &Target,
    quiet_since: Instant,
    watch: Duration,
    report: &mut CheckReport,
) {
    if report.lost {
        return;
    }
    // Nothing is printed until the end, which may be far.
    info!(target = %target.name, watch_seconds = watch.as_secs_f64(), "holding the session idle; ctrl-C gives up");
    let ended = tokio::select! {
        event = session.event() => Some(event),
        () = sleep(watch.saturating_sub(quiet_since.elapsed())) => None,
    };
    let silent = quiet_since.elapsed();
    match ended {
        Some(SessionEvent::Lost(facts) | SessionEvent::PingFailed(facts)) => {
            ended_while_idle(&facts, target, silent, report);
        }
        Some(SessionEvent::Pong { .. }) | None => match ping(session, target).await {
            Ok(_) => report.ok("idle", silent, format!("alive after {} of silence", report::span(silent))),
            Err(facts) => {
                report.failed::<()>("idle", quiet_since.elapsed(), &facts);
                let within = report::span(silent);
                report.note(format!(
                    "something on the way closed the session without a message within {within}"
                ));
            }
        },
    }
}

/// The other side ended the session, and said so.
fn ended_while_idle(facts: &Facts, target: &Target, silent: Duration, report: &mut CheckReport) {
    let after = report::span(silent);
    let asleep = table::diagnose(facts).reason == Reason::IdleTimeout;
    if asleep && target.tuning.idle_policy == IdlePolicy::LetSleep {
        report.lost = true;
        return report.ok("idle", silent, format!("put to sleep after {after}, as idle_policy allows"));
    }
    report.failed::<()>("idle", silent, facts);
    report.note(format!(
        "the idle session was ended after {after}; a ping.interval below 0.8 of that keeps it"
    ));
}
