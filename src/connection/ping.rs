//! What a ping asks, and what the answer says of the server: alive, primary or standby, writable or not.

use std::collections::BTreeMap;

use tokio_postgres::SimpleQueryMessage;

use crate::target::{Role, SessionAttrs};

/// What a ping asks. Simple queries both, so that they pass through poolers in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingQuery {
    /// Do you answer?
    Alive,
    /// Are you a standby, are you read-only?
    Role,
}

/// What the server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingAnswer {
    Alive,
    Role { standby: bool, read_only: bool },
}

impl PingQuery {
    pub fn for_role(role: Role, attrs: SessionAttrs) -> Self {
        match (role, attrs) {
            (Role::Any, SessionAttrs::Any) => PingQuery::Alive,
            _ => PingQuery::Role,
        }
    }

    pub const fn sql(self) -> &'static str {
        match self {
            PingQuery::Alive => "SELECT 1",
            PingQuery::Role => {
                "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')"
            }
        }
    }

    /// `None` where the rows are not the answer to this query.
    pub fn read(self, messages: &[SimpleQueryMessage]) -> Option<PingAnswer> {
        let mut rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let (Some(row), None) = (rows.next(), rows.next()) else {
            return None;
        };
        match (self, row.len()) {
            (PingQuery::Alive, 1) => (row.get(0) == Some("1")).then_some(PingAnswer::Alive),
            (PingQuery::Role, 2) => {
                Some(PingAnswer::Role { standby: truth(row.get(0)?)?, read_only: truth(row.get(1)?)? })
            }
            _ => None,
        }
    }
}

impl PingAnswer {
    /// The role that it tells; where it was not asked for the role that the server reported, which servers do since
    /// PostgreSQL 14, anew with the answer that follows a change; else `Role::Any`.
    pub fn role_beside(self, reported: &BTreeMap<String, String>) -> Role {
        let standby = match self {
            PingAnswer::Role { standby, .. } => Some(standby),
            PingAnswer::Alive => reported.get("in_hot_standby").and_then(|value| truth(value)),
        };
        match standby {
            Some(true) => Role::Standby,
            Some(false) => Role::Primary,
            None => Role::Any,
        }
    }
}

/// Whether a server that answers so is what `target_session_attrs` wants.
pub fn fits(attrs: SessionAttrs, answer: PingAnswer) -> bool {
    match (attrs, answer) {
        (SessionAttrs::Any, _) => true,
        (_, PingAnswer::Alive) => false,
        (SessionAttrs::ReadWrite, PingAnswer::Role { standby, read_only }) => !standby && !read_only,
        (SessionAttrs::ReadOnly, PingAnswer::Role { standby, read_only }) => standby || read_only,
        (SessionAttrs::Primary, PingAnswer::Role { standby, .. }) => !standby,
        (SessionAttrs::Standby | SessionAttrs::PreferStandby, PingAnswer::Role { standby, .. }) => standby,
    }
}

/// What a person reads after "the server is not a".
pub const fn wanted(attrs: SessionAttrs) -> &'static str {
    match attrs {
        SessionAttrs::Any => "server",
        SessionAttrs::ReadWrite => "read-write server",
        SessionAttrs::ReadOnly => "read-only server",
        SessionAttrs::Primary => "primary",
        SessionAttrs::Standby | SessionAttrs::PreferStandby => "standby",
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "t" | "on" => Some(true),
        "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_what_the_answer_tells_else_what_the_server_reported_else_unknown() {
        let reported = |value: &str| BTreeMap::from([("in_hot_standby".to_owned(), value.to_owned())]);
        let asked = |standby| PingAnswer::Role { standby, read_only: standby };
        for (answer, reported, role) in [
            (PingAnswer::Alive, BTreeMap::new(), Role::Any),
            (PingAnswer::Alive, reported("on"), Role::Standby),
            (PingAnswer::Alive, reported("off"), Role::Primary),
            (PingAnswer::Alive, reported("maybe"), Role::Any),
            (asked(true), reported("off"), Role::Standby),
            (asked(false), BTreeMap::new(), Role::Primary),
        ] {
            assert_eq!(answer.role_beside(&reported), role, "{answer:?} {reported:?}");
        }
    }

    #[test]
    fn each_wish_is_met_by_the_servers_that_libpq_takes_for_it() {
        let server = |standby, read_only| PingAnswer::Role { standby, read_only };
        let writable = server(false, false);
        let read_only_primary = server(false, true);
        let standby = server(true, true);
        for (attrs, expected) in [
            (SessionAttrs::Any, [true, true, true]),
            (SessionAttrs::ReadWrite, [true, false, false]),
            (SessionAttrs::ReadOnly, [false, true, true]),
            (SessionAttrs::Primary, [true, true, false]),
            (SessionAttrs::Standby, [false, false, true]),
            (SessionAttrs::PreferStandby, [false, false, true]),
        ] {
            let met = [writable, read_only_primary, standby].map(|answer| fits(attrs, answer));
            assert_eq!(met, expected, "{attrs:?}");
        }
    }

    #[test]
    fn more_is_asked_only_where_somebody_wants_to_know() {
        assert_eq!(PingQuery::for_role(Role::Any, SessionAttrs::Any), PingQuery::Alive);
        assert_eq!(PingQuery::for_role(Role::Standby, SessionAttrs::Any), PingQuery::Role);
        assert_eq!(PingQuery::for_role(Role::Any, SessionAttrs::ReadWrite), PingQuery::Role);
    }

    #[test]
    fn only_postgresqls_own_words_are_a_truth() {
        assert_eq!(
            [truth("t"), truth("on"), truth("f"), truth("off")].map(Option::unwrap),
            [true, true, false, false]
        );
        assert_eq!(truth("yes"), None);
    }
}
