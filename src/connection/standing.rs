//! What a ping asks, and what the answer says of the server: alive, primary or standby, writable or not.

use tokio_postgres::SimpleQueryMessage;

use crate::target::{Role, SessionAttrs};

/// What a ping asks. Simple queries both, so that they pass through poolers in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Do you answer?
    Alive,
    /// And what are you?
    Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Alive,
    Standing { standby: bool, read_only: bool },
}

impl Question {
    pub fn for_role(role: Role, attrs: SessionAttrs) -> Self {
        match (role, attrs) {
            (Role::Any, SessionAttrs::Any) => Question::Alive,
            _ => Question::Standing,
        }
    }

    pub const fn sql(self) -> &'static str {
        match self {
            Question::Alive => "SELECT 1",
            Question::Standing => {
                "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')"
            }
        }
    }

    /// `None` where the rows are not the answer to this question.
    pub fn read(self, messages: &[SimpleQueryMessage]) -> Option<Answer> {
        let mut rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let (Some(row), None) = (rows.next(), rows.next()) else {
            return None;
        };
        match (self, row.len()) {
            (Question::Alive, 1) => (row.get(0) == Some("1")).then_some(Answer::Alive),
            (Question::Standing, 2) => Some(Answer::Standing {
                standby: truth(row.get(0)?)?,
                read_only: truth(row.get(1)?)?,
            }),
            _ => None,
        }
    }
}

impl Answer {
    pub const fn role(self) -> Role {
        match self {
            Answer::Alive => Role::Any,
            Answer::Standing { standby: true, .. } => Role::Standby,
            Answer::Standing { standby: false, .. } => Role::Primary,
        }
    }
}

/// Whether a server that answers so is what `target_session_attrs` wants.
pub fn fits(attrs: SessionAttrs, answer: Answer) -> bool {
    match (attrs, answer) {
        (SessionAttrs::Any, _) => true,
        (_, Answer::Alive) => false,
        (SessionAttrs::ReadWrite, Answer::Standing { standby, read_only }) => !standby && !read_only,
        (SessionAttrs::ReadOnly, Answer::Standing { standby, read_only }) => standby || read_only,
        (SessionAttrs::Primary, Answer::Standing { standby, .. }) => !standby,
        (SessionAttrs::Standby | SessionAttrs::PreferStandby, Answer::Standing { standby, .. }) => standby,
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
