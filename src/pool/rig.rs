//! For tests: a pool of one session that a client has, and a server in memory that notes what it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::core::{Availability, ClientId, Health, PoolEvent, SessionId};
use super::driver::{Acquired, Work};
use super::server::Server;
use super::shared::{PoolConfig, Shared};
use crate::connection::{Detached, Postgres, SessionRoute};
use crate::protocol::{ErrorFields, Frame, Severity, backend, message};
use crate::status::sample;
use crate::target::{self, pool::Pool};

pub const CLIENT: ClientId = ClientId(1);

/// See the module.
pub struct Rig {
    pub shared: Arc<Shared>,
    pub works: mpsc::UnboundedReceiver<Work>,
    pub closings: mpsc::UnboundedReceiver<SessionId>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    /// `answer` is given the text of a query, or a message's type, and returns what the server says; it hangs up where
    /// there is nothing.
    pub async fn new(answer: impl FnMut(&str) -> Option<Vec<u8>> + Send + 'static) -> (Self, Box<Server>) {
        let string = "host=db user=app password=secret dbname=db sslmode=disable";
        let target = Arc::new(target::sample::target("db", string));
        let pool = Arc::new(Pool { size: 1, min_idle: 0, ..sample::pool() });
        let config = PoolConfig { target: Arc::clone(&target), pool, acceptor: None };
        let (shared, mut works, closings) = Shared::new(Arc::new(config), Postgres::new());
        let live = Health { availability: Availability::Live, ..Health::UNKNOWN };
        shared.driver.tell(PoolEvent::Target(live));
        let Acquired::Later(granted) = shared.driver.acquire(CLIENT, None) else {
            panic!("none is open yet")
        };
        let Some(Work::Open { slot, .. }) = works.recv().await else { panic!("one is to be opened") };
        let (near, far) = duplex(1 << 16);
        let asked = Arc::default();
        tokio::spawn(serve(far, answer, Arc::clone(&asked)));
        let parameters = BTreeMap::from([("client_encoding".to_owned(), "UTF8".to_owned())]);
        let route = SessionRoute::of_nowhere();
        let detached = Detached { stream: Box::new(near), process_id: 1, secret_key: 2, parameters, route };
        let generation = shared.driver.generation();
        shared.driver.opened(Box::new(Server::new(detached, target, slot)), generation, None);
        let server = granted.await.unwrap().unwrap();
        (Rig { shared, works, closings, asked }, server)
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// What the driver wants done next.
    pub async fn work(&mut self) -> Work {
        let work = timeout(Duration::from_secs(1), self.works.recv()).await;
        work.expect("something is to be done").expect("the driver is there")
    }

    /// Whether the next client gets the session.
    pub fn is_ready(&self) -> bool {
        matches!(self.shared.driver.acquire(CLIENT, None), Acquired::Now(Ok(_)))
    }
}

async fn serve(
    mut far: DuplexStream,
    mut answer: impl FnMut(&str) -> Option<Vec<u8>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut bytes = Vec::new();
    loop {
        while let Ok(Some(frame)) = Frame::read(&bytes)
            && frame.len <= bytes.len()
        {
            let message: Vec<u8> = bytes.drain(..frame.len).collect();
            let text = String::from_utf8_lossy(&message[Frame::HEADER..]).trim_end_matches('\0').to_owned();
            let text = if frame.tag == b'Q' { text } else { char::from(frame.tag).into() };
            asked.lock().unwrap().push(text.clone());
            match answer(&text).filter(|_| frame.tag != b'X') {
                Some(said) => far.write_all(&said).await.unwrap(),
                None => return,
            }
        }
        if !matches!(far.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

/// ReadyForQuery.
pub fn ready(status: u8) -> Vec<u8> {
    let mut out = Vec::new();
    backend::ready_for_query(&mut out, status);
    out
}

/// CommandComplete.
pub fn complete(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"])
}

/// DataRow of these texts.
pub fn row(values: &[&str]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    message(b'D', &[&body])
}

/// An ErrorResponse that ends the session, or one that does not.
pub fn error(sqlstate: &'static str, is_fatal: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = ErrorFields::fatal(sqlstate, "said by the server");
    let severity = if is_fatal { Severity::Fatal } else { Severity::Error };
    backend::error(&mut out, &fields.severity(severity));
    out
}
