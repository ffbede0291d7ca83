//! HTTP as those who measure need it: timed, without panics, on a connection of its own or on one that is kept.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT_ENCODING, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// After that a request counts as failed.
const LIMIT: Duration = Duration::from_secs(10);

/// An answer, and how long it took from before the connect, where it needed one, to its last byte.
#[derive(Debug)]
pub struct Timed {
    pub status: u16,
    pub body: Bytes,
    pub took: Duration,
}

/// What is asked for by `Accept-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
}

/// A connection that is kept, as Prometheus keeps its own.
pub struct Kept {
    to: SocketAddr,
    encoding: Encoding,
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Kept {
    pub async fn open(to: SocketAddr) -> Result<Kept, String> {
        let stream = TcpStream::connect(to).await.map_err(|e| format!("connect: {e}"))?;
        stream.set_nodelay(true).map_err(|e| format!("nodelay: {e}"))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|e| format!("handshake: {e}"))?;
        Ok(Kept { to, encoding: Encoding::Identity, sender, driver: tokio::spawn(connection) })
    }

    pub fn accepting(mut self, encoding: Encoding) -> Kept {
        self.encoding = encoding;
        self
    }

    pub async fn get(&mut self, path: &str) -> Result<Timed, String> {
        let begun = Instant::now();
        let mut request = Request::builder().uri(path).header(HOST, self.to.to_string());
        if self.encoding == Encoding::Gzip {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        let request = request.body(Empty::new());
        let exchange = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request.unwrap()).await?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((status, body))
        };
        let (status, body) = timeout(LIMIT, exchange)
            .await
            .map_err(|_| format!("GET {path}: no answer within {LIMIT:?}"))?
            .map_err(|e| format!("GET {path}: {e}"))?;
        Ok(Timed { status, body, took: begun.elapsed() })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One request on a connection of its own.
pub async fn get(to: SocketAddr, path: &str) -> Result<Timed, String> {
    let begun = Instant::now();
    let mut connection = Kept::open(to).await?;
    let answer = connection.get(path).await?;
    Ok(Timed { took: begun.elapsed(), ..answer })
}
