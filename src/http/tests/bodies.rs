//! Requests with a body that nobody wants: whatever it is, a final answer comes, and then the end of the connection.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::conversations::{Server, limits};
use super::*;
use crate::status::sample::up;

const PATIENCE: Duration = Duration::from_secs(20);
/// More than all sockets between hold.
const LARGE: usize = 3 << 20;

/// What a client sends after the first line and the host.
struct Upload {
    what: &'static str,
    headers: &'static str,
    /// Waits for 100, or for the final answer, before it sends the body.
    waits: bool,
    body: fn() -> Vec<u8>,
    /// The client says no more, and its length was wrong.
    cut: bool,
}

fn large() -> Vec<u8> {
    vec![b'x'; LARGE]
}

/// In chunks of 64 KiB, with the last one.
fn chunks() -> Vec<u8> {
    let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    [chunk.repeat(LARGE >> 16), b"0\r\n\r\n".to_vec()].concat()
}

/// Without an end.
fn endless() -> Vec<u8> {
    [&b"ffffff\r\n"[..], &[b'x'; LARGE]].concat()
}

const UPLOADS: &[Upload] = &[
    Upload {
        what: "a length",
        headers: "content-length: 3145728\r\n",
        waits: false,
        body: large,
        cut: false,
    },
    Upload {
        what: "chunks",
        headers: "transfer-encoding: chunked\r\n",
        waits: false,
        body: chunks,
        cut: false,
    },
    Upload {
        what: "a chunk without an end",
        headers: "transfer-encoding: chunked\r\n",
        waits: false,
        body: endless,
        cut: true,
    },
    Upload {
        what: "100 and a length",
        headers: "expect: 100-continue\r\ncontent-length: 3145728\r\n",
        waits: true,
        body: large,
        cut: false,
    },
    Upload {
        what: "100 and chunks",
        headers: "expect: 100-continue\r\ntransfer-encoding: chunked\r\n",
        waits: true,
        body: chunks,
        cut: false,
    },
    Upload {
        what: "an expectation that is not waited for",
        headers: "expect: 100-continue\r\ncontent-length: 3145728\r\n",
        waits: false,
        body: large,
        cut: false,
    },
    Upload {
        what: "an unknown expectation",
        headers: "expect: tea\r\ncontent-length: 3145728\r\n",
        waits: false,
        body: large,
        cut: false,
    },
    Upload {
        what: "the largest length",
        headers: "content-length: 18446744073709551613\r\n",
        waits: false,
        body: Vec::new,
        cut: false,
    },
    Upload {
        what: "no number",
        headers: "content-length: 99999999999999999999999\r\n",
        waits: false,
        body: large,
        cut: false,
    },
    Upload { what: "a sign", headers: "content-length: -1\r\n", waits: false, body: large, cut: false },
    Upload {
        what: "two lengths",
        headers: "content-length: 3\r\ncontent-length: 3145728\r\n",
        waits: false,
        body: large,
        cut: false,
    },
    Upload {
        what: "less than the length",
        headers: "content-length: 100\r\n",
        waits: false,
        body: || b"x".to_vec(),
        cut: true,
    },
    Upload {
        what: "no chunk",
        headers: "transfer-encoding: chunked\r\n",
        waits: false,
        body: large,
        cut: false,
    },
];

/// With a small buffer: what the server does not read, cannot be sent.
async fn connect(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(64 << 10).unwrap();
    socket.connect(server.address()).await.unwrap()
}

/// Sends it in its way, all of it, and returns the status of the final answer, and what came after it.
async fn upload(server: &Server, path: &str, upload: &Upload) -> Result<(u16, String), ErrorKind> {
    let mut socket = connect(server).await;
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{}\r\n", upload.headers);
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    if upload.waits {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.read_u8().await.map_err(|error| error.kind())?);
        }
    }
    let goes_on = !upload.waits || answer.starts_with(b"HTTP/1.1 100 ");
    if goes_on {
        answer.clear();
        // All of it, before a byte of the answer is read: as simple clients do.
        socket.write_all(&(upload.body)()).await.map_err(|error| error.kind())?;
    }
    if upload.cut {
        socket.shutdown().await.map_err(|error| error.kind())?;
    }
    socket.read_to_end(&mut answer).await.map_err(|error| error.kind())?;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok((status, answer))
}

#[tokio::test]
async fn whatever_body_a_post_has_a_final_answer_comes_and_then_the_end() {
    for enable_lifecycle in [true, false] {
        let mut plan = Plan::new(vec![up("primary", Moment::now())]);
        plan.enable_lifecycle = enable_lifecycle;
        let server = Server::start(plan, limits()).await;
        for (path, acts) in [
            ("/-/reload", true),
            ("/-/pools/primary/pause", true),
            ("/-/pools/primary/resume", true),
            ("/-/pools/primary/reconnect", true),
            ("/-/targets/primary/reconnect", true),
            ("/metrics", false),
            ("/probe?target=primary", false),
            ("/nowhere", false),
        ] {
            for case in UPLOADS {
                let what = format!("{path} with {}, enabled: {enable_lifecycle}", case.what);
                let ended = timeout(PATIENCE, upload(&server, path, case)).await;
                let ended = ended.unwrap_or_else(|_| panic!("{what}: no end"));
                let (status, answer) = ended.unwrap_or_else(|error| panic!("{what}: {error}"));
                let expected: &[u16] = match (acts, enable_lifecycle) {
                    (true, true) => &[413, 400],
                    (true, false) => &[403, 400],
                    (false, _) => &[404, 405, 400],
                };
                assert!(expected.contains(&status), "{what}: {answer}");
                assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
            }
        }
        assert_eq!(server.finish().await, 0);
    }
}

#[tokio::test]
async fn a_client_that_sends_on_and_on_after_its_answer_is_left() {
    let short = Duration::from_millis(300);
    let server = Server::start(Plan::new(vec![]), ConnectionLimits { linger: short, ..limits() }).await;
    let mut socket = connect(&server).await;
    socket
        .write_all(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n")
        .await
        .unwrap();
    let sending = async {
        // Nobody reads that much.
        while socket.write_all(&[b'x'; 1 << 16]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, sending).await.expect("it reads on and on");
}
