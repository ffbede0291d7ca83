//! How to be patient: pure rules over std alone. Time and randomness are arguments; nothing here waits or acts.

pub mod backoff;
pub mod breaker;
pub mod guard;
pub mod idle;
