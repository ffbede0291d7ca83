//! Why clients of a pool were not let in.

/// Why a client was not let in. One that just hangs up, as a port check does, is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoginFailure {
    /// It did not have the password, or came as another user where a password is asked for.
    Password,
    /// It came as another user where none is asked for.
    User,
    Database,
    /// The TLS handshake failed, or TLS is demanded and was not begun.
    Tls,
    /// What it sent is not PostgreSQL's protocol.
    Protocol,
    /// It asked for what a pool does not offer, such as replication.
    Unsupported,
    /// The server does not take a setting that it came with, or it came with too many.
    Setting,
    /// It had not logged in within `login_timeout`.
    Timeout,
    /// It had been silent for the longest time when a new connection needed its slot.
    Displaced,
    /// As many clients as the pool takes are connected.
    MaxClients,
    /// As many clients are connected as the process has file descriptors for.
    Descriptors,
    /// What clients are checked by is missing or cannot be read.
    Config,
}

/// Clients that were not let in, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoginFailures([u64; LoginFailure::ALL.len()]);

impl LoginFailure {
    /// In the order of the series that show them.
    pub const ALL: [LoginFailure; 12] = [
        LoginFailure::Password,
        LoginFailure::User,
        LoginFailure::Database,
        LoginFailure::Tls,
        LoginFailure::Protocol,
        LoginFailure::Unsupported,
        LoginFailure::Setting,
        LoginFailure::Timeout,
        LoginFailure::Displaced,
        LoginFailure::MaxClients,
        LoginFailure::Descriptors,
        LoginFailure::Config,
    ];

    /// The word in metrics and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            LoginFailure::Password => "password",
            LoginFailure::User => "user",
            LoginFailure::Database => "database",
            LoginFailure::Tls => "tls",
            LoginFailure::Protocol => "protocol",
            LoginFailure::Unsupported => "unsupported",
            LoginFailure::Setting => "setting",
            LoginFailure::Timeout => "timeout",
            LoginFailure::Displaced => "displaced",
            LoginFailure::MaxClients => "max_clients",
            LoginFailure::Descriptors => "descriptors",
            LoginFailure::Config => "config",
        }
    }
}

impl LoginFailures {
    pub fn count(&mut self, why: LoginFailure) {
        self.0[why as usize] += 1;
    }

    pub fn get(&self, why: LoginFailure) -> u64 {
        self.0[why as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_reason_has_a_word_and_a_counter_of_its_own() {
        let mut failures = LoginFailures::default();
        for (i, why) in LoginFailure::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, i);
            (0..=i).for_each(|_| failures.count(why));
        }
        assert!(LoginFailure::ALL.iter().enumerate().all(|(i, why)| failures.get(*why) == i as u64 + 1));
        let words: HashSet<_> = LoginFailure::ALL.iter().map(|why| why.as_str()).collect();
        assert_eq!(words.len(), LoginFailure::ALL.len());
    }
}
