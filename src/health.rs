//! `/health`.
