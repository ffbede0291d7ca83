//! The conversation, byte by byte.

use super::*;

fn key(length: usize) -> CancelKey {
    CancelKey { process_id: 4711, secret: vec![5; length] }
}

/// The answer to whatever comes first, then the rest of a conversation.
async fn exchange(client: &mut DuplexStream, say: &[u8], hear: &[u8]) {
    client.write_all(say).await.unwrap();
    let mut heard = vec![0; hear.len()];
    timeout(LIMIT, client.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, hear);
}

#[tokio::test]
async fn encryption_that_is_not_to_be_had_is_declined_and_the_client_may_go_on() {
    for requests in [vec![ssl_request()], vec![gss_request()], vec![gss_request(), ssl_request()]] {
        let (mut client, handshake) = server(trusting(), 64);
        for request in &requests {
            exchange(&mut client, request, b"N").await;
        }
        client.write_all(&startup_message()).await.unwrap();
        assert!(matches!(handshake.await.unwrap(), Came::In { .. }), "{} requests", requests.len());
    }
}

#[tokio::test]
async fn whoever_asks_for_encryption_again_and_again_is_turned_away() {
    for request in [ssl_request(), gss_request()] {
        let (heard, came) = hear(trusting(), &request.repeat(2)).await;
        assert!(heard.starts_with(b"N") && ends_in(&heard[1..], "08P01"), "{}", heard.escape_ascii());
        assert_eq!(came.told(), "encryption was asked for once too often");
    }
}

#[tokio::test]
async fn a_cancel_request_is_heard_wherever_a_startup_packet_may_stand() {
    for length in [4, 32, 256] {
        let request = cancel_request(&key(length));
        for before in [vec![], ssl_request(), [gss_request(), ssl_request()].concat()] {
            let (heard, came) = hear(plain(), &[before, request.clone()].concat()).await;
            assert_eq!(came, Came::Cancel(key(length)));
            assert!(heard.iter().all(|&byte| byte == b'N'), "a cancel request is answered by the end alone");
        }
    }
}

#[tokio::test]
async fn a_cancel_request_may_come_under_tls_and_is_kept_waiting_until_it_is_done() {
    let (mut client, server) = duplex(1 << 14);
    let handshake =
        tokio::spawn(async move { authenticate(Box::new(server), policy(), attempt()).await.unwrap() });
    exchange(&mut client, &ssl_request(), b"S").await;
    let tls = native_tls::TlsConnector::builder().danger_accept_invalid_certs(true).build().unwrap();
    let mut client = tokio_native_tls::TlsConnector::from(tls).connect("localhost", client).await.unwrap();
    client.write_all(&cancel_request(&key(32))).await.unwrap();
    let Outcome::Cancel(cancel, stream) = handshake.await.unwrap() else { panic!("no cancel request") };
    assert_eq!(cancel, key(32));
    let mut end = [0];
    assert!(timeout(Duration::from_millis(20), client.read(&mut end)).await.is_err(), "the stream is closed");
    let closing = tokio::spawn(async move { close(stream, b"").await });
    let ended = timeout(LIMIT, client.read(&mut end)).await.unwrap();
    assert_eq!(ended.expect("TLS was not ended by its own message"), 0);
    drop(client);
    closing.await.unwrap();
}

#[tokio::test]
async fn encryption_is_not_asked_for_again_under_tls() {
    for request in [ssl_request(), gss_request()] {
        let (mut client, server) = duplex(1 << 14);
        let login = authenticate(Box::new(server), policy(), attempt());
        let handshake = tokio::spawn(async move { login.await.map(drop) });
        exchange(&mut client, &ssl_request(), b"S").await;
        let tls = native_tls::TlsConnector::builder().danger_accept_invalid_certs(true).build().unwrap();
        let tls = tokio_native_tls::TlsConnector::from(tls);
        let mut client = tls.connect("localhost", client).await.unwrap();
        client.write_all(&request).await.unwrap();
        let mut heard = Vec::new();
        timeout(LIMIT, client.read_to_end(&mut heard)).await.unwrap().unwrap();
        assert!(ends_in(&heard, "08P01"), "{}", heard.escape_ascii());
        drop(client);
        let Err(Rejected::Told(rejection)) = handshake.await.unwrap() else { panic!("let in") };
        assert_eq!(rejection.message, "encryption was asked for once too often");
    }
}

#[tokio::test]
async fn a_cancel_request_is_heard_where_clients_are_rejected() {
    let (mut client, server) = duplex(1 << 14);
    client.write_all(&cancel_request(&key(4))).await.unwrap();
    let because = (LoginFailure::Descriptors, ErrorFields::fatal("53300", "full"));
    let (cancel, _) = reject(Box::new(server), None, because, attempt()).await.unwrap();
    assert_eq!(cancel, key(4));
}

#[tokio::test]
async fn plain_bytes_behind_a_request_for_tls_are_never_taken_for_protected_ones() {
    let trusting_tls = AuthPolicy { acceptor: policy().acceptor, ..trusting() };
    let (heard, came) = hear(trusting_tls, &[ssl_request(), startup_message()].concat()).await;
    assert_eq!(heard[0], b'S');
    assert!(!heard.contains(&b'R'), "{}", heard.escape_ascii());
    assert!(came.told().starts_with("TLS handshake: "));
}

#[tokio::test]
async fn tls_that_is_off_is_not_begun() {
    let (heard, came) = hear(plain(), b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03").await;
    assert_eq!(heard, b"");
    assert_eq!(came.told(), "it began with TLS, which is off here");
}

#[tokio::test]
async fn a_newer_protocol_is_talked_down_before_anything_else_is_said() {
    let pairs = [("user", "app"), ("database", "orders"), ("_pq_.new", "on")];
    let negotiation = |minor| {
        let mut out = Vec::new();
        backend::negotiate_protocol_version(&mut out, minor, &["_pq_.new".to_owned()]);
        out
    };
    for (asked, spoken) in [(0, 0), (2, 2), (9999, 2)] {
        let bytes = startup(VERSION_3 | asked, &pairs);
        let (_, came) = hear(trusting(), &bytes).await;
        let Came::In { startup, pending } = came else { panic!("{came:?}") };
        assert_eq!((u32::from(startup.minor), pending), (spoken, negotiation(spoken)));
        let (heard, came) = hear(plain(), &bytes).await;
        assert!(heard.starts_with(&negotiation(spoken)), "{}", heard.escape_ascii());
        assert_eq!(came, Came::Rejected(Rejected::Gone), "a client that has no password leaves");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_refused() {
    for (answer, sqlstate) in [
        (&b"Q\0\0\0\x05\0"[..], "08P01"),
        (b"X\0\0\0\x04", "08P01"),
        (b"p\0\0\0\x03", "08P01"),
        (b"p\0\0\x04\x05", "08P01"),
        (b"p\xff\xff\xff\xff", "08P01"),
        (b"p\0\0\0\x0chunter2\0", "08P01"),
        (b"p\0\0\0\x04", "08P01"),
    ] {
        let (heard, came) = hear(plain(), &[&startup_message()[..], answer].concat()).await;
        assert!(ends_in(&heard, sqlstate), "{}: {}", answer.escape_ascii(), heard.escape_ascii());
        came.told();
    }
}

#[tokio::test]
async fn what_is_no_postgresql_is_told_what_this_port_speaks() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-OpenSSH\r\n", b"\0\0\0\0", b"\0\0\x27\x15\0\x03\0\0"]
    {
        let (heard, came) = hear(policy(), bytes).await;
        assert!(ends_in(&heard, "08P01"), "{}", heard.escape_ascii());
        assert_eq!(came.told(), "invalid length of startup packet");
    }
}

/// The salt and all lengths are the same, whether the user exists or not.
#[tokio::test]
async fn unknown_users_cannot_be_told_from_known_ones_by_what_they_are_asked() {
    let mut asked = Vec::new();
    for user in ["app", "eve", "app"] {
        let first = b"n,,n=,r=abc";
        let body = [b"SCRAM-SHA-256\0\0\0\0\x0b", &first[..]].concat();
        let answer = [&b"p"[..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), &body].concat();
        let bytes = [startup(VERSION_3, &[("user", user), ("database", "orders")]), answer].concat();
        let (heard, came) = hear(plain(), &bytes).await;
        assert_eq!(came, Came::Rejected(Rejected::Gone));
        let heard = String::from_utf8(heard).unwrap();
        let nonce_at = heard.find("r=abc").unwrap() + 5;
        asked.push([&heard[..nonce_at], &heard[nonce_at + 24..]].concat());
    }
    assert!(asked[0].contains(",s=") && asked[0].ends_with(",i=4096"), "{}", asked[0]);
    assert!(asked.iter().all(|one| *one == asked[0]), "{asked:?}");
}
