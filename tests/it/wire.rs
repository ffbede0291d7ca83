//! The messages of PostgreSQL's protocol as the tests write and read them by hand, beside those that pgtether writes.

use std::io;

use pgtether::protocol;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A message that was received: its type and its body.
pub type Message = (u8, Vec<u8>);

pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    protocol::message(tag, &[body])
}

/// Texts, each with its final NUL.
pub fn text(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect()
}

/// The first packet of a client of protocol 3.0.
pub fn startup(user: &str, database: &str) -> Vec<u8> {
    let parameters = [("user", user), ("database", database)];
    protocol::frontend::startup(protocol::frontend::VERSION_3, &parameters)
}

/// Parse, under this name, of a statement with one parameter that is text.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    const TEXT: u32 = 25;
    message(b'P', &[&text(&[name, sql])[..], &[0, 1], &TEXT.to_be_bytes()].concat())
}

/// Bind of that statement to one value, Execute, and Sync.
pub fn execute(name: &str, value: &str) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let bind = [&text(&["", name])[..], &[0, 0, 0, 1], &length, value.as_bytes(), &[0, 0]].concat();
    [message(b'B', &bind), message(b'E', &[0, 0, 0, 0, 0]), message(b'S', &[])].concat()
}

/// The next message of a server, whole.
pub async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    let tag = stream.read_u8().await?;
    let length = stream.read_u32().await?.saturating_sub(4);
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    Ok((tag, body))
}

/// The types of messages, to compare and to print.
pub fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// A field of the last ErrorResponse, such as `C` for its SQLSTATE.
pub fn error_field(messages: &[Message], field: u8) -> Option<String> {
    let (_, body) = messages.iter().rev().find(|(tag, _)| *tag == b'E')?;
    Some(String::from_utf8_lossy(protocol::error_field(body, field)?).into_owned())
}
