//! What a command writes to one of its pipes, bounded.

use std::mem;

use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

use crate::target::Secret;

/// What is read at once.
const CHUNK: usize = 4 << 10;

/// What came of a pipe.
pub struct PipeText {
    pub bytes: Zeroizing<Vec<u8>>,
    /// The beginning of it is gone.
    pub is_cut: bool,
}

/// What comes of one pipe: at the most its limit and one more read.
pub struct CommandPipe<P> {
    pipe: Option<P>,
    limit: usize,
    /// With room for all of it: a buffer that grows would leave pieces of a secret behind.
    bytes: Zeroizing<Vec<u8>>,
    is_cut: bool,
}

impl<P: AsyncRead + Unpin> CommandPipe<P> {
    pub fn new(pipe: Option<P>, limit: usize) -> Self {
        CommandPipe { pipe, limit, bytes: Zeroizing::new(Vec::with_capacity(limit + CHUNK)), is_cut: false }
    }

    /// Reads what is there, or waits for it. True at the end. Dropping the future loses nothing.
    pub async fn read(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return true };
        let room = (self.limit + CHUNK).saturating_sub(self.bytes.len()).min(CHUNK) as u64;
        let read = pipe.take(room).read_buf(&mut *self.bytes).await;
        let ended = matches!(read, Ok(0) | Err(_));
        if ended {
            self.pipe = None;
        }
        ended
    }

    /// More came than is allowed.
    pub fn is_over(&self) -> bool {
        self.bytes.len() > self.limit
    }

    /// The end of it tells most: a stack trace comes before its message.
    pub fn keep_the_end(&mut self) {
        if let Some(surplus) = self.bytes.len().checked_sub(self.limit).filter(|surplus| *surplus > 0) {
            self.bytes.drain(..surplus);
            self.is_cut = true;
        }
    }

    pub fn take(&mut self) -> PipeText {
        PipeText { bytes: mem::take(&mut self.bytes), is_cut: self.is_cut }
    }

    /// The first line of the output, without its end.
    pub fn password(&self) -> Result<Secret, &'static str> {
        let line = self.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line {
            _ if self.is_over() => Err("printed more than 64 KiB"),
            [] if self.bytes.is_empty() => Err("printed nothing"),
            [] => Err("printed an empty first line, which should be the password"),
            b"{" | b"[" if self.bytes.len() > line.len() + 1 => {
                Err("printed JSON over several lines: let it print the password alone, on the first line")
            }
            _ if line.contains(&0) => Err("printed a NUL byte, which no password can hold"),
            _ => Ok(Secret::new(line)),
        }
    }
}
