//! Supervision.

pub mod gate;
