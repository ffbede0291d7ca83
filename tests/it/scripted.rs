//! A server on loopback that plays a script: what no real server can be made to show.
//!
//! It does what its steps say and nothing else; [`Scripted::played`] demands that it came to the end of them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

/// One thing that the server does with its one connection at a time.
#[derive(Debug, Clone)]
pub enum Step {
    /// Takes the next connection; the one before it is closed.
    Accept,
    /// Reads the request for TLS.
    ReadSslRequest,
    /// Reads a startup packet that holds all these texts.
    ReadStartup(Vec<&'static str>),
    /// Reads one message of this type that holds this text.
    Read(u8, &'static str),
    /// Reads bytes, whatever they are, until they hold this.
    ReadUntil(&'static [u8]),
    Send(Vec<u8>),
    /// Sends for as long as the client listens.
    Flood(Vec<u8>),
    /// One byte at a time, so much apart, for as long as the client listens.
    SendSlowly(Vec<u8>, Duration),
    /// An orderly end.
    Close,
    /// A connection reset.
    Reset,
    /// Says nothing until the client goes away.
    AwaitEnd,
}

pub struct Scripted {
    pub address: SocketAddr,
    play: JoinHandle<()>,
}

impl Scripted {
    pub async fn start(script: Vec<Step>) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Scripted { address, play: tokio::spawn(play(listener, script)) }
    }

    pub fn url(&self) -> String {
        format!("postgresql://app:sesame@{}/db?sslmode=disable", self.address)
    }

    /// All steps were played; panics as the script did where they were not.
    pub async fn played(self) {
        match timeout(LIMIT, self.play).await {
            Ok(Ok(())) => {}
            Ok(Err(ended)) => panic!("the script failed: {ended}"),
            Err(_) => panic!("the script was not played to its end"),
        }
    }
}

async fn play(listener: TcpListener, script: Vec<Step>) {
    let mut peer: Option<TcpStream> = None;
    for (at, step) in script.into_iter().enumerate() {
        if matches!(step, Step::Accept) {
            drop(peer.take());
            peer = Some(listener.accept().await.unwrap().0);
            continue;
        }
        let socket = peer.as_mut().unwrap_or_else(|| panic!("step {at}, {step:?}, comes before any Accept"));
        match step {
            Step::Accept => unreachable!("handled above"),
            Step::ReadSslRequest => {
                let mut request = [0; 8];
                socket.read_exact(&mut request).await.unwrap();
                assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "step {at}");
            }
            Step::ReadStartup(texts) => {
                let body = body(socket).await;
                for text in texts {
                    assert!(holds(&body, text.as_bytes()), "step {at}: no {text:?} in {body:?}");
                }
            }
            Step::Read(tag, text) => {
                assert_eq!(char::from(socket.read_u8().await.unwrap()), char::from(tag), "step {at}");
                let body = body(socket).await;
                assert!(holds(&body, text.as_bytes()), "step {at}: no {text:?} in {body:?}");
            }
            Step::ReadUntil(wanted) => {
                let mut seen = Vec::new();
                while !holds(&seen, wanted) {
                    let got = socket.read_buf(&mut seen).await.unwrap();
                    assert_ne!(got, 0, "step {at}: the client left before {wanted:?}");
                }
            }
            Step::Send(bytes) => socket.write_all(&bytes).await.unwrap(),
            Step::Flood(bytes) => {
                let _ = socket.write_all(&bytes).await;
            }
            Step::SendSlowly(bytes, pause) => {
                for byte in bytes {
                    if socket.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            Step::Close => drop(peer.take()),
            Step::Reset => {
                socket.set_zero_linger().unwrap();
                drop(peer.take());
            }
            Step::AwaitEnd => {
                let mut rest = [0; 4096];
                while let Ok(1..) = socket.read(&mut rest).await {}
            }
        }
    }
}

async fn body(socket: &mut TcpStream) -> Vec<u8> {
    let length = socket.read_u32().await.unwrap();
    assert!((4..100_000).contains(&length), "the client announces {length} bytes");
    let mut body = vec![0; length as usize - 4];
    socket.read_exact(&mut body).await.unwrap();
    body
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// The server's messages.
pub mod say {
    use pgtether::protocol::{ErrorFields, Severity, backend};

    use crate::wire::message;

    /// AuthenticationOk, a version, a key, ReadyForQuery.
    pub fn welcome() -> Vec<u8> {
        [auth(0, b""), parameter("server_version", "15.0 (scripted)"), key(4711, 42), ready()].concat()
    }

    pub fn auth(code: u32, rest: &[u8]) -> Vec<u8> {
        message(b'R', &[&code.to_be_bytes(), rest].concat())
    }

    pub fn parameter(name: &str, value: &str) -> Vec<u8> {
        written(|out| backend::parameter_status(out, name, value))
    }

    pub fn key(process: i32, secret: i32) -> Vec<u8> {
        written(|out| backend::backend_key_data(out, process, &secret.to_be_bytes()))
    }

    pub fn ready() -> Vec<u8> {
        written(|out| backend::ready_for_query(out, b'I'))
    }

    /// An error after which the session goes on.
    pub fn error(sqlstate: &str, text: &str) -> Vec<u8> {
        let fields = ErrorFields::fatal(sqlstate, text).severity(Severity::Error);
        written(|out| backend::error(out, &fields))
    }

    pub fn fatal(sqlstate: &str, text: &str) -> Vec<u8> {
        written(|out| backend::error(out, &ErrorFields::fatal(sqlstate, text)))
    }

    pub fn warning(sqlstate: &str, text: &str) -> Vec<u8> {
        let fields = ErrorFields::fatal(sqlstate, text).severity(Severity::Warning);
        written(|out| backend::notice(out, &fields))
    }

    /// A result of one row.
    pub fn row(values: &[&str]) -> Vec<u8> {
        let count = (values.len() as u16).to_be_bytes();
        let column: &[u8] = b"?column?\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
        let columns = [&count[..], &column.repeat(values.len())].concat();
        let mut fields = count.to_vec();
        for value in values {
            fields.extend((value.len() as u32).to_be_bytes());
            fields.extend(value.as_bytes());
        }
        [message(b'T', &columns), message(b'D', &fields), message(b'C', b"SELECT 1\0")].concat()
    }

    /// The answer to a ping.
    pub fn pong() -> Vec<u8> {
        [row(&["1"]), ready()].concat()
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }
}
