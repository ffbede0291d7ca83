//! Servers that speak badly, slowly, too much or not at all; and the words of poolers and providers.

use std::time::Duration;

use pgtether::connection::{Postgres, Session, SessionEvent};
use pgtether::reason::{Cause, Facts, LoginTls, Phase, ServerWords};
use pgtether::target::Role;
use tokio::time::Instant;

use super::{SERVICE, enter, event, is_config, lost, open, pong, refused, session, sqlstate, target};
use crate::scripted::Step::{
    Accept, AwaitEnd, Close, Flood, Read, ReadSslRequest, ReadStartup, ReadUntil, Reset, Send, SendSlowly,
};
use crate::scripted::{Scripted, Step, say};
use crate::wire::message;

const SHORT: Duration = Duration::from_millis(300);

fn startup() -> [Step; 2] {
    [Accept, ReadStartup(vec!["user\0app\0", "database\0db\0", "application_name\0", SERVICE])]
}

fn logged_in(then: Vec<Step>) -> Vec<Step> {
    let login = [Send(say::welcome()), Read(b'Q', "SELECT 1"), Send(say::pong())];
    startup().into_iter().chain(login).chain(then).collect()
}

/// What a login fails with whose startup packet is answered so.
async fn answered(steps: Vec<Step>) -> Facts {
    let server = Scripted::start(startup().into_iter().chain(steps).collect()).await;
    let facts = refused(&server.url()).await;
    server.played().await;
    facts
}

fn is_protocol(facts: &Facts, about: &str) -> bool {
    matches!(&facts.cause, Cause::Protocol { message } if message.contains(about))
}

#[tokio::test]
async fn the_words_of_poolers_and_providers_come_through_as_they_were_said() {
    let said = [
        ("XX000", "Control plane request failed: endpoint is disabled"),
        (
            "XX000",
            "Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.",
        ),
        ("XX000", "Tenant or user not found"),
        ("XX000", "(EMAXCONN) max client connections reached, limit: 200"),
        ("08P01", "no more connections allowed (max_client_conn)"),
        ("08P01", "server login has been failing, cached error: connect failed (server_login_retry)"),
        ("58000", "could not get connection from the pool - AllServersDown"),
        ("57P03", "the database system is starting up"),
    ];
    for (sqlstate, text) in said {
        let facts = answered(vec![Send(say::fatal(sqlstate, text)), Close]).await;
        let words = ServerWords { tls: LoginTls::NotAsked, ..ServerWords::default() };
        let (sqlstate, message) = (sqlstate.to_owned(), text.to_owned());
        let cause = Cause::Server { sqlstate, message, words: Box::new(words) };
        assert_eq!(facts, Facts::new(Phase::Startup, cause));
    }
}

#[tokio::test]
async fn each_phase_that_is_never_answered_times_out_as_itself() {
    let never: [(Phase, &str, Vec<Step>); 4] = [
        (Phase::Tls, "require", vec![Accept, ReadSslRequest, AwaitEnd]),
        (Phase::Tls, "require", vec![Accept, ReadSslRequest, Send(b"S".into()), AwaitEnd]),
        (Phase::Startup, "disable", vec![Accept, ReadStartup(vec![]), Send(say::auth(0, b"")), AwaitEnd]),
        (
            Phase::Ping,
            "disable",
            vec![Accept, ReadStartup(vec![]), Send(say::welcome()), Read(b'Q', "SELECT 1"), AwaitEnd],
        ),
    ];
    for (phase, mode, script) in never {
        let server = Scripted::start(script).await;
        let url = server.url().replace("disable", mode);
        let facts = enter(&Postgres::new(), target(&url), SHORT).await.unwrap_err();
        assert_eq!(facts, Facts::new(phase, Cause::Timeout));
        server.played().await;
    }
}

#[tokio::test]
async fn bytes_that_trickle_do_not_stretch_the_deadline() {
    let slow = SendSlowly(say::welcome(), Duration::from_millis(20));
    let server = Scripted::start(startup().into_iter().chain([slow]).collect()).await;
    let began = Instant::now();
    let facts = enter(&Postgres::new(), target(&server.url()), SHORT).await.unwrap_err();
    assert_eq!(facts, Facts::new(Phase::Startup, Cause::Timeout));
    assert!(began.elapsed() < SHORT * 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn bytes_that_trickle_in_time_are_a_login() {
    let slow = SendSlowly([say::welcome(), say::pong()].concat(), Duration::from_millis(1));
    let server = Scripted::start(startup().into_iter().chain([slow, AwaitEnd]).collect()).await;
    session(&server.url()).await.close().await;
    server.played().await;
}

#[tokio::test]
async fn what_is_not_the_protocol_is_called_so() {
    let garbage: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "announces"),
        (b"220 mail.example.org ESMTP\r\n", "announces"),
        (b"R\0\0\0\x02", "announces 2 bytes"),
        (b"Z\0\0\0\x05I", "unexpected message"),
        (b"R\x7f\xff\xff\xff", "2147483647 bytes"),
    ];
    for (bytes, about) in garbage {
        let facts = answered(vec![Send(bytes.into()), AwaitEnd]).await;
        assert_eq!(facts.phase, Phase::Startup);
        assert!(is_protocol(&facts, about), "{facts:?}");
    }
}

#[tokio::test]
async fn an_end_in_the_middle_is_an_end() {
    for (ending, cause) in [
        (Close, Cause::Closed),
        (Reset, Cause::Io { kind: std::io::ErrorKind::ConnectionReset, os: Some(104) }),
    ] {
        assert_eq!(answered(vec![ending.clone()]).await, Facts::new(Phase::Startup, cause.clone()));
        let half = say::welcome()[..30].to_vec();
        let facts = answered(vec![Send(half), ending]).await;
        assert_eq!((facts.phase, &facts.cause), (Phase::Startup, &cause));
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let rows = say::row(&["1".repeat(60_000).as_str()]).repeat(20);
    let script = [Send(say::welcome()), Read(b'Q', "SELECT 1"), Flood(rows)];
    let facts = answered(script.into()).await;
    assert!(is_protocol(&facts, "announces"), "{facts:?}");
}

#[tokio::test]
async fn a_giant_message_to_an_idle_session_ends_it_unread() {
    let server = Scripted::start(logged_in(vec![Send(b"N\x3f\xff\xff\xff".into()), AwaitEnd])).await;
    let mut held = session(&server.url()).await;
    let facts = lost(&mut held).await;
    assert_eq!(facts.phase, Phase::Idle);
    assert!(is_protocol(&facts, "1073741823 bytes"), "{facts:?}");
    drop(held);
    server.played().await;
}

#[tokio::test]
async fn a_login_method_that_is_not_spoken_is_a_matter_of_configuration() {
    for request in [say::auth(7, b""), say::auth(9, b""), say::auth(10, b"SCRAM-SHA-9000\0\0")] {
        let facts = answered(vec![Send(request), AwaitEnd]).await;
        assert!(is_config(&facts, "login method"), "{facts:?}");
    }
}

#[tokio::test]
async fn a_server_that_asks_nothing_fails_a_required_channel_binding() {
    let plain =
        [Accept, ReadSslRequest, Send(b"N".into()), ReadStartup(vec![]), Send(say::welcome()), AwaitEnd];
    let server = Scripted::start(plain.into()).await;
    let url = format!("{}&channel_binding=require", server.url());
    let facts = refused(&url.replace("disable", "prefer")).await;
    assert!(
        matches!(&facts.cause, Cause::Tls { message, .. } if message.contains("channel_binding")),
        "{facts:?}"
    );
    server.played().await;
}

#[tokio::test]
async fn the_request_for_tls_has_four_answers() {
    let full = say::fatal("53300", "sorry, too many clients already");
    type Expected = fn(&Facts) -> bool;
    let cases: [(Vec<u8>, Expected); 4] = [
        (b"N".into(), |f| f.cause == Cause::TlsRefused),
        (full, |f| sqlstate(f) == "53300"),
        (b"HTTP/1.1 400".into(), |f| is_protocol(f, "byte 0x48")),
        (b"SSH-2.0-OpenSSH_9.2\r\n".into(), |f| matches!(f.cause, Cause::Tls { .. })),
    ];
    for (answer, expected) in cases {
        let server = Scripted::start(vec![Accept, ReadSslRequest, Send(answer), AwaitEnd]).await;
        let facts = refused(&server.url().replace("disable", "require")).await;
        assert_eq!(facts.phase, Phase::Tls);
        assert!(expected(&facts), "{facts:?}");
        server.played().await;
    }
}

#[tokio::test]
async fn the_name_that_is_sent_in_the_handshake_can_be_left_out() {
    for (sni, sent) in [(1, true), (0, false)] {
        // The last bytes of a ClientHello are not known, so the hello is awaited and its name is looked for.
        let wanted: &[u8] = if sent { b"localhost" } else { &[22, 3, 1] };
        let script = vec![Accept, ReadSslRequest, Send(b"S".into()), ReadUntil(wanted), Close];
        let server = Scripted::start(script).await;
        let port = server.address.port();
        let url =
            format!("postgresql://u@localhost:{port}/d?sslmode=require&sslsni={sni}&hostaddr=127.0.0.1");
        let facts = refused(&url).await;
        assert_eq!(facts.phase, Phase::Tls, "{facts:?}");
        server.played().await;
    }
}

#[tokio::test]
async fn a_pings_error_is_the_pings_own_and_the_session_lives_on() {
    let failed = [say::error("53200", "out of memory"), say::ready()].concat();
    let ask = || Read(b'Q', "SELECT 1");
    let script = vec![ask(), Send(failed.clone()), ask(), Send(say::pong()), ask(), Send(failed), Close];
    let server = Scripted::start(logged_in(script)).await;
    let mut held = session(&server.url()).await;
    held.ping(Role::Any);
    let expected = Cause::server("53200", "out of memory");
    let failed = SessionEvent::PingFailed(Facts::new(Phase::Ping, expected));
    assert_eq!(event(&mut held).await, failed);
    pong(&mut held).await;
    held.ping(Role::Any);
    assert_eq!(event(&mut held).await, failed);
    let end = Facts::new(Phase::Idle, Cause::Closed);
    assert_eq!(lost(&mut held).await, end, "the end has a reason of its own");
    server.played().await;
}

#[tokio::test]
async fn an_answer_to_another_question_fails_the_ping() {
    let two = [say::row(&["1", "2"]), say::ready()].concat();
    let script = vec![Read(b'Q', "SELECT 1"), Send(two), AwaitEnd];
    let server = Scripted::start(logged_in(script)).await;
    let mut held = session(&server.url()).await;
    held.ping(Role::Any);
    match event(&mut held).await {
        SessionEvent::PingFailed(facts) => assert!(is_protocol(&facts, "SELECT 1"), "{facts:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_fatal_error_to_a_ping_ends_the_session_with_it() {
    let script = vec![Read(b'Q', "SELECT 1"), Send(say::fatal("08P01", "query_wait_timeout")), AwaitEnd];
    let server = Scripted::start(logged_in(script)).await;
    let mut held = session(&server.url()).await;
    held.ping(Role::Any);
    let facts = lost(&mut held).await;
    assert_eq!((sqlstate(&facts), facts.phase), ("08P01", Phase::Ping));
}

#[tokio::test]
async fn a_farewell_beats_the_reset_that_follows_it() {
    let farewell = say::warning("57P02", "terminating connection because of crash of another server process");
    let server = Scripted::start(logged_in(vec![Send(farewell), Close])).await;
    let mut held = session(&server.url()).await;
    assert_eq!(sqlstate(&lost(&mut held).await), "57P02");
    server.played().await;
}

#[tokio::test]
async fn chatter_of_the_server_is_no_event() {
    let chatter = [
        say::warning("01000", "for your information"),
        say::parameter("TimeZone", "UTC"),
        message(b'A', b"\0\0\0\x01channel\0payload\0"),
    ];
    let script = vec![Send(chatter.concat()), Read(b'Q', "SELECT 1"), Send(say::pong()), Close];
    let server = Scripted::start(logged_in(script)).await;
    let mut held = session(&server.url()).await;
    pong(&mut held).await;
    let facts = lost(&mut held).await;
    assert_eq!((facts.phase, facts.cause), (Phase::Idle, Cause::Closed));
    server.played().await;
}

#[tokio::test]
async fn a_password_is_taken_out_of_a_servers_text_however_it_is_spelled() {
    let spelled =
        "plain p@ss/wörd encoded p%40ss%2Fw%C3%B6rd p%40ss%2fw%c3%b6rd base64 cEBzcy93w7ZyZA==\n(end)";
    let server =
        Scripted::start(vec![Accept, ReadStartup(vec![]), Send(say::fatal("28000", spelled)), Close]).await;
    let url = server.url().replace("sesame", "p%40ss%2Fw%C3%B6rd");
    let facts = refused(&url).await;
    let Cause::Server { message, .. } = facts.cause else { panic!("{facts:?}") };
    assert_eq!(message, "plain <redacted> encoded <redacted> <redacted> base64 <redacted>== (end)");
}

#[tokio::test]
async fn the_next_host_is_asked_where_the_first_is_starting_up() {
    let starting = say::fatal("57P03", "the database system is starting up");
    let first = Scripted::start(vec![Accept, ReadStartup(vec![]), Send(starting), Close]).await;
    let second = Scripted::start(logged_in(vec![AwaitEnd])).await;
    let url = format!("postgresql://app:sesame@{},{}/db?sslmode=disable", first.address, second.address);
    let (held, login) = open(&url).await.unwrap();
    assert_eq!(login.facts.peer, Some(second.address));
    drop(held);
    first.played().await;
    second.played().await;
}

#[tokio::test]
async fn a_refused_login_is_not_carried_to_the_next_host() {
    let rejected = say::fatal("28P01", "password authentication failed");
    let first = Scripted::start(vec![Accept, ReadStartup(vec![]), Send(rejected), Close]).await;
    let second = Scripted::start(vec![Accept]).await;
    let url = format!("postgresql://app:sesame@{},{}/db?sslmode=disable", first.address, second.address);
    let began = Instant::now();
    assert_eq!(sqlstate(&refused(&url).await), "28P01");
    assert!(began.elapsed() < Duration::from_secs(5));
    first.played().await;
}

#[tokio::test]
async fn bytes_that_were_tampered_with_end_in_facts_and_never_in_a_panic() {
    let mut dice = fastrand::Rng::with_seed(20_261_123);
    for round in 0..200 {
        let mut bytes = [say::welcome(), say::pong()].concat();
        for _ in 0..dice.usize(1..6) {
            let at = dice.usize(..bytes.len());
            bytes[at] = dice.u8(..);
        }
        let server = Scripted::start(vec![Accept, ReadStartup(vec![]), Flood(bytes), Close]).await;
        // Some changes do no harm; what counts is that there is an end, and in time.
        let began = Instant::now();
        if let Ok((mut held, _)) = open(&server.url()).await {
            lost(&mut held).await;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "round {round}");
        server.played().await;
    }
}

#[tokio::test]
async fn a_goodbye_is_said_and_waits_until_the_server_is_gone() {
    let lingers = SendSlowly(vec![0; 10], Duration::from_millis(20));
    let server = Scripted::start(logged_in(vec![Read(b'X', ""), lingers, Close])).await;
    let held = session(&server.url()).await;
    let began = Instant::now();
    held.close().await;
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    server.played().await;
}
