use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::target::{Keepalives, conninfo};

const LIMIT: Duration = Duration::from_secs(10);
const PLAIN: SocketTuning = SocketTuning { connect_timeout: LIMIT, keepalives: None, tcp_user_timeout: None };

fn candidates(url: &str) -> Candidates {
    Candidates::new(
        &conninfo::parse(url).unwrap().endpoint,
        PLAIN,
        Resolver::default(),
        ConnectPace::default(),
    )
}

async fn dial(tuning: &SocketTuning) -> TcpStream {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    connect_tcp(listener.local_addr().unwrap(), tuning, &TcpConnects::default()).await.unwrap()
}

#[tokio::test]
async fn the_sockets_options_are_really_set() {
    let (idle, interval) = (Duration::from_secs(11), Duration::from_secs(7));
    let tuning = SocketTuning {
        keepalives: Some(Keepalives { idle, interval, count: 4 }),
        tcp_user_timeout: Some(Duration::from_millis(12_345)),
        ..PLAIN
    };
    let stream = dial(&tuning).await;
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), interval);
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(12_345)));
}

#[tokio::test]
async fn what_is_not_asked_for_is_left_alone() {
    let stream = dial(&PLAIN).await;
    let socket = SockRef::from(&stream);
    assert!(!socket.keepalive().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), None);
}

#[tokio::test]
async fn values_beyond_the_systems_range_are_brought_into_it() {
    for (long, count) in [(Duration::from_millis(1), 0), (Duration::from_secs(u64::MAX), u32::MAX)] {
        let tuning = SocketTuning {
            keepalives: Some(Keepalives { idle: long, interval: long, count }),
            tcp_user_timeout: Some(long),
            ..PLAIN
        };
        dial(&tuning).await;
    }
}

#[test]
fn sockets_have_libpqs_names() {
    assert_eq!(socket_path(Path::new("/run/pg"), 5433), Path::new("/run/pg/.s.PGSQL.5433"));
    assert_eq!(socket_path(Path::new("@pg"), 1), Path::new("\0pg/.s.PGSQL.1"));
}

#[tokio::test]
async fn an_abstract_socket_is_found() {
    let name = format!("pgtether-test-{}", fastrand::u64(..));
    let address = UnixAddress::from_abstract_name(format!("{name}/.s.PGSQL.5432")).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connected = candidates(&format!("host=@{name} user=u")).next(Instant::now() + LIMIT).await.unwrap();
    assert_eq!(connected.address.peer(), None);
}

#[tokio::test]
async fn hosts_that_are_left_share_the_time_that_is_left() {
    let candidates = candidates("postgresql://u@10.0.0.1,10.0.0.2,10.0.0.3/d");
    let deadline = Instant::now() + Duration::from_secs(8);
    for (present, seconds) in [(0, 8.0 / 3.0), (1, 2.0)] {
        let share = candidates.share(deadline, present) - Instant::now();
        assert!((share.as_secs_f64() - seconds).abs() < 0.2, "{share:?}");
    }
}

#[tokio::test]
async fn of_a_deadline_that_has_passed_nothing_is_left_to_share() {
    let past = Instant::now() - Duration::from_secs(1);
    for candidates in
        [candidates("postgresql://u@10.0.0.1/d"), candidates("postgresql://u@10.0.0.1,10.0.0.2/d")]
    {
        assert!(candidates.share(past, 0) <= Instant::now());
    }
}

#[tokio::test]
async fn a_skipped_host_takes_its_other_addresses_along() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut candidates = candidates(&format!("postgresql://u@127.0.0.1:{port},127.0.0.1:{port}/d"));
    let first = candidates.next(Instant::now() + LIMIT).await.unwrap();
    candidates.left.push_front(Candidate::Address { host: first.host, address: first.address.clone() });
    candidates.skip(first.host);
    let second = candidates.next(Instant::now() + LIMIT).await.unwrap();
    assert_eq!((first.host, second.host), (0, 1));
    assert!(candidates.is_empty());
}

/// As many addresses of loopback, with nobody there.
fn unanswered(addresses: usize, port: u16) -> Candidates {
    let mut candidates = candidates("postgresql://u@127.0.0.1/d");
    let dead = |n: usize| SocketAddr::new([127, 0, 0, n as u8].into(), port);
    candidates.left =
        (1..=addresses).map(|n| Candidate::Address { host: 0, address: Address::Tcp(dead(n)) }).collect();
    candidates
}

#[tokio::test]
async fn an_attempt_tries_a_few_addresses_and_waits_before_each_but_the_first() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (addresses, tried) in [(1, 1), (3, 3), (MAX_ADDRESSES + 9, MAX_ADDRESSES)] {
        let waits = Arc::new(AtomicUsize::new(0));
        let mut candidates = unanswered(addresses, port);
        let counted = Arc::clone(&waits);
        candidates.pace = ConnectPace::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(()))
        });
        let facts = candidates.next(Instant::now() + LIMIT).await.unwrap_err();
        assert!(matches!(facts.cause, Cause::Io { kind: io::ErrorKind::ConnectionRefused, .. }), "{facts:?}");
        assert_eq!((candidates.tried, waits.load(Ordering::Relaxed)), (tried, tried - 1));
        assert_eq!(candidates.pace.made.take(), tried as u64, "each address is a TCP connect");
        assert!(candidates.is_empty());
    }
}

#[tokio::test]
async fn thousands_of_addresses_leave_those_that_are_tried_a_useful_share_of_the_time() {
    let candidates = unanswered(10_000, 1);
    let share = candidates.share(Instant::now() + LIMIT, 0) - Instant::now();
    assert!(share > LIMIT / 17, "{share:?}");
}

#[tokio::test]
async fn what_was_lost_on_addresses_before_is_part_of_the_connect() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = Candidate::Address { host: 1, address: Address::Tcp(listener.local_addr().unwrap()) };
    let mut candidates = unanswered(2, 1);
    candidates.left.push_back(live);
    let pause = Duration::from_millis(30);
    candidates.pace = ConnectPace::new(move || Box::pin(tokio::time::sleep(pause)));
    let begun = Instant::now();
    let connected = candidates.next(Instant::now() + LIMIT).await.unwrap();
    assert!(connected.connect >= 2 * pause && connected.connect <= begun.elapsed(), "{connected:?}");
    assert_eq!(connected.unanswered, 2);
}
