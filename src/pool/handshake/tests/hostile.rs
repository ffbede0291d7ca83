//! Clients that are slow, silent, cut off or mad.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::protocol::put;

/// A conversation that gets as far as bytes can get that are known beforehand: with a first message, and an answer
/// that proves nothing.
fn conversation() -> Vec<u8> {
    let first = [b"SCRAM-SHA-256\0\0\0\0\x0b".as_slice(), b"n,,n=,r=abc"].concat();
    let last = b"c=biws,r=abc,p=AAAA";
    let mut out = [gss_request(), startup_message()].concat();
    for body in [&first[..], last] {
        put(&mut out, b'p', &[body]);
    }
    out
}

#[tokio::test]
async fn a_client_that_hangs_up_anywhere_is_gone() {
    let whole = conversation();
    for cut in 0..whole.len() {
        let (_, came) = hear(plain(), &whole[..cut]).await;
        assert_eq!(came, Came::Rejected(Rejected::Gone), "cut at {cut}");
    }
    let (heard, came) = hear(plain(), &whole).await;
    assert!(ends_in(&heard, "08P01"));
    assert!(came.told().starts_with("malformed SCRAM message: "));
}

#[tokio::test]
async fn it_does_not_matter_in_which_pieces_bytes_come() {
    let bytes = [gss_request(), ssl_request(), startup_message()].concat();
    for capacity in [1, 2, 3, 7, 100] {
        let (mut client, handshake) = server(trusting(), capacity);
        let (mut reader, mut writer) = tokio::io::split(&mut client);
        let mut heard = Vec::new();
        let say = async {
            for piece in bytes.chunks(capacity) {
                writer.write_all(piece).await.unwrap();
            }
        };
        let ((), _) = tokio::join!(say, reader.read_to_end(&mut heard));
        assert!(matches!(handshake.await.unwrap(), Came::In { .. }), "pieces of {capacity}");
        assert_eq!(heard, b"NN");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_holds_up_nothing_but_its_own_handshake() {
    let whole = conversation();
    for cut in 0..whole.len() {
        let (mut client, server) = duplex(1 << 14);
        client.write_all(&whole[..cut]).await.unwrap();
        let handshake = timeout(Duration::from_secs(60), authenticate(Box::new(server), plain(), attempt()));
        assert!(handshake.await.is_err(), "cut at {cut}: it did not wait for the client");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_neither_reads_nor_leaves_is_left() {
    let (client, server) = duplex(1);
    let (mut reader, mut writer) = tokio::io::split(client);
    let chatter = tokio::spawn(async move { while writer.write_all(b"GET / HTTP/1.1\r\n").await.is_ok() {} });
    let began = tokio::time::Instant::now();
    let refused = authenticate(Box::new(server), plain(), attempt()).await.unwrap_err();
    assert!(matches!(refused, Rejected::Told(_)), "{refused:?}");
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
    chatter.await.unwrap();
    assert_eq!(reader.read_u8().await.unwrap(), b'E');
}

/// A socket closed with something unread in it is reset, and the reset overtakes what was said before.
#[tokio::test]
async fn the_reason_arrives_though_the_client_has_said_more_than_was_read() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.write_all(&startup(VERSION_3, &[("database", "orders")])).await.unwrap();
    client.write_all(&[b'Q'; 30_000]).await.unwrap();
    let handshake =
        tokio::spawn(async move { authenticate(Box::new(server), plain(), attempt()).await.unwrap_err() });
    // Late enough for a reset to have come.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert!(ends_in(&heard, "28000"), "{}", heard.escape_ascii());
    drop(client);
    assert!(matches!(handshake.await.unwrap(), Rejected::Told(_)));
}

/// In every state that a client can bring the server to by bytes known beforehand.
#[test]
fn random_bytes_never_get_in_and_never_hang() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let openings = [
        vec![],
        b"\x16\x03\x01".to_vec(),
        ssl_request(),
        gss_request(),
        startup_message(),
        VERSION_3.to_be_bytes().to_vec(),
    ];
    let whole = conversation();
    let strategy = (
        proptest::sample::select(openings.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..400),
        0..whole.len(),
        1..=255_u8,
    );
    let check = |(opening, noise, place, flip): (Vec<u8>, Vec<u8>, usize, u8)| {
        let mut damaged = whole.clone();
        damaged[place] ^= flip;
        for policy in [policy(), plain()] {
            for bytes in [[&opening[..], &noise].concat(), damaged.clone()] {
                let (_, came) = runtime.block_on(hear(policy, &bytes));
                let is_in = matches!(came, Came::In { .. });
                prop_assert!(!is_in, "{}", bytes.escape_ascii());
            }
        }
        Ok(())
    };
    TestRunner::default().run(&strategy, check).unwrap();
}
