//! The real connector against real servers, and against one that speaks the protocol badly on purpose.

mod authentication;
mod hostile;
mod hosts;
mod logins;
mod sessions;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use pgtether::connection::{Connector, Login, PgSession, Postgres, Session, SessionEvent};
use pgtether::reason::{Cause, Facts};
use pgtether::target::{PasswordSource, Role, Source, Target, TargetName, Tuning, UrlTimings, conninfo};
use tokio::time::{Instant, timeout};

/// Far more than anything here takes: what needs it has failed.
pub const LIMIT: Duration = Duration::from_secs(20);
pub const SERVICE: &str = "connection-test";

/// A target by its connection string, with a deadline that no test should need.
pub fn target(url: &str) -> Target {
    let parsed = conninfo::parse(url).unwrap_or_else(|problems| panic!("{problems:?}"));
    of(Source::Inline(Arc::new(parsed.endpoint)))
}

pub fn of(source: Source) -> Target {
    Target {
        name: TargetName::new("test").unwrap(),
        source,
        password: PasswordSource::default(),
        service: SERVICE.to_owned(),
        tuning: Arc::new(Tuning { connect_timeout: LIMIT, ..Tuning::default() }),
        own_timings: UrlTimings::default(),
        idle_policy_unset: false,
        pool: None,
    }
}

pub fn with_role(mut target: Target, role: Role) -> Target {
    target.tuning = Arc::new(Tuning { role, ..(*target.tuning).clone() });
    target
}

/// The whole way: files, TCP connect, login, all within `limit`.
pub async fn enter(
    postgres: &Postgres,
    target: Target,
    limit: Duration,
) -> Result<(PgSession, Login), Facts> {
    let target = Arc::new(target);
    let deadline = Instant::now() + limit;
    let prepared = postgres.prepare(Arc::clone(&target)).await?;
    let prepared = postgres.with_password(Arc::clone(&target), prepared).await?;
    let (socket, _) = postgres.tcp_connect(prepared.clone(), deadline).await?;
    postgres.login(socket, target, prepared, deadline).await
}

pub async fn open(url: &str) -> Result<(PgSession, Login), Facts> {
    enter(&Postgres::new(), target(url), LIMIT).await
}

/// The session, where it must come about.
pub async fn session(url: &str) -> PgSession {
    open(url).await.unwrap_or_else(|facts| panic!("{facts:?}")).0
}

pub async fn refused(url: &str) -> Facts {
    match open(url).await {
        Ok((session, _)) => panic!("{session:?} was let in"),
        Err(facts) => facts,
    }
}

pub async fn event(session: &mut PgSession) -> SessionEvent {
    timeout(LIMIT, session.event()).await.expect("nothing happened in time")
}

/// How the session ends.
pub async fn lost(session: &mut PgSession) -> Facts {
    match event(session).await {
        SessionEvent::Lost(facts) => facts,
        other => panic!("{other:?}"),
    }
}

/// Asks and waits for the answer.
pub async fn pong(session: &mut PgSession) -> Role {
    session.ping(Role::Any);
    match event(session).await {
        SessionEvent::Pong { role, .. } => role,
        other => panic!("{other:?}"),
    }
}

pub fn sqlstate(facts: &Facts) -> &str {
    facts.sqlstate().unwrap_or_else(|| panic!("{facts:?}"))
}

pub fn is_config(facts: &Facts, about: &str) -> bool {
    matches!(&facts.cause, Cause::Config { message } if message.contains(about))
}
