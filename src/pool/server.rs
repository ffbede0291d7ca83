//! A server session of the pool: its stream, what it has been told, and the few things that the pool itself asks of it.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::leftovers::Hints;
use super::session_slot::SessionSlot;
use super::settings::SessionSettings;
use super::statements::ServerStatements;
use crate::connection::{Detached, SessionRoute, Stream};
use crate::protocol::{Frame, error_field, frontend, text};
use crate::target::Target;

/// A goodbye is a courtesy: no server may keep us longer with it.
const GOODBYE: Duration = Duration::from_secs(1);
/// An error that is longer is not kept, nor a row.
const LONGEST_ERROR: usize = 1 << 14;
/// So many bytes of rows are kept of an answer.
const ROWS: usize = 1 << 16;

/// A server session.
pub struct Server {
    pub stream: Stream,
    pub backend: Arc<Backend>,
    pub statements: ServerStatements,
    pub settings: SessionSettings,
    /// What the client that has it, or had it last, may have left on it.
    pub hints: Hints,
    /// When the server last said something.
    pub heard: Instant,
    pub slot: SessionSlot,
}

/// What others than its holder may know of a session.
#[derive(Debug)]
pub struct Backend {
    pub process_id: i32,
    pub secret_key: i32,
    /// How it was reached: a cancel request takes the same route.
    pub route: SessionRoute,
    /// As it was configured when it was opened.
    pub target: Arc<Target>,
    /// To be closed as soon as no client has it.
    retired: AtomicBool,
    /// Cancel requests under way: until they have ended, no other client may have it.
    cancels: AtomicUsize,
    cancelled: Notify,
}

/// What the server said to something the pool asked.
#[derive(Debug, Default)]
pub struct Said {
    /// The first ErrorResponse's body.
    pub error: Option<Vec<u8>>,
    /// Of the last ReadyForQuery.
    pub status: u8,
    /// Of all its statements; an answer that has more than is kept of one has `too_long` set.
    pub rows: Vec<AnswerRow>,
    pub too_long: bool,
    /// What it said without being asked: notifications, notices and settings, as messages.
    pub unasked: Vec<u8>,
}

/// A row's values as texts.
pub type AnswerRow = Vec<Option<String>>;

impl Server {
    /// Takes over a session that has just logged in.
    pub fn new(detached: Detached, target: Arc<Target>, slot: SessionSlot) -> Self {
        let Detached { stream, process_id, secret_key, parameters, route } = detached;
        Server {
            stream,
            backend: Arc::new(Backend {
                process_id,
                secret_key,
                route,
                target,
                retired: AtomicBool::new(false),
                cancels: AtomicUsize::new(0),
                cancelled: Notify::new(),
            }),
            statements: ServerStatements::default(),
            settings: SessionSettings::new(parameters),
            hints: Hints::default(),
            heard: Instant::now(),
            slot,
        }
    }

    /// Runs statements and waits until the server is ready again.
    pub async fn run(&mut self, sql: &str) -> io::Result<Said> {
        self.stream.write_all(&frontend::query(sql)).await?;
        self.stream.flush().await?;
        self.until_ready(1).await
    }

    /// Whether it still answers.
    pub async fn ping(&mut self) -> bool {
        matches!(self.run("SELECT 1").await, Ok(Said { error: None, status: b'I', .. }))
    }

    /// Ends a client's messages that no Sync has followed.
    pub async fn sync(&mut self) -> io::Result<()> {
        self.stream.write_all(b"S\0\0\0\x04").await?;
        self.stream.flush().await
    }

    /// Back to how it was opened.
    pub async fn discard_all(&mut self) -> io::Result<Said> {
        let said = self.run("DISCARD ALL").await?;
        if said.error.is_none() {
            self.statements.clear();
            self.settings.were_reset();
            self.hints = Hints::default();
        }
        Ok(said)
    }

    /// Reads until so many ReadyForQuery have come.
    pub async fn until_ready(&mut self, mut ready: usize) -> io::Result<Said> {
        let mut said = Said::default();
        let mut bytes: Vec<u8> = Vec::new();
        let (mut skip, mut kept) = (0, 0);
        while ready > 0 {
            if self.stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut at = 0;
            loop {
                let skipped = skip.min(bytes.len() - at);
                (at, skip) = (at + skipped, skip - skipped);
                let rest = &bytes[at..];
                let Some(frame) = Frame::read(rest).map_err(|v| io::Error::other(v.message))? else {
                    break;
                };
                if !matters(frame) {
                    said.too_long |= frame.tag == b'D';
                    skip = frame.len;
                    continue;
                }
                if rest.len() < frame.len {
                    break;
                }
                let body = &rest[Frame::HEADER..frame.len];
                if matches!(frame.tag, b'A' | b'N' | b'S') && said.unasked.len() < ROWS {
                    said.unasked.extend_from_slice(&rest[..frame.len]);
                }
                match frame.tag {
                    b'Z' => {
                        said.status = body.first().copied().unwrap_or_default();
                        ready = ready.saturating_sub(1);
                    }
                    b'E' if said.error.is_none() => said.error = Some(body.to_vec()),
                    b'S' => self.report(body),
                    b'D' => {
                        kept += body.len();
                        match self.row(body) {
                            Some(row) if kept <= ROWS => said.rows.push(row),
                            _ => said.too_long = true,
                        }
                    }
                    // It waits for data, in which no cancel request reaches it.
                    b'G' => return Err(io::ErrorKind::WouldBlock.into()),
                    _ => {}
                }
                at += frame.len;
            }
            bytes.drain(..at);
        }
        self.heard = Instant::now();
        // Nothing may be left over: the next client's answers begin at a message's start.
        if bytes.is_empty() && skip == 0 { Ok(said) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// A DataRow's body. What is not ASCII, where clients do not speak UTF-8, is not read.
    fn row(&self, body: &[u8]) -> Option<AnswerRow> {
        let is_utf8 = self.settings.reported().get("client_encoding").is_some_and(|name| name == "UTF8");
        let (count, mut rest) = body.split_first_chunk::<2>()?;
        let mut row = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, values) = rest.split_first_chunk::<4>()?;
            rest = values;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                row.push(None);
                continue;
            };
            let (value, values) = rest.split_at_checked(length)?;
            rest = values;
            row.push(Some(match is_utf8 || value.is_ascii() {
                true => String::from_utf8_lossy(value).into_owned(),
                false => char::REPLACEMENT_CHARACTER.to_string(),
            }));
        }
        Some(row)
    }

    fn report(&mut self, body: &[u8]) {
        if let Some((name, (value, _))) = text(body).and_then(|(name, rest)| Some((name, text(rest)?))) {
            self.settings.report(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
        }
    }

    /// Watches it while nobody has it. Ready when it can't be used any more: it has ended, or is about to.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [const { MaybeUninit::uninit() }; 1024];
            let mut buf = ReadBuf::uninit(&mut bytes);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)).is_err() {
                return Poll::Ready(());
            }
            if !self.hears(buf.filled()) {
                return Poll::Ready(());
            }
        }
    }

    /// What a server may say by itself: a setting changed by a reload, a notice. An error is its last word, and a
    /// message in parts, from a session that nobody uses, is not waited for.
    fn hears(&mut self, mut bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return false;
        }
        self.heard = Instant::now();
        while !bytes.is_empty() {
            match Frame::read(bytes) {
                Ok(Some(Frame { tag: b'S' | b'N' | b'A', len })) if len <= bytes.len() => {
                    if bytes[0] == b'S' {
                        self.report(&bytes[Frame::HEADER..len]);
                    }
                    // The notice of an immediate shutdown: its end follows.
                    if bytes[0] == b'N' && is_last_word(&bytes[Frame::HEADER..len]) {
                        return false;
                    }
                    bytes = &bytes[len..];
                }
                _ => return false,
            }
        }
        true
    }

    /// Says goodbye and waits, shortly, until the server has closed: only then is its place free there.
    pub async fn close(mut self) {
        let goodbye = async {
            let _ = self.stream.write_all(&frontend::terminate()).await;
            let _ = self.stream.shutdown().await;
            let mut rest = [0; 512];
            while let Ok(1..) = self.stream.read(&mut rest).await {}
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

fn matters(frame: Frame) -> bool {
    match frame.tag {
        b'Z' | b'G' => true,
        b'E' | b'S' | b'D' | b'A' | b'N' => frame.len <= LONGEST_ERROR,
        _ => false,
    }
}

/// A notice of class 57P: the server is going down.
fn is_last_word(body: &[u8]) -> bool {
    error_field(body, b'C').is_some_and(|code| code.starts_with(b"57P"))
}

impl Backend {
    /// Whether it is to be closed as soon as no client has it.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// A cancel request is on its way to it.
    pub fn cancel_begins(&self) {
        self.cancels.fetch_add(1, Ordering::AcqRel);
    }

    pub fn cancel_ends(&self) {
        self.cancels.fetch_sub(1, Ordering::AcqRel);
        self.cancelled.notify_waiters();
    }

    pub fn is_being_cancelled(&self) -> bool {
        self.cancels() > 0
    }

    /// How many cancel requests are on their way to it.
    pub fn cancels(&self) -> usize {
        self.cancels.load(Ordering::Acquire)
    }

    /// Waits until no cancel request is under way.
    pub async fn not_being_cancelled(&self) {
        loop {
            let ended = self.cancelled.notified();
            if !self.is_being_cancelled() {
                return;
            }
            ended.await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("process_id", &self.backend.process_id).finish_non_exhaustive()
    }
}
