//! The door: applications connect here and share proven server sessions.
//!
//! Knows targets and connections; nothing of HTTP, metrics or the process around it.

pub mod greet;
pub mod message;
