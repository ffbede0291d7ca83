//! PostgreSQL's protocol as bytes: frames, the fields of an error, and the messages that are written here.
//!
//! ```text
//! frame      type, length, body; texts that end in NUL     fields     of an ErrorResponse or a NoticeResponse
//! backend    what a server sends                            sqlstate   an error's code
//! frontend   what a client sends
//! ```
//!
//! Pure: knows no socket, and not why something is sent. What the body of a message means is its reader's, errors aside.

pub mod backend;
mod fields;
mod frame;
pub mod frontend;
mod sqlstate;

/// PostgreSQL's name in ALPN.
pub const ALPN: &[u8] = b"postgresql";
/// As it stands in a list: with its length.
pub const ALPN_LIST: &[u8] = b"\x0apostgresql";

pub use fields::{ErrorFields, Severity, error_field};
pub use frame::{Frame, Violation, message, put, text};
pub use sqlstate::Sqlstate;
