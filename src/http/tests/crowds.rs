//! Crowds: who asks a lot keeps nobody else out.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;

use super::conversations::{Server, limits};
use super::web::tests::live;
use super::*;
use crate::status::sample::up;

/// Of the password `test`.
const USERS: &str = "basic_auth_users: {alice: $2b$04$abcdefghijklmnopqrstuuoD8yw7MmybLKVooaTGGZAt3HXugv2.a}";
const RIGHT: &str = "Basic YWxpY2U6dGVzdA==";
const WRONG: &str = "Basic YWxpY2U6d3Jvbmc=";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The status line of one answer to a client at that address.
async fn scrape(server: SocketAddr, from: Ipv4Addr, credentials: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = BufReader::new(socket.connect(server).await.unwrap());
    let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: {credentials}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line.trim_end().to_owned()
}

#[tokio::test]
async fn forty_who_guess_at_one_address_do_not_get_a_right_password_of_another_refused() {
    let mut plan = Plan::new(vec![up("primary", Moment::now())]);
    plan.rules = live(USERS);
    let server = Server::start(plan, limits()).await;
    let address = server.address();
    let (answers, mut answered) = mpsc::unbounded_channel();
    for _ in 0..40 {
        let answers = answers.clone();
        tokio::spawn(async move {
            _ = answers.send(scrape(address, Ipv4Addr::new(127, 0, 0, 2), WRONG).await);
        });
    }
    // The guessers' own queue is full.
    while !answered.recv().await.unwrap().contains("429") {}
    assert_eq!(scrape(address, Ipv4Addr::LOCALHOST, RIGHT).await, "HTTP/1.1 200 OK");
}

/// All that comes of a request that is sent as it is, by a client that blocks its thread.
fn blocking(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(read) => all.extend_from_slice(&some[..read]),
            // What was sent and not read when it closed.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn the_health_address_answers_while_the_thread_of_all_others_stands_still() {
    let (app, _) = Plan::new(vec![up("primary", Moment::now())]).build();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let listeners = vec![WebListener { socket, scope: Scope::Health }];
    let end = serve_apart(listeners, app, ConnectionLimits::for_probes(), stopped).unwrap();
    // Nothing here gives up this thread, and there is no other.
    for page in ["/livez", "/readyz", "/health"] {
        let one = format!("GET {page} HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = blocking(address, &one);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        let answer = blocking(address, &one.repeat(100));
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            1,
            "one request, then the next client's turn: {answer}"
        );
    }
    stop.send_replace(true);
    assert_eq!(end.await, Ok(0));
}

#[tokio::test]
async fn without_a_health_address_there_is_no_thread_to_wait_for() {
    let (app, _) = Plan::new(Vec::new()).build();
    let (_stop, stopped) = watch::channel(false);
    assert!(serve_apart(Vec::new(), app, ConnectionLimits::for_probes(), stopped).unwrap().await.is_err());
}
