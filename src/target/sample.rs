//! A target for the tests of those who have one.

use std::sync::Arc;

use super::{PasswordSource, Source, Target, TargetName, Tuning, UrlTimings, conninfo};

/// With everything at its default but this name and connection string.
pub fn target(name: &str, string: &str) -> Target {
    let endpoint = conninfo::parse(string).unwrap_or_else(|problems| panic!("{problems:?}")).endpoint;
    Target {
        name: TargetName::new(name).expect("a good name"),
        source: Source::Inline(Arc::new(endpoint)),
        password: PasswordSource::default(),
        service: "test".to_owned(),
        tuning: Arc::new(Tuning::default()),
        own_timings: UrlTimings::default(),
        pool: None,
        idle_policy_unset: false,
    }
}
