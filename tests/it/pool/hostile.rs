//! Clients that speak badly, stop in the middle, or leave: what they cost is their own connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pgtether::demo::postgres::{Cluster, Setup};
use pgtether::protocol::frontend::{
    CANCEL_REQUEST, GSS_ENC_REQUEST, SSL_REQUEST, VERSION_3, packet, query, terminate,
};
use tokio::task::JoinHandle;

use super::rust::connect;
use super::wire::{Raw, framed};
use super::{SOON, await_listening, one_pool, through};
use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, Version, postgres};
use crate::supervise::DB;
use crate::wire::{error_field, kinds, message, startup, text};

/// A pool of two sessions that asks for no password, so that a test can log in by hand.
async fn open_pool(keys: &[&str]) -> (Cluster, Daemon, u16) {
    let cluster = postgres(Version::V15, Setup::default());
    let pool = [&["auth: trust", "size: 2"], keys].concat();
    let (config, port) = one_pool(&cluster.superuser_url(), &[], &pool);
    let daemon = Daemon::start(&config);
    await_listening(port).await;
    (cluster, daemon, port)
}

/// A client that works all the time; a failure of its own fails the test.
struct Bystander {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Duration>,
}

impl Bystander {
    async fn start(url: &str) -> Bystander {
        let (mut client, _) = connect(url).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            let mut turn = 0_i32;
            while !stopped.load(Relaxed) {
                let began = Instant::now();
                let transaction = client.transaction().await.unwrap();
                let row = transaction.query_one("SELECT $1::int4, 'mine'", &[&turn]).await.unwrap();
                assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (turn, "mine"));
                transaction.commit().await.unwrap();
                longest = longest.max(began.elapsed());
                turn += 1;
            }
            assert!(turn > 0, "the bystander did nothing");
            longest
        });
        Bystander { stop, work }
    }

    /// Ends it; it must not have been held up.
    async fn finish(self) {
        self.stop.store(true, Relaxed);
        let longest = self.work.await.unwrap();
        assert!(longest < Duration::from_secs(2), "a transaction beside it took {longest:?}");
    }
}

/// Nobody is left: no client in any state, and no session in a transaction or in a client's hands.
async fn await_nobody(cluster: &Cluster, daemon: &Daemon) {
    wait_until(SOON, "everybody gone", async || {
        let metrics = daemon.metrics().await;
        let sum = |name, state| metrics.get(name, &[DB, &[("state", state)]].concat()).unwrap_or(f64::NAN);
        let clients: Vec<f64> =
            ["login", "idle", "waiting", "active"].map(|s| sum("pgtether_pool_clients", s)).into();
        let busy = sum("pgtether_pool_servers", "active");
        match clients.iter().sum::<f64>() + busy == 0.0 {
            true => Ok(()),
            false => Err(format!("clients {clients:?}, busy servers {busy}")),
        }
    })
    .await;
    let admin = Admin::of(cluster).await;
    let open =
        admin.query("SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'").await;
    assert!(open.is_empty(), "transactions were left open: {open:?}");
}

/// The first bytes of a connection, which lead nowhere.
fn openings() -> Vec<(&'static str, Vec<u8>)> {
    let random: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5000).collect();
    let ssl = packet(SSL_REQUEST, b"");
    let mut cancel = packet(CANCEL_REQUEST, &[0, 0, 48, 57, 1, 2, 3, 4]);
    cancel.extend(b"and more");
    vec![
        ("random bytes", random),
        ("a length that is negative", (-1_i32).to_be_bytes().to_vec()),
        ("a length that is huge", [i32::MAX.to_be_bytes().as_slice(), &[0, 3, 0, 0]].concat()),
        ("a length of zero", vec![0; 64]),
        ("a length of seven", [7_u32.to_be_bytes().as_slice(), &[0, 3, 0]].concat()),
        ("half a startup", startup("postgres", "postgres")[..20].to_vec()),
        ("a startup of 9 kB that never ends", packet(VERSION_3, &[b'x'; 9000])),
        (
            "a startup without a user",
            packet(VERSION_3, &[&text(&["database", "postgres"])[..], b"\0"].concat()),
        ),
        ("protocol 2", packet(0x0002_0000, b"\0")),
        ("protocol 9", packet(0x0009_0000, b"\0")),
        ("the web's protocol", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a cancel request with nobody's key", cancel),
        ("a cancel request with no key", packet(CANCEL_REQUEST, b"")),
        ("SSLRequest and then a plain startup", [ssl.clone(), startup("postgres", "postgres")].concat()),
        ("SSLRequest for ever", ssl.repeat(200)),
        ("GSSENCRequest for ever", packet(GSS_ENC_REQUEST, b"").repeat(200)),
        ("the begin of TLS", [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3], [7; 40].as_slice()].concat()),
        ("Terminate before anything", terminate()),
        ("a query before anything", query("SELECT 1")),
    ]
}

/// What is said after a good login, and nobody should say.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let parse = |body: &[u8]| [message(b'P', body), message(b'S', b"")].concat();
    let bind = |body: &[u8]| [message(b'B', body), message(b'S', b"")].concat();
    vec![
        ("an unknown type", message(b'z', b"what")),
        ("a type of zero", vec![0; 100]),
        ("a length below four", framed(b'Q', 3, b"")),
        ("a negative length", framed(b'Q', -5, b"SELECT 1\0")),
        ("the least length there is", framed(b'P', i32::MIN, b"")),
        ("a huge length", framed(b'Q', i32::MAX, b"SELECT 1")),
        ("half a header", vec![b'Q', 0, 0]),
        ("half a query", query("SELECT 'much longer than this'")[..12].to_vec()),
        ("a query without its zero", message(b'Q', b"SELECT 1")),
        ("a query of one byte that is no zero", message(b'Q', b"x")),
        ("a query with nothing, not even a zero", message(b'Q', b"")),
        ("half a query in a transaction", [query("BEGIN"), query("SELECT 1")[..8].to_vec()].concat()),
        ("Terminate in a transaction", [query("BEGIN"), terminate()].concat()),
        ("Terminate with a body, and more", [message(b'X', b"bye"), query("SELECT 1")].concat()),
        ("Terminate behind a running query", [query("SELECT pg_sleep(0.2)"), terminate()].concat()),
        ("Terminate instead of COPY's data", [query("COPY t FROM STDIN"), terminate()].concat()),
        ("COPY's data without COPY", message(b'd', b"1\n").repeat(500)),
        ("COPY's end without COPY", [message(b'c', b""), message(b'f', b"no\0")].concat()),
        ("half a line of COPY", [query("COPY t FROM STDIN"), framed(b'd', 1000, b"1\n")].concat()),
        ("a thousand times Sync", message(b'S', b"").repeat(1000)),
        ("Sync with a body", message(b'S', b"body")),
        ("Flush alone", message(b'H', b"")),
        ("Parse without a zero", parse(b"name")),
        ("Parse without its types", parse(b"\0SELECT 1\0\0\x07")),
        ("Parse with a million of types", parse(b"n\0SELECT 1\0\xff\xff")),
        ("Parse with nothing", parse(b"")),
        (
            "Parse with a name of a megabyte",
            parse(&[&[b'n'; 1 << 20], b"\0SELECT 1\0\0\0".as_slice()].concat()),
        ),
        ("Parse never followed by Sync", message(b'P', b"\0SELECT 1\0\0\0").repeat(300)),
        ("Bind to an unknown statement", bind(b"\0never\0\0\0\0\0\0\0")),
        ("Bind without a zero", bind(b"portal")),
        ("Bind with a parameter of a negative length", bind(b"\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0")),
        ("Bind with more parameters than it has", bind(b"\0\0\0\0\xff\xff\0\0")),
        ("Describe of what is not there", [message(b'D', b"Snever\0"), message(b'S', b"")].concat()),
        ("Describe of a kind that is none", [message(b'D', b"?x\0"), message(b'S', b"")].concat()),
        ("Describe with nothing", [message(b'D', b""), message(b'S', b"")].concat()),
        ("Close of a kind that is none", [message(b'C', b"?x\0"), message(b'S', b"")].concat()),
        ("Close with nothing", [message(b'C', b""), message(b'S', b"")].concat()),
        ("Execute of an unknown portal", [message(b'E', b"never\0\0\0\0\0"), message(b'S', b"")].concat()),
        ("Execute cut short", [message(b'E', b""), message(b'S', b"")].concat()),
        ("a password after the login", message(b'p', b"secret\0")),
        ("a function call", message(b'F', &[0, 0, 4, 210, 0, 0, 0, 0, 0, 0])),
        ("a function call cut short", message(b'F', b"")),
        ("a startup in the middle", startup("postgres", "postgres")),
        ("an SSLRequest in the middle", packet(SSL_REQUEST, b"")),
    ]
}

#[tokio::test]
async fn whatever_a_connection_begins_with_costs_only_itself() {
    let (cluster, daemon, port) = open_pool(&[]).await;
    let bystander = Bystander::start(&through(&cluster.superuser_url(), &cluster, port)).await;
    for (what, bytes) in openings() {
        let mut raw = Raw::connect(port).await;
        raw.send(&bytes).await;
        raw.finish().await;
        let answer = raw.drained().await;
        assert!(!answer.windows(2).any(|pair| pair == b"Z\0"), "{what} was let in: {answer:?}");
    }
    bystander.finish().await;
    await_nobody(&cluster, &daemon).await;
}

#[tokio::test]
async fn whatever_a_client_says_after_its_login_costs_only_its_own_connection() {
    let (cluster, daemon, port) = open_pool(&[]).await;
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE TABLE t (v int)").await;
    let bystander = Bystander::start(&through(&cluster.superuser_url(), &cluster, port)).await;
    for (what, bytes) in nonsense() {
        // Once it leaves at once, once it waits for an answer first.
        for patient in [false, true] {
            let mut raw = Raw::login(port, "postgres", "postgres").await;
            raw.send(&bytes).await;
            if patient {
                raw.is_silent().await;
            }
            raw.finish().await;
            let answer = tokio::time::timeout(SOON, raw.drained()).await;
            answer.unwrap_or_else(|_| panic!("{what}: the connection stays open"));
        }
    }
    assert_eq!(admin.query("SELECT count(*) FROM t").await, ["0"], "what was never finished was committed");
    bystander.finish().await;
    await_nobody(&cluster, &daemon).await;
}

#[tokio::test]
async fn clients_that_stop_in_the_middle_of_a_message_hold_up_nobody() {
    let (cluster, daemon, port) = open_pool(&["wait_timeout: 2s"]).await;
    let mut stalled = Vec::new();
    // As who begins an upload and loses its network.
    let announced = framed(b'Q', 50_000_000, &[b' '; 20_000]);
    for bytes in [
        &b"Q"[..],
        b"Q\0\0",
        &query("SELECT 1, 2, 3")[..5],
        &message(b'P', b"\0SELECT 1\0\0\0")[..9],
        &announced,
    ] {
        for _ in 0..3 {
            let mut raw = Raw::login(port, "postgres", "postgres").await;
            raw.send(bytes).await;
            stalled.push(raw);
        }
    }
    for _ in 0..3 {
        let mut raw = Raw::connect(port).await;
        raw.send(&startup("postgres", "postgres")[..11]).await;
        stalled.push(raw);
    }
    let bystander = Bystander::start(&through(&cluster.superuser_url(), &cluster, port)).await;
    for raw in &mut stalled {
        raw.is_silent().await;
    }
    bystander.finish().await;
    drop(stalled);
    await_nobody(&cluster, &daemon).await;
}

#[tokio::test]
async fn a_message_that_is_none_is_refused_with_a_word() {
    let (_cluster, _daemon, port) = open_pool(&[]).await;
    let broken = [
        ("an unknown type", message(b'z', b"what")),
        ("a length below four", framed(b'Q', 3, b"")),
        ("a huge length", framed(b'Q', i32::MAX, b"SELECT 1")),
        ("a password", message(b'p', b"secret\0")),
    ];
    for (what, bytes) in broken {
        let mut raw = Raw::login(port, "postgres", "postgres").await;
        raw.send(&bytes).await;
        let seen = raw.until_closed().await;
        assert_eq!(error_field(&seen, b'C').as_deref(), Some("08P01"), "{what}: {}", kinds(&seen));
        assert_eq!(error_field(&seen, b'S').as_deref(), Some("FATAL"), "{what}");
    }
}

#[tokio::test]
async fn bytes_come_one_by_one_and_all_at_once() {
    let (_cluster, _daemon, port) = open_pool(&[]).await;
    let extended = [
        message(b'P', &[&text(&["s1", "SELECT $1::text"])[..], &[0, 0]].concat()),
        message(b'B', &[&text(&["", "s1"])[..], &[0, 0, 0, 1, 0, 0, 0, 2], b"hi", &[0, 0]].concat()),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'C', b"Ss1\0"),
        message(b'S', b""),
    ]
    .concat();
    let talk = [query("BEGIN"), extended, query("SELECT 1; SELECT 2"), query(""), query("COMMIT")].concat();
    let wanted = "CZ 12TDC3Z TDCTDCZ IZ CZ".replace(' ', "");
    let mut all = Raw::login(port, "postgres", "postgres").await;
    all.send(&talk).await;
    let mut slow = Raw::login(port, "postgres", "postgres").await;
    for byte in &talk {
        slow.send(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    for raw in [&mut all, &mut slow] {
        let mut seen = String::new();
        for _ in 0..5 {
            seen.push_str(&kinds(&raw.until_ready().await));
        }
        assert_eq!(seen, wanted);
        raw.send(&terminate()).await;
        assert!(raw.until_closed().await.is_empty());
    }
}
