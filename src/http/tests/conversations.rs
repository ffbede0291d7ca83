use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::http::server::Accept;
use crate::status::sample::up;

/// Longer than anything here should take; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The series that counts them.
const HEALTH_ANSWERS: &str = "pgtether_http_requests_total{code=\"200\",handler=\"health\"} ";

/// A server on a loopback port of its own.
pub(super) struct Server {
    address: SocketAddr,
    app: Arc<App>,
    outside: Arc<Outside>,
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

impl Server {
    pub(super) async fn start(plan: Plan, limits: ConnectionLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (app, outside) = plan.build();
        let (stop, stopped) = watch::channel(false);
        let listener = WebListener { socket: listener, scope: Scope::All };
        let task = tokio::spawn(serve(vec![listener], app.clone(), limits, stopped));
        Server { address, app, outside, stop, task }
    }

    async fn with(limits: ConnectionLimits) -> Self {
        let targets = ["primary", "slow", "deaf"].map(|name| up(name, Moment::now()));
        Self::start(Plan::new(targets.into()), limits).await
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn connect(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// How many answers were cut off.
    pub(super) async fn finish(self) -> usize {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

pub(super) struct Client<S>(S);

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Client<S> {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        self.answer().await
    }

    /// One answer with its body; its length is read off its head.
    async fn answer(&mut self) -> String {
        let mut text = self.head().await;
        let length = content_length(&text);
        let mut body = vec![0; length];
        timeout(PATIENCE, self.0.read_exact(&mut body)).await.unwrap().unwrap();
        text.push_str(&String::from_utf8(body).unwrap());
        text
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.expect("no answer in time");
            head.push(byte.expect("the connection was closed before an answer"));
        }
        String::from_utf8(head).unwrap()
    }

    /// What comes until the other side closes; a reset is a close.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        match read.expect("the connection stays open") {
            Ok(_) => rest,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) async fn is_closed(&mut self) {
        assert_eq!(self.rest().await, b"", "closed without a word");
    }
}

fn content_length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.expect("an answer has a length").parse().unwrap()
}

pub(super) fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
}

/// A limit that a test waits out; long enough that a busy machine does not reach it by itself.
pub(super) const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_at_the_first_byte_limit() {
    let server = Server::with(ConnectionLimits { first_byte: SHORT, ..limits() }).await;
    let mut client = server.connect().await;
    let began = Instant::now();
    client.is_closed().await;
    assert!(began.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_although_bytes_keep_coming() {
    let server = Server::with(ConnectionLimits { head: SHORT, ..limits() }).await;
    let mut client = server.connect().await;
    let began = Instant::now();
    client.send("GET /health HTTP/1.1\r\n").await;
    let (mut reading, mut writing) = client.0.split();
    let drip = async {
        loop {
            writing.write_all(b"x: y\r\n").await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut byte = [0];
    let ended: io::Result<usize> = tokio::select! {
        read = timeout(PATIENCE, reading.read(&mut byte)) => read.expect("it goes on and on"),
        failed = drip => failed,
    };
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(began.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_client_may_rest_between_scrapes_for_longer_than_a_head_may_take() {
    let patient = ConnectionLimits { first_byte: SHORT, head: SHORT, ..limits() };
    let server = Server::with(patient).await;
    let mut client = server.connect().await;
    assert!(client.get("/livez").await.ends_with("\r\n\r\nok"));
    tokio::time::sleep(SHORT * 3).await;
    assert!(client.get("/livez").await.ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn a_client_that_rests_too_long_is_let_go() {
    let server = Server::with(ConnectionLimits { idle: SHORT, ..limits() }).await;
    let mut client = server.connect().await;
    client.get("/livez").await;
    client.is_closed().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let now = Moment::now();
    let statuses = (0..1500).map(|n| up(&format!("target-{n}"), now)).collect();
    let server = Server::start(Plan::new(statuses), ConnectionLimits { write: SHORT, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let length = content_length(&client.head().await);
    tokio::time::sleep(SHORT * 4).await;
    let got = client.rest().await.len();
    assert!(got < length, "{got} of {length} bytes came although nobody read them in time");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_with_431() {
    let server = Server::with(limits()).await;
    let mut client = server.connect().await;
    let long = "y".repeat(24 * 1024);
    client.send(&format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {long}")).await;
    let answer = client.head().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn what_is_not_http_is_refused_with_400() {
    let server = Server::with(limits()).await;
    let mut client = server.connect().await;
    client.send("\u{16}\u{3}\u{1}\u{2}\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn head_has_the_length_of_get_and_no_body() {
    let server = Server::with(limits()).await;
    let mut client = server.connect().await;
    for path in ["/", "/health", "/livez", "/livez?verbose", "/api/v1/targets", "/nowhere", "/-/ready"] {
        client.send(&format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let head = client.head().await;
        let get = client.get(path).await;
        let status = |text: &str| text.lines().next().unwrap().to_owned();
        assert_eq!(status(&head), status(&get), "{path}");
        let near = content_length(&head).abs_diff(content_length(&get));
        // Ages grow by a digit between the two.
        assert!(near <= 4 && content_length(&head) > 0, "{path}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::with(limits()).await;
    let mut client = server.connect().await;
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.send(&format!("{}{}{}", request("/livez"), request("/nowhere"), request("/-/ready"))).await;
    for end in ["\r\nok", "no such page\n", "pgtether is Ready.\n"] {
        let answer = client.answer().await;
        assert!(answer.ends_with(end), "{answer}");
    }
}

#[tokio::test]
async fn at_the_cap_the_longest_idle_connection_makes_room() {
    let server = Server::with(ConnectionLimits { connections: 3, ..limits() }).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.get("/livez").await;
        clients.push(client);
    }
    // The first is used again: now the second has waited longest.
    clients[0].get("/livez").await;
    let mut scrape = server.connect().await;
    assert!(scrape.get("/metrics").await.starts_with("HTTP/1.1 200 "));
    clients[1].is_closed().await;
    for other in [0, 2] {
        assert!(clients[other].get("/livez").await.ends_with("ok"), "{other} was closed too");
    }
}

#[tokio::test]
async fn connections_that_never_ask_cannot_keep_a_scrape_out() {
    let server = Server::with(ConnectionLimits { connections: 4, ..limits() }).await;
    let mut silent = Vec::new();
    for n in 0..12 {
        let mut client = server.connect().await;
        if n % 2 == 0 {
            client.send("GET /met").await;
        }
        silent.push(client);
        let mut scrape = server.connect().await;
        assert!(scrape.get("/livez").await.ends_with("ok"), "after {n} others");
    }
}

#[tokio::test]
async fn when_all_are_being_answered_a_new_one_waits_for_the_first_to_end() {
    let server = Server::with(ConnectionLimits { connections: 1, ..limits() }).await;
    let mut busy = server.connect().await;
    busy.send("GET /probe?target=slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.outside.proving.notified().await;
    let mut next = server.connect().await;
    next.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(timeout(SHORT, next.0.readable()).await.is_err(), "answered beyond the cap");
    server.outside.finish.notify_one();
    assert!(busy.answer().await.contains("probe_success 1"));
    assert!(next.answer().await.ends_with("ok"));
}

#[tokio::test]
async fn when_all_are_busy_for_too_long_the_busiest_goes() {
    let server = Server::with(ConnectionLimits { connections: 2, busy: SHORT, ..limits() }).await;
    let (mut probe, mut greedy) = (server.connect().await, server.connect().await);
    probe.send("GET /probe?target=deaf HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.outside.proving.notified().await;
    let asked = Instant::now();
    // More than socket and server hold, and not a byte of it is read.
    greedy.send(&"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000)).await;
    let mut scrape = server.connect().await;
    assert!(scrape.get("/livez").await.ends_with("ok"));
    assert!(asked.elapsed() < PATIENCE / 2);
    probe.is_closed().await;
    let mut next = server.connect().await;
    assert!(next.get("/livez").await.ends_with("ok"));
    scrape.is_closed().await;
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_closes_the_rest() {
    let server = Server::with(limits()).await;
    let (mut silent, mut idle, mut busy) =
        (server.connect().await, server.connect().await, server.connect().await);
    idle.get("/livez").await;
    busy.send("GET /probe?target=slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.outside.proving.notified().await;
    let (address, outside) = (server.address, server.outside.clone());
    let drained = tokio::spawn(server.finish());
    silent.is_closed().await;
    idle.is_closed().await;
    assert!(TcpStream::connect(address).await.is_err(), "it still accepts");
    outside.finish.notify_one();
    let answer = busy.answer().await;
    assert!(answer.contains("probe_success 1") && answer.contains("connection: close"), "{answer}");
    assert_eq!(drained.await.unwrap(), 0);
}

#[tokio::test]
async fn a_drain_does_not_wait_longer_than_its_limit() {
    let server = Server::with(ConnectionLimits { drain: SHORT, ..limits() }).await;
    let mut busy = server.connect().await;
    busy.send("GET /probe?target=deaf HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.outside.proving.notified().await;
    let began = Instant::now();
    assert_eq!(server.finish().await, 1, "one answer was cut off");
    assert!(began.elapsed() >= SHORT);
    busy.is_closed().await;
}

/// Has a connection, then no descriptors left for a while, then another connection.
struct Starved {
    first: Option<DuplexStream>,
    failures: usize,
    tries: Arc<AtomicUsize>,
    then: Option<DuplexStream>,
}

impl Accept for Starved {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<IpAddr>)> {
        if let Some(stream) = self.first.take() {
            return Ok((stream, None));
        }
        let tries = self.tries.fetch_add(1, Ordering::Relaxed);
        if tries < self.failures {
            return Err(io::Error::from_raw_os_error(nix::libc::EMFILE));
        }
        match self.then.take() {
            Some(stream) => Ok((stream, None)),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_it_closes_an_idle_connection_and_tries_again_without_spinning() {
    let ((near, far), (idle, first)) = (duplex(64 * 1024), duplex(64 * 1024));
    let tries = Arc::new(AtomicUsize::new(0));
    let listener = Starved { first: Some(first), failures: 20, tries: tries.clone(), then: Some(far) };
    let (app, _) = Plan::new(vec![up("primary", Moment::now())]).build();
    let (_stop, stopped) = watch::channel(false);
    let listener = WebListener { socket: listener, scope: Scope::All };
    let task = tokio::spawn(serve(vec![listener], app, limits(), stopped));
    let began = Instant::now();
    Client(idle).is_closed().await;
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = tries.load(Ordering::Relaxed);
    assert!((5..=10).contains(&seen), "{seen} tries in 5 s");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(Client(near).get("/livez/ping").await.ends_with("ok"));
    task.abort();
}

#[tokio::test]
async fn who_sends_many_requests_at_once_does_not_hold_up_others() {
    let server = Server::with(limits()).await;
    let (mut greedy, mut modest) = (server.connect().await, server.connect().await);
    for client in [&mut greedy, &mut modest] {
        client.get("/livez").await;
    }
    greedy.send(&"GET /health HTTP/1.1\r\nhost: x\r\n\r\n".repeat(15)).await;
    modest.get("/livez").await;
    let mut scrape = Vec::new();
    server.app.metrics.render(1, &server.app.process.read(), &mut scrape).unwrap();
    let scrape = String::from_utf8(scrape).unwrap();
    let made = scrape.lines().find_map(|line| line.strip_prefix(HEALTH_ANSWERS)).unwrap();
    let made: usize = made.parse().unwrap();
    assert!(made < 8, "{made} of 15 came first");
    for _ in 0..15 {
        greedy.answer().await;
    }
}
