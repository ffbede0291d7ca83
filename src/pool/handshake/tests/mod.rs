//! Clients of all kinds, from tokio-postgres to random bytes, against the whole handshake.

mod drivers;
mod hostile;
mod packets;

use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::target::Secret;

/// Nothing here takes that long.
const LIMIT: Duration = Duration::from_secs(20);
const PASSWORD: &str = "hunter2";

/// What all tests log in to: user `app`, database `orders`.
struct Fixture {
    verifier: Verifier,
    acceptor: Acceptor,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture {
    verifier: Verifier::new(&Secret::new(PASSWORD)).unwrap(),
    acceptor: Acceptor::self_signed().unwrap(),
});

fn policy() -> AuthPolicy<'static> {
    let Fixture { verifier, acceptor } = &*FIXTURE;
    AuthPolicy {
        auth: Auth::Scram,
        acceptor: Some(acceptor),
        demand_tls: false,
        user: "app",
        database: "orders",
        verifier: Some(verifier),
    }
}

fn plain() -> AuthPolicy<'static> {
    AuthPolicy { acceptor: None, ..policy() }
}

fn trusting() -> AuthPolicy<'static> {
    AuthPolicy { auth: Auth::Trust, acceptor: None, verifier: None, ..policy() }
}

/// What became of a client whose stream nobody needs any more.
#[derive(Debug, PartialEq)]
enum Came {
    In { startup: Startup, pending: Vec<u8> },
    Cancel(CancelKey),
    Rejected(Rejected),
}

impl Came {
    /// Why it was refused.
    fn told(self) -> String {
        match self {
            Came::Rejected(Rejected::Told(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

/// Authenticates at the other end of a pipe that holds `room` bytes, and hangs up.
fn server(policy: AuthPolicy<'static>, room: usize) -> (DuplexStream, JoinHandle<Came>) {
    let (client, server) = duplex(room);
    let handshake = async move {
        match timeout(LIMIT, authenticate(Box::new(server), policy)).await.expect("the handshake hangs") {
            Ok(Outcome::Client(client)) => Came::In { startup: client.startup, pending: client.pending },
            Ok(Outcome::Cancel(key, _)) => Came::Cancel(key),
            Err(refused) => Came::Rejected(refused),
        }
    };
    (client, tokio::spawn(handshake))
}

/// A client that comes with these bytes and no others, and all that it hears.
async fn hear(policy: AuthPolicy<'static>, bytes: &[u8]) -> (Vec<u8>, Came) {
    let (mut client, handshake) = server(policy, 1 << 17);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let came = handshake.await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    (heard, came)
}

/// A packet without a tag: its length, its code, and what follows.
fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

fn ssl_request() -> Vec<u8> {
    packet(80_877_103, b"")
}

fn gss_request() -> Vec<u8> {
    packet(80_877_104, b"")
}

fn cancel_request(key: &CancelKey) -> Vec<u8> {
    packet(80_877_102, &[&key.process_id.to_be_bytes()[..], &key.secret].concat())
}

fn startup(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
    let texts: Vec<u8> =
        pairs.iter().flat_map(|(name, value)| format!("{name}\0{value}\0").into_bytes()).collect();
    packet(version, &[&texts[..], b"\0"].concat())
}

fn startup_message() -> Vec<u8> {
    startup(V3_0, &[("user", "app"), ("database", "orders")])
}

const V3_0: u32 = 0x0003_0000;

/// Bytes that end in an ErrorResponse with this SQLSTATE.
fn ends_in(heard: &[u8], sqlstate: &str) -> bool {
    let heard = String::from_utf8_lossy(heard);
    heard.contains(&format!("SFATAL\0VFATAL\0C{sqlstate}\0M")) && heard.ends_with("\0\0")
}
