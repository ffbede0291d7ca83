//! Holding a session: how its end is seen, what pings tell, how it is given back.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgtether::connection::{Detached, Session, SessionEvent};
use pgtether::demo::postgres::{Setup, Shutdown};
use pgtether::protocol::frontend::query;
use pgtether::reason::{Cause, Phase};
use pgtether::target::Role;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::{LIMIT, SERVICE, event, lost, open, pong, session, sqlstate};
use crate::certs::{Authority, with_tls};
use crate::scripted::Step::{Accept, AwaitEnd, Read, ReadStartup, Send};
use crate::scripted::{Scripted, say};
use crate::servers::{Admin, Version, postgres, postgres15};
use crate::wire::read_message;

/// Asks one value by the bare protocol.
pub async fn ask(mut detached: Detached, sql: &str) -> String {
    detached.stream.write_all(&query(sql)).await.unwrap();
    detached.stream.flush().await.unwrap();
    let mut value = None;
    loop {
        let (tag, body) = read_message(&mut detached.stream).await.unwrap();
        match tag {
            b'T' | b'C' => {}
            // One column: its count, its length, its text.
            b'D' => value = Some(String::from_utf8(body[6..].to_vec()).unwrap()),
            b'Z' => return value.unwrap(),
            other => panic!("{}: {}", char::from(other), String::from_utf8_lossy(&body)),
        }
    }
}

/// One look, without waiting.
async fn glance(session: &mut pgtether::connection::PgSession) -> Option<SessionEvent> {
    let mut event = Box::pin(session.event());
    poll_fn(|cx| {
        Poll::Ready(match event.as_mut().poll(cx) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_terminated_session_is_lost_within_milliseconds() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let mut held = session(&cluster.superuser_url()).await;
    let began = Instant::now();
    assert_eq!(admin.terminate(SERVICE).await, 1);
    let facts = lost(&mut held).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!((sqlstate(&facts), facts.phase), ("57P01", Phase::Idle));
}

#[tokio::test]
async fn a_session_that_is_terminated_with_a_ping_in_flight_tells_why() {
    let cluster = postgres15();
    let (mut held, login) = open(&cluster.superuser_url()).await.unwrap();
    cluster.pause();
    held.ping(Role::Any);
    assert_eq!(glance(&mut held).await, None);
    kill(Pid::from_raw(login.facts.backend_pid.unwrap()), Signal::SIGTERM).unwrap();
    cluster.resume();
    let facts = lost(&mut held).await;
    assert_eq!((sqlstate(&facts), facts.phase), ("57P01", Phase::Ping));
}

#[tokio::test]
async fn each_kind_of_shutdown_tells_itself() {
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        let mut cluster = postgres15();
        let mut held = session(&cluster.superuser_url()).await;
        // It has come to where it waits for queries: there, each kind of shutdown is told.
        pong(&mut held).await;
        let stopping = tokio::task::spawn_blocking(move || cluster.stop(how).map(|()| cluster));
        let facts = lost(&mut held).await;
        assert_eq!((sqlstate(&facts), facts.phase), ("57P01", Phase::Idle), "{how:?}");
        stopping.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_killed_backend_is_closed_and_its_siblings_crash() {
    let cluster = postgres15();
    let (mut killed, login) = open(&cluster.superuser_url()).await.unwrap();
    let mut sibling = session(&cluster.superuser_url()).await;
    cluster.kill_backend(login.facts.backend_pid.unwrap()).unwrap();
    let facts = lost(&mut killed).await;
    assert_eq!((facts.phase, &facts.cause), (Phase::Idle, &Cause::Closed));
    assert_eq!(sqlstate(&lost(&mut sibling).await), "57P02");
}

#[tokio::test]
async fn the_servers_idle_limit_names_itself() {
    let cluster = postgres(Version::V15, Setup::default().set("idle_session_timeout", "1s"));
    let mut held = session(&cluster.superuser_url()).await;
    assert_eq!(sqlstate(&lost(&mut held).await), "57P05");
}

#[tokio::test]
async fn an_answer_that_has_come_is_told_at_the_first_look() {
    let script = [
        Accept,
        ReadStartup(vec![]),
        Send(say::welcome()),
        Read(b'Q', "SELECT 1"),
        Send(say::pong()),
        Read(b'Q', "SELECT 1"),
        Send(say::pong()),
        AwaitEnd,
    ];
    let server = Scripted::start(script.into()).await;
    let mut held = session(&server.url()).await;
    held.ping(Role::Any);
    assert!(glance(&mut held).await.is_none(), "the question goes out");
    // Time for the answer, on a thread that looks at nothing else.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let seen = glance(&mut held).await;
    assert!(matches!(seen, Some(SessionEvent::Pong { .. })), "{seen:?}");
    drop(held);
    server.played().await;
}

#[tokio::test]
async fn a_hung_server_is_silent_and_answers_when_it_thaws() {
    let cluster = postgres15();
    let mut held = session(&cluster.superuser_url()).await;
    cluster.pause();
    held.ping(Role::Any);
    assert!(timeout(Duration::from_millis(300), held.event()).await.is_err());
    cluster.resume();
    match event(&mut held).await {
        SessionEvent::Pong { took, .. } => assert!(took >= Duration::from_millis(300), "{took:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn dropping_the_wait_for_an_event_loses_nothing() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let mut held = session(&cluster.superuser_url()).await;
    held.ping(Role::Any);
    let deadline = Instant::now() + LIMIT;
    let event = loop {
        if let Some(event) = glance(&mut held).await {
            break event;
        }
        assert!(Instant::now() < deadline, "no answer");
        tokio::task::yield_now().await;
    };
    assert!(matches!(event, SessionEvent::Pong { .. }), "{event:?}");
    assert_eq!(glance(&mut held).await, None, "one question, one answer");
    admin.terminate(SERVICE).await;
    assert_eq!(sqlstate(&lost(&mut held).await), "57P01");
}

#[tokio::test]
async fn a_server_that_turns_read_only_fails_the_ping_of_a_session_that_writes() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let url = format!("{}?target_session_attrs=read-write", cluster.superuser_url());
    let mut held = session(&url).await;
    assert_eq!(pong(&mut held).await, Role::Primary);
    admin.query("ALTER SYSTEM SET default_transaction_read_only = on").await;
    admin.query("SELECT pg_reload_conf()").await;
    let deadline = Instant::now() + LIMIT;
    let facts = loop {
        held.ping(Role::Any);
        match event(&mut held).await {
            SessionEvent::PingFailed(facts) => break facts,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    };
    assert_eq!(
        (facts.phase, facts.cause),
        (Phase::Ping, Cause::WrongRole { wanted: "read-write server".into() })
    );
    admin.query("ALTER SYSTEM RESET default_transaction_read_only").await;
}

#[tokio::test]
async fn a_promoted_standby_is_a_primary_at_the_next_ping() {
    let mut cluster = postgres(Version::V15, Setup::default().standby());
    let mut held = session(&cluster.superuser_url()).await;
    let mut role = Role::Any;
    let deadline = Instant::now() + LIMIT;
    let mut seen = Vec::new();
    while role != Role::Primary {
        assert!(Instant::now() < deadline, "{seen:?}");
        held.ping(Role::Primary);
        match event(&mut held).await {
            SessionEvent::Pong { role: now, .. } => role = now,
            other => panic!("{other:?}"),
        }
        seen.push(role);
        if seen.len() == 1 {
            assert_eq!(role, Role::Standby);
            cluster.promote().unwrap();
        }
    }
}

#[tokio::test]
async fn closing_ends_the_backend_before_it_returns() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE ROLE single LOGIN PASSWORD 'sesame' CONNECTION LIMIT 1").await;
    let url = cluster.url("single", "sesame", "postgres");
    for _ in 0..20 {
        session(&url).await.close().await;
    }
}

#[tokio::test]
async fn a_goodbye_to_a_hung_server_is_short() {
    let cluster = postgres15();
    let mut held = session(&cluster.superuser_url()).await;
    cluster.pause();
    held.ping(Role::Any);
    glance(&mut held).await;
    let began = Instant::now();
    held.close().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_stream_can_be_taken_back_in_plain_and_under_tls_before_and_after_a_ping() {
    let authority = Authority::new("ca");
    let cluster = postgres(Version::V15, with_tls(Setup::default(), &authority, &authority.server()));
    for query in ["sslmode=disable", "sslmode=require&channel_binding=require"] {
        for pings in [0, 1, 3] {
            let url = format!("{}?{query}", cluster.superuser_url());
            let (mut held, login) = open(&url).await.unwrap();
            for _ in 0..pings {
                pong(&mut held).await;
            }
            let detached = held.detach().unwrap();
            assert_eq!(Some(detached.process_id), login.facts.backend_pid);
            assert_ne!(detached.secret_key, 0);
            assert_eq!(detached.parameters["server_version"], login.facts.server_version);
            assert_eq!(detached.parameters["client_encoding"], "UTF8");
            let pid = detached.process_id.to_string();
            assert_eq!(ask(detached, "SELECT pg_backend_pid()").await, pid, "{query}, {pings} pings");
        }
    }
}

#[tokio::test]
async fn a_session_with_a_ping_under_way_keeps_its_stream() {
    let cluster = postgres15();
    let mut held = session(&cluster.superuser_url()).await;
    held.ping(Role::Any);
    let mut held = held.detach().map(|detached| panic!("{detached:?}")).unwrap_err();
    assert!(matches!(event(&mut held).await, SessionEvent::Pong { .. }));
    held.detach().unwrap();
}

#[tokio::test]
async fn a_quiet_session_has_no_events() {
    let cluster = postgres15();
    let mut held = session(&cluster.superuser_url()).await;
    let quiet = timeout(Duration::from_millis(200), held.event()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}
