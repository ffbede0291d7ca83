//! Logins that fail: what they are counted as, and what ends those that last.

use super::*;

/// How a login of these bytes fails, and what the client hears.
async fn failure(policy: AuthPolicy<'static>, bytes: &[u8]) -> (LoginFailure, Vec<u8>) {
    match hear(policy, bytes).await {
        (heard, Came::Rejected(Rejected::Told(rejection))) => (rejection.why, heard),
        (_, other) => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn expiring(after: Duration) -> LoginAttempt {
    let expired = Box::pin(async move {
        tokio::time::sleep(after).await;
        Stop::because(
            LoginFailure::Timeout,
            ErrorFields::fatal("57014", "canceling authentication due to timeout"),
        )
    });
    LoginAttempt { expired, ..attempt() }
}

#[tokio::test]
async fn each_failure_is_counted_as_what_it_is() {
    let as_user = |user, database| startup(VERSION_3, &[("user", user), ("database", database)]);
    let with = |name, value| startup(VERSION_3, &[("user", "app"), (name, value)]);
    let names: Vec<String> = (0..40).map(|i| format!("app.s{i}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).chain([("user", "app")]).collect();
    let tls_only = AuthPolicy { demand_tls: true, ..plain() };
    let no_password = AuthPolicy { verifier: None, ..plain() };
    for (policy, bytes, why) in [
        (trusting(), as_user("eve", "orders"), LoginFailure::User),
        (trusting(), as_user("app", "other"), LoginFailure::Database),
        (tls_only, startup_message(), LoginFailure::Tls),
        (plain(), b"\x16\x03\x01\x00\xf1".to_vec(), LoginFailure::Tls),
        (policy(), [ssl_request(), startup_message()].concat(), LoginFailure::Tls),
        (plain(), b"GET / HTTP/1.1\r\n\r\n".to_vec(), LoginFailure::Protocol),
        (plain(), [startup_message(), b"Q\0\0\0\x05\0".to_vec()].concat(), LoginFailure::Protocol),
        (trusting(), with("replication", "on"), LoginFailure::Unsupported),
        (trusting(), with("options", "-S 1024"), LoginFailure::Unsupported),
        (trusting(), startup(0x0002_0000, &[("user", "app")]), LoginFailure::Unsupported),
        (trusting(), startup(VERSION_3, &many), LoginFailure::Setting),
        (no_password, startup_message(), LoginFailure::Config),
    ] {
        assert_eq!(failure(policy, &bytes).await.0, why, "{}", bytes.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_takes_too_long_is_told_so_and_ends() {
    let whole = [gss_request(), startup_message()].concat();
    for cut in [0, 1, 8, 20, whole.len()] {
        let (mut client, server) = duplex(1 << 14);
        client.write_all(&whole[..cut]).await.unwrap();
        let began = Instant::now();
        let login = authenticate(Box::new(server), plain(), expiring(Duration::from_secs(15)));
        let Err(Rejected::Told(rejection)) = login.await else { panic!("cut at {cut}: no rejection") };
        assert_eq!(rejection.why, LoginFailure::Timeout, "cut at {cut}");
        // Whoever does not close has one more second.
        assert!(began.elapsed() <= Duration::from_secs(16), "cut at {cut}: {:?}", began.elapsed());
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert!(ends_in(&heard, "57014"), "cut at {cut}: {}", heard.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn a_tls_handshake_that_takes_too_long_ends_without_a_word() {
    let (mut client, server) = duplex(1 << 14);
    client.write_all(&ssl_request()).await.unwrap();
    let login = authenticate(Box::new(server), policy(), expiring(Duration::from_secs(15)));
    let Err(Rejected::Told(rejection)) = login.await else { panic!("no rejection") };
    assert_eq!(rejection.why, LoginFailure::Timeout);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"S");
}

/// Else, whoever sends a byte each second would never count as silent.
#[tokio::test(start_paused = true)]
async fn only_a_whole_message_counts_as_progress() {
    let (mut client, server) = duplex(1 << 14);
    let attempt = attempt();
    let (began, progress) = (Instant::now(), attempt.progress.clone());
    tokio::spawn(authenticate(Box::new(server), plain(), attempt));
    let (last, first) = {
        let message = startup_message();
        let (last, first) = message.split_last().unwrap();
        (*last, first.to_vec())
    };
    for byte in first {
        client.write_u8(byte).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(progress.last(), began);
    }
    client.write_u8(last).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(progress.last() > began);
}
