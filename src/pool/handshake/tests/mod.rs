//! Clients of all kinds, from tokio-postgres to random bytes, against the whole handshake.

mod hostile;
mod libraries;
mod packets;
mod passwords;

use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::protocol::frontend::{self, GSS_ENC_REQUEST, SSL_REQUEST, VERSION_3, packet, startup};
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
            Came::Rejected(Rejected::Told(rejection)) => rejection.message,
            other => panic!("{other:?}"),
        }
    }
}

/// A login that may take for ever.
fn attempt() -> LoginAttempt {
    LoginAttempt {
        progress: LoginProgress::new(Instant::now()),
        penalties: Arc::default(),
        expired: Box::pin(std::future::pending()),
    }
}

/// Authenticates at the other end of a pipe that holds `capacity` bytes, and hangs up.
fn server(policy: AuthPolicy<'static>, capacity: usize) -> (DuplexStream, JoinHandle<Came>) {
    let (client, server) = duplex(capacity);
    let handshake = async move {
        match timeout(LIMIT, authenticate(Box::new(server), policy, attempt()))
            .await
            .expect("the handshake hangs")
        {
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

fn ssl_request() -> Vec<u8> {
    packet(SSL_REQUEST, b"")
}

fn gss_request() -> Vec<u8> {
    packet(GSS_ENC_REQUEST, b"")
}

fn cancel_request(key: &CancelKey) -> Vec<u8> {
    frontend::cancel_request(key.process_id, &key.secret)
}

fn startup_message() -> Vec<u8> {
    startup(VERSION_3, &[("user", "app"), ("database", "orders")])
}

/// Bytes that end in an ErrorResponse with this SQLSTATE.
fn ends_in(heard: &[u8], sqlstate: &str) -> bool {
    let heard = String::from_utf8_lossy(heard);
    heard.contains(&format!("SFATAL\0VFATAL\0C{sqlstate}\0M")) && heard.ends_with("\0\0")
}
