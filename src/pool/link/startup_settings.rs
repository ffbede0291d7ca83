//! Whether the session still has the settings that its client asked for when it connected. Pure.

use super::TransactionStatus;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupSettings {
    /// It has them: each text that may reset one was read, and is put right.
    Kept,
    /// It has them so far. A text was sent that was not read: a `SET` of it may reset one.
    HasUnread,
    /// Such a `SET` was executed. To find out needs a query, and there are things that can be set only before the first
    /// query of a transaction.
    InDoubt,
    /// It has taken them back to what they were when it was opened.
    Reset { has_unread: bool },
}

impl StartupSettings {
    /// A text is sent that was not read.
    pub fn unread(&mut self) {
        *self = match *self {
            StartupSettings::Kept | StartupSettings::HasUnread => StartupSettings::HasUnread,
            StartupSettings::InDoubt => StartupSettings::InDoubt,
            StartupSettings::Reset { .. } => StartupSettings::Reset { has_unread: true },
        };
    }

    /// A statement is complete, with this tag and its NUL. `is_read` where its text was: then it is put right, unless a
    /// part of it was not.
    pub fn completed(&mut self, tag: &[u8], is_read: bool) {
        *self = match (tag, *self) {
            (b"DISCARD ALL\0", was) => was.reset(),
            (b"RESET\0", was) if !is_read || was == StartupSettings::HasUnread => was.reset(),
            (b"SET\0", StartupSettings::HasUnread) if !is_read => StartupSettings::InDoubt,
            (_, was) => was,
        };
    }

    fn reset(self) -> Self {
        let has_unread = match self {
            StartupSettings::Kept => false,
            StartupSettings::HasUnread | StartupSettings::InDoubt => true,
            StartupSettings::Reset { has_unread } => has_unread,
        };
        StartupSettings::Reset { has_unread }
    }

    /// The session was asked, and has them again.
    pub fn restored(&mut self) {
        *self = match *self {
            StartupSettings::Kept | StartupSettings::Reset { has_unread: false } => StartupSettings::Kept,
            StartupSettings::HasUnread
            | StartupSettings::InDoubt
            | StartupSettings::Reset { has_unread: true } => StartupSettings::HasUnread,
        };
    }

    /// Whether the session has them no more.
    pub fn are_gone(self) -> bool {
        matches!(self, StartupSettings::Reset { .. })
    }

    /// Whether they are to be restored now, that nothing is under way. `stays` where the session is the client's between
    /// transactions too: else the next one gets the settings of its client anyway.
    pub fn are_due(self, transaction: TransactionStatus, stays: bool) -> bool {
        match (self, transaction) {
            (StartupSettings::Reset { .. }, TransactionStatus::Open) => true,
            (StartupSettings::Reset { .. } | StartupSettings::InDoubt, TransactionStatus::Idle) => stays,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StartupSettings::{self as Settings, HasUnread, InDoubt, Kept, Reset};
    use super::*;

    const ALL: [Settings; 5] =
        [Kept, HasUnread, InDoubt, Reset { has_unread: false }, Reset { has_unread: true }];

    fn after(mut settings: Settings, change: impl Fn(&mut Settings)) -> Settings {
        change(&mut settings);
        settings
    }

    #[test]
    fn each_state_and_event_lead_to_one_state() {
        let unread = ALL.map(|was| after(was, Settings::unread));
        assert_eq!(
            unread,
            [HasUnread, HasUnread, InDoubt, Reset { has_unread: true }, Reset { has_unread: true }]
        );
        let restored = ALL.map(|was| after(was, Settings::restored));
        assert_eq!(restored, [Kept, HasUnread, HasUnread, Kept, HasUnread]);
        let reset = [
            Reset { has_unread: false },
            Reset { has_unread: true },
            Reset { has_unread: true },
            Reset { has_unread: false },
            Reset { has_unread: true },
        ];
        let reset_in_part = [Kept, Reset { has_unread: true }, InDoubt, ALL[3], ALL[4]];
        let set = [Kept, InDoubt, InDoubt, Reset { has_unread: false }, Reset { has_unread: true }];
        for (tag, is_read, expected) in [
            ("DISCARD ALL\0", true, reset),
            ("DISCARD ALL\0", false, reset),
            ("RESET\0", false, reset),
            ("RESET\0", true, reset_in_part),
            ("SET\0", false, set),
            ("SET\0", true, ALL),
            ("SELECT 1\0", false, ALL),
            ("RESET", false, ALL),
        ] {
            let completed = ALL.map(|was| after(was, |settings| settings.completed(tag.as_bytes(), is_read)));
            assert_eq!(completed, expected, "{tag:?} {is_read}");
        }
    }

    #[test]
    fn what_is_in_doubt_waits_for_the_end_of_the_transaction_and_what_is_certain_does_not() {
        use TransactionStatus::{Failed, Idle, Open};
        for (transaction, stays, due) in [
            (Open, true, [false, false, false, true, true]),
            (Open, false, [false, false, false, true, true]),
            (Idle, true, [false, false, true, true, true]),
            (Idle, false, [false; 5]),
            (Failed, true, [false; 5]),
            (Failed, false, [false; 5]),
        ] {
            assert_eq!(
                ALL.map(|settings| settings.are_due(transaction, stays)),
                due,
                "{transaction:?} {stays}"
            );
        }
    }
}
