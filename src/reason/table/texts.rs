//! The words of servers, poolers and providers, where the SQLSTATE says too little.

use std::time::Duration;

use super::diagnosis;
use crate::reason::Class::{Capacity, Permanent, Starting, Transient};
use crate::reason::Reason::{self, *};
use crate::reason::{Class, Diagnosis};

/// SQLSTATEs that poolers send for nearly everything. PgBouncer keeps no SQLSTATE with the error that it caches.
const SAYS_NOTHING: &[&str] = &["", "08P01", "XX000", "58000"];

/// A row: all of these words, in lower case, are in the message.
struct TextRow {
    words: &'static [&'static str],
    over: Over,
    means: Diagnosis,
}

/// Which SQLSTATEs a row beats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    SaysNothing,
    Any,
}

/// Beats only the SQLSTATEs that say nothing.
const fn text(words: &'static [&'static str], reason: Reason, class: Class) -> TextRow {
    TextRow { words, over: Over::SaysNothing, means: diagnosis(reason, class) }
}

/// Beats every SQLSTATE.
const fn always(words: &'static [&'static str], reason: Reason, class: Class) -> TextRow {
    TextRow { over: Over::Any, ..text(words, reason, class) }
}

impl TextRow {
    const fn at_least(mut self, seconds: u64) -> Self {
        self.means.at_least = Duration::from_secs(seconds);
        self
    }
}

/// Read from above: the first row that fits decides.
#[rustfmt::skip]
const TEXTS: &[TextRow] = &[
    // PostgreSQL. A rejection by pg_hba.conf is about TLS where the connection had none.
    always(&["pg_hba.conf", "no encryption"], Tls, Permanent),
    always(&["pg_hba.conf", "ssl off"], Tls, Permanent),
    always(&["the database system is shutting down"], Shutdown, Starting),
    // Only while it recovers from the crash of one of its processes, never at its start.
    always(&["the database system is in recovery mode"], Crash, Starting),
    text(&["the database system is"], StartingUp, Starting),
    text(&["the database system was"], StartingUp, Starting),
    text(&["no pg_hba.conf entry"], Auth, Permanent),
    text(&["pg_hba.conf rejects"], Auth, Permanent),
    text(&["terminating connection due to administrator command"], Shutdown, Transient),
    text(&["terminating connection due to idle-session timeout"], IdleTimeout, Transient),
    text(&["too many clients"], Reason::Capacity, Capacity),
    text(&["remaining connection slots are reserved"], Reason::Capacity, Capacity),
    text(&["too many connections for"], Reason::Capacity, Capacity),

    // Supavisor: a code of its own in brackets, whatever the SQLSTATE. Its breaker counts what others did too.
    always(&["(ecircuitbreaker)", "authentication"], Auth, Transient).at_least(120),
    always(&["(ecircuitbreaker)", "credentials"], Pooler, Transient).at_least(120),
    always(&["(ecircuitbreaker)"], Pooler, Transient).at_least(30),
    always(&["(emax"], Reason::Capacity, Capacity),
    always(&["(echeckouttimeout)"], Reason::Capacity, Capacity),
    always(&["(enotfound)"], DatabaseMissing, Permanent),
    always(&["(etenantnotfound)"], DatabaseMissing, Permanent),
    always(&["(enoidentifier)"], Config, Permanent),
    always(&["(einvalid"], Config, Permanent),
    always(&["(eaddrnotallowed)"], Blocked, Permanent),
    always(&["(ebanned)"], Blocked, Permanent),
    always(&["(esslrequired)"], Tls, Permanent),
    always(&["(eauthtimeout)"], Timeout, Transient),
    always(&["(eauthquery)"], Pooler, Transient),
    always(&["(edbhandlerexited)"], Pooler, Transient),
    always(&["(epoolterminating)"], Pooler, Transient),
    always(&["(eworkernotfound)"], Pooler, Transient),
    text(&["ssl connection is required"], Tls, Permanent),
    text(&["authentication query failed"], Pooler, Transient),
    text(&["tenant or user not found"], DatabaseMissing, Permanent),
    text(&["max client connections reached"], Reason::Capacity, Capacity),
    text(&["max clients reached"], Reason::Capacity, Capacity),
    text(&["failed to connect to database"], Pooler, Transient),

    // Neon's proxy: first its sentences, then the control plane's names for them.
    text(&["endpoint is disabled"], Blocked, Permanent),
    text(&["endpoint has been disabled"], Blocked, Permanent),
    text(&["endpoint cannot be found"], DatabaseMissing, Permanent),
    text(&["endpoint could not be found"], DatabaseMissing, Permanent),
    text(&["check your quotas"], Quota, Permanent),
    text(&["exceeded the limit of concurrently active endpoints"], Quota, Permanent),
    text(&["exceeded the compute time"], Quota, Permanent),
    text(&["exceeded the rate limit"], Reason::Capacity, Capacity),
    text(&["already has running operations"], Pooler, Transient),
    text(&["exceeded the", "quota"], Quota, Permanent),
    text(&["quota exceeded"], Quota, Permanent),
    text(&["endpoint id is not specified"], Config, Permanent),
    text(&["connection is insecure"], Tls, Permanent),
    text(&["not allowed to connect to this endpoint"], Blocked, Permanent),
    text(&["from a blocked network"], Blocked, Permanent),
    text(&["too many connections to this endpoint"], Reason::Capacity, Capacity),
    text(&["too many connections attempts"], Reason::Capacity, Capacity),
    text(&["too many database connection attempts"], Reason::Capacity, Capacity),
    text(&["couldn't connect to compute node"], Pooler, Transient),
    text(&["authentication timed out"], Timeout, Transient),
    text(&["unsupported authentication method"], Config, Permanent),
    text(&["rate_limit_exceeded"], Reason::Capacity, Capacity),
    text(&["_quota_exceeded"], Quota, Permanent),
    text(&["_compute_time_exceeded"], Quota, Permanent),
    text(&["active_endpoints_limit_exceeded"], Quota, Permanent),
    text(&["_not_found"], DatabaseMissing, Permanent),
    text(&["endpoint_disabled"], Blocked, Permanent),
    text(&["role_protected"], Auth, Permanent),
    text(&["running_operations"], Pooler, Transient),
    text(&["concurrency_limit_reached"], Pooler, Transient),
    text(&["lock_already_taken"], Pooler, Transient),
    text(&["endpoint_idle"], Pooler, Transient),
    text(&["project_under_maintenance"], Pooler, Transient),
    text(&["control plane request failed"], Pooler, Transient),

    // PostgreSQL says this with an administrator's SQLSTATE, but none was there.
    always(&["unexpected postmaster exit"], Crash, Transient),

    // PgBouncer.
    text(&["no such database"], DatabaseMissing, Permanent),
    text(&["no such user"], Auth, Permanent),
    text(&["unsupported startup parameter"], Config, Permanent),
    text(&["no more connections allowed"], Reason::Capacity, Capacity),
    text(&["client connections exceeded"], Reason::Capacity, Capacity),
    text(&["query_wait_timeout"], Reason::Capacity, Capacity),
    text(&["bouncer resources exhaustion"], Reason::Capacity, Capacity),
    text(&["client_idle_timeout"], IdleTimeout, Transient),
    text(&["is shutting down"], Shutdown, Transient),
    text(&["server conn crashed"], Pooler, Transient),
    text(&["server lifetime over"], Pooler, Transient),
    text(&["server idle timeout"], Pooler, Transient),
    text(&["server dns lookup failed"], Pooler, Transient),
    text(&["cannot connect to server"], Pooler, Transient),
    text(&["connect failed"], Pooler, Transient),
    text(&["connect timeout"], Pooler, Transient),
    text(&["bouncer config error"], Pooler, Transient),
    text(&["database removed"], Pooler, Transient),
    text(&["configuration changed"], Pooler, Transient),
    text(&["client_login_timeout", "server down"], Pooler, Transient),
    text(&["client_login_timeout"], Timeout, Transient),
    text(&["query_timeout"], QueryFailed, Transient),
    text(&["query timeout"], QueryFailed, Transient),
    text(&["idle transaction timeout"], QueryFailed, Transient),
    text(&["transaction timeout"], QueryFailed, Transient),
    text(&["tls client certificate required"], Tls, Permanent),
    text(&["tls certificate name mismatch"], Tls, Permanent),
    text(&["tls connection required"], Tls, Permanent),
    text(&["ssl required"], Tls, Permanent),
    text(&["login rejected"], Auth, Permanent),
    text(&["wrong password type"], Auth, Permanent),
    // Its console knows commands of its own only.
    text(&["invalid command", "use show help"], Config, Permanent),

    // PgCat and PgDog.
    always(&["only tls connections are allowed"], Tls, Permanent),
    text(&["no pool configured"], DatabaseMissing, Permanent),
    text(&["could not get connection from the pool", "allserversdown"], Pooler, Transient),
    text(&["could not get connection from the pool"], Reason::Capacity, Capacity),
    text(&["checkout timeout"], Reason::Capacity, Capacity),
    text(&["pool is banned"], Pooler, Transient),

    // Anybody, RDS's PAM among them.
    text(&["authentication failed"], Auth, Permanent),
    text(&["auth failed"], Auth, Permanent),
    text(&["role \"", "does not exist"], Auth, Permanent),
    text(&["database \"", "does not exist"], DatabaseMissing, Permanent),
];

/// What the words mean, where they beat the SQLSTATE. `message` is in lower case.
pub(super) fn find(sqlstate: &str, message: &str) -> Option<Diagnosis> {
    let over = |row: &&TextRow| row.over == Over::Any || SAYS_NOTHING.contains(&sqlstate);
    let fits = |row: &&TextRow| row.words.iter().all(|words| message.contains(words));
    TEXTS.iter().filter(over).find(fits).map(|row| row.means)
}

/// PgBouncer's notice that it does not try its server for now; within it the last error, where its version tells.
/// `message` is in lower case.
pub(super) fn failing_login(message: &str) -> Option<Option<&str>> {
    let (_, rest) = message.split_once("server login has been failing")?;
    let cached = rest.split_once("cached error: ").map(|(_, cached)| cached);
    Some(cached.map(|cached| cached.strip_suffix("(server_login_retry)").unwrap_or(cached).trim()))
}

/// A message for each row, for the tests of what the rows have in common.
#[cfg(test)]
pub(super) fn messages() -> impl Iterator<Item = String> {
    TEXTS.iter().map(|row| row.words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_reached() {
        for (row, message) in TEXTS.iter().zip(messages()) {
            assert_eq!(message, message.to_lowercase(), "rows are in lower case");
            let found = find("XX000", &message);
            assert!(found == Some(row.means), "a row above hides {:?}", row.words);
        }
    }

    #[test]
    fn words_do_not_beat_a_sqlstate_that_says_something() {
        for row in TEXTS.iter().filter(|row| row.over == Over::SaysNothing) {
            assert_eq!(find("42P01", &row.words.join(" ")), None);
        }
        for row in TEXTS.iter().filter(|row| row.over == Over::Any) {
            assert_eq!(find("42P01", &row.words.join(" ")), Some(row.means));
        }
    }

    #[test]
    fn the_error_that_pgbouncer_keeps_is_found_in_each_of_its_versions_texts() {
        let with_error = "server login has been failing, cached error: connect failed (server_login_retry)";
        assert_eq!(failing_login(with_error), Some(Some("connect failed")));
        let without = "server login has been failing, try again later (server_login_retry)";
        assert_eq!(failing_login(without), Some(None));
        assert_eq!(failing_login("server login failed"), None);
    }
}
