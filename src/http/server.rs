//! Accepts, converses, drains.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};

use super::connections::{ConnectionLimits, ConnectionSignal, ConnectionSlot, Connections};
use super::socket::{ClientAddress, Watched};
use super::{App, Scope, routes};
use crate::policy::accept::{AcceptFailure, AcceptFailures};

/// Line and headers of a request; more is answered with 431.
const HEAD_BYTES: usize = 16 * 1024;
/// What hyper may hold of a connection's input, and of small answers to pipelined requests.
const BUFFER_BYTES: usize = 64 * 1024;
/// What the kernel may hold of answers that a client has not read. By itself it holds megabytes for each, and they count
/// against a container's memory.
const UNREAD_BYTES: usize = 128 * 1024;
/// What is read of a client after its last answer, to be dropped.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
const LINGER_CHUNK: usize = 8 * 1024;

/// A listener, and what it serves.
#[derive(Debug)]
pub struct WebListener<L = TcpListener> {
    pub socket: L,
    pub scope: Scope,
}

/// Serves until `stop` turns true or its sender is gone; then stops accepting, lets what is in flight finish, and
/// returns how many answers were cut off.
pub async fn serve<L: Accept>(
    listeners: Vec<WebListener<L>>,
    app: Arc<App>,
    limits: ConnectionLimits,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let connections = Connections::new(limits);
    let mut accept_loops = JoinSet::new();
    for listener in listeners {
        accept_loops.spawn(accept(listener, app.clone(), connections.clone()));
    }
    let _ = stop.wait_for(|stop| *stop).await;
    accept_loops.shutdown().await;
    connections.drain().await
}

/// Serves on a thread of its own, so that no flood of requests elsewhere holds these up. Resolves like [`serve`].
pub fn serve_apart(
    listeners: Vec<WebListener>,
    app: Arc<App>,
    limits: ConnectionLimits,
    stop: watch::Receiver<bool>,
) -> io::Result<oneshot::Receiver<usize>> {
    let (ended, end) = oneshot::channel();
    if listeners.is_empty() {
        return Ok(end);
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    // Each listens in the runtime that it is served by.
    let listeners: io::Result<Vec<_>> =
        listeners.into_iter().map(|listener| Ok((listener.socket.into_std()?, listener.scope))).collect();
    let listeners = listeners?;
    let run = move || {
        let cut = runtime.block_on(async {
            let take = |(socket, scope)| Ok(WebListener { socket: TcpListener::from_std(socket)?, scope });
            match listeners.into_iter().map(take).collect::<io::Result<Vec<_>>>() {
                Ok(listeners) => serve(listeners, app, limits, stop).await,
                Err(error) => {
                    tracing::error!(%error, "the listeners of the health address cannot be used");
                    0
                }
            }
        });
        // Nobody may wait for it any more.
        let _ = ended.send(cut);
        runtime.shutdown_background();
    };
    thread::Builder::new().name("health".to_owned()).spawn(run)?;
    Ok(end)
}

/// Where connections come from.
pub trait Accept: Send + 'static {
    /// What it accepts.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and where it comes from. Dropping the future loses none.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Option<IpAddr>)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, from) = TcpListener::accept(self).await?;
        // Answers are whole: waiting to fill a packet only delays them.
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_send_buffer_size(UNREAD_BYTES)?;
        Ok((stream, Some(from.ip())))
    }
}

/// Runs until its task is ended. Each conversation is a task of its own, which [`Connections`] keeps account of.
async fn accept<L: Accept>(mut listener: WebListener<L>, app: Arc<App>, connections: Arc<Connections>) {
    let mut failures = AcceptFailures::default();
    loop {
        match listener.socket.accept().await {
            Ok((stream, from)) => {
                failures.accepted();
                let place = connections.admit().await;
                let received = Received { app: app.clone(), scope: listener.scope, from };
                tokio::spawn(received.handshake(stream, place));
            }
            Err(error) => match failures.failed(&error, Instant::now().into_std()) {
                AcceptFailure::ClientGone => {
                    tracing::debug!(%error, "a client left before it was accepted");
                }
                AcceptFailure::NoRoom { pause, log } => {
                    if log {
                        tracing::warn!(%error, "cannot accept HTTP connections; closing idle ones, trying again");
                    }
                    connections.make_room();
                    sleep(pause).await;
                }
            },
        }
    }
}

/// What is known of a connection that was accepted.
struct Received {
    app: Arc<App>,
    scope: Scope,
    from: Option<IpAddr>,
}

impl Received {
    /// Converses, by TLS where the rules of the moment want it.
    async fn handshake<S>(self, stream: S, place: ConnectionSlot)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let tls = match self.scope {
            Scope::All => self.app.web.rules.get().tls().cloned(),
            Scope::Health => None,
        };
        let Some(tls) = tls else {
            return self.converse(stream, place).await;
        };
        place.handshake();
        let mut orders = place.orders();
        let handshake = tokio::select! {
            biased;
            _ = orders.changed() => return,
            done = timeout_at(place.deadline(), tls.accept(stream)) => done,
        };
        match handshake {
            Ok(Ok(stream)) => {
                place.handshake_done();
                self.converse(stream, place).await;
            }
            Ok(Err(error)) => tracing::debug!(error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// From the first byte to the end, which comes when hyper, the clock or an order says so.
    async fn converse<S>(self, stream: S, place: ConnectionSlot)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Received { app, scope, from } = self;
        let mut orders = place.orders();
        let place = Arc::new(place);
        let service = service_fn(|mut request: Request<Incoming>| {
            let (app, place) = (app.clone(), place.clone());
            let pipelined = place.asked();
            if let Some(from) = from {
                request.extensions_mut().insert(ClientAddress(from));
            }
            // Boxed, so that the socket can be had back from hyper.
            Box::pin(async move {
                if pipelined {
                    // Whoever sends many requests at once waits between them: pings and other clients go first.
                    yield_now().await;
                }
                let reply = routes::answer(&app, scope, request).await;
                place.answered();
                Ok::<_, Infallible>(reply)
            })
        });
        let io = TokioIo::new(Watched::new(stream, place.clone()));
        let mut served = http1::Builder::new()
            .max_header_size(HEAD_BYTES)
            .max_buf_size(BUFFER_BYTES)
            .header_read_timeout(None)
            // Probes ask once. Whoever asks without an end stands in line anew each time.
            .keep_alive(scope == Scope::All)
            .serve_connection(io, service);
        let mut alarm = pin!(sleep_until(place.deadline()));
        let mut lingers = true;
        loop {
            let ended = poll_fn(|cx| match served.poll_without_shutdown(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => poll_alarm(alarm.as_mut(), &place, cx).map(|()| None),
            });
            tokio::select! {
                biased;
                _ = orders.changed() => match *orders.borrow_and_update() {
                    ConnectionSignal::Finish => {
                        lingers = false;
                        Pin::new(&mut served).graceful_shutdown();
                    }
                    ConnectionSignal::Stay | ConnectionSignal::Leave => return,
                },
                result = ended => match result {
                    Some(Ok(())) => break,
                    Some(Err(error)) => {
                        tracing::debug!(%error, "an HTTP connection broke off");
                        break;
                    }
                    None => return,
                },
            }
        }
        let socket = served.into_parts().io.into_inner();
        part(socket, &place, orders, if lingers { LINGER_BYTES } else { 0 }).await;
    }
}

/// Ends a connection: says so, and reads what the client still sends, so many bytes at the most. A socket that is closed
/// over unread bytes makes the kernel reset the connection, and then the client may lose the answer, too.
async fn part<S>(
    mut socket: S,
    place: &ConnectionSlot,
    mut orders: watch::Receiver<ConnectionSignal>,
    mut unread: usize,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    place.lingers();
    let farewell = async {
        socket.shutdown().await?;
        let mut dropped = vec![0; if unread > 0 { LINGER_CHUNK } else { 0 }];
        while unread > 0 {
            match socket.read(&mut dropped).await? {
                0 => break,
                some => unread = unread.saturating_sub(some),
            }
        }
        Ok::<_, io::Error>(())
    };
    tokio::select! {
        biased;
        _ = orders.changed() => {}
        // The client may be gone already.
        _ = timeout_at(place.deadline(), farewell) => {}
    }
}

/// Whether the phase has lasted too long: what polling the connection has done to it is considered.
fn poll_alarm(mut alarm: Pin<&mut Sleep>, place: &ConnectionSlot, cx: &mut Context<'_>) -> Poll<()> {
    let deadline = place.deadline();
    if alarm.deadline() != deadline {
        alarm.as_mut().reset(deadline);
    }
    alarm.poll(cx)
}
