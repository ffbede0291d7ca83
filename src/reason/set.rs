//! The closed set of reasons, declared once.

use std::fmt;

/// Declares [`Reason`] once: variant, label, meaning, remedy.
macro_rules! reasons {
    ($($variant:ident $label:literal $meaning:literal $remedy:literal)*) => {
        /// The closed set of reasons that metrics, `/health` and logs name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($variant),* }

        impl Reason {
            /// In the order of their declaration.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $label),* }
            }

            /// What was seen, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => $meaning),* }
            }

            /// What a person can do about it, in one sentence.
            pub const fn remedy(self) -> &'static str {
                match self { $(Reason::$variant => $remedy),* }
            }
        }
    };
}

reasons! {
    Dns "dns"
        "The host name cannot be resolved."
        "Check the host name and the resolver; the name is resolved again every second."
    Refused "refused"
        "The host answered that nothing listens on this port, or the Unix socket does not exist."
        "Nothing listens there: check that the server runs, and host, port or socket path."
    Unreachable "unreachable"
        "The network answered that there is no way to the host."
        "No route to the host: check network, security group and firewall."
    Timeout "timeout"
        "There was no answer within the time limit."
        "No answer in time: the server hangs, or something on the way drops packets silently."
    Reset "reset"
        "The connection was reset: it was cut without being closed."
        "The connection was reset: look for a proxy, load balancer or firewall that cuts it."
    Closed "closed"
        "The other side closed the connection and said nothing."
        "The peer closed the connection without a message: look at the server's or the pooler's log."
    Tls "tls"
        "TLS could not be agreed on, the certificate was refused, or the server demands TLS."
        "Check sslmode, sslrootcert, the host name in the certificate and its expiry."
    Auth "auth"
        "The server rejected the user, the password or the token."
        "Check user, password or token, and pg_hba.conf; a changed password_file is tried at once."
    Blocked "blocked"
        "The other side does not let this client or anybody in, whatever the password is."
        "The other side refuses this client: check the IP allow list and the project's or database's settings."
    DatabaseMissing "database_missing"
        "There is no such database, endpoint or tenant."
        "Check the database name, or the tenant in the user name; create it if it is gone."
    Capacity "capacity"
        "There is no free connection slot: at the server, for this role or database, or in the pooler."
        "All connection slots are taken: close idle clients or raise the limit; pgtether waits 5 to 30 seconds between attempts."
    Resources "resources"
        "The server lacks disk space, memory or processes."
        "The server has run out of disk space, memory or processes: the detail says of which; free some, or give it more."
    StartingUp "starting_up"
        "The server accepts no logins yet: it starts, recovers, or is a standby without `hot_standby`."
        "The server is starting or recovering: wait; it is tried again every second."
    Shutdown "shutdown"
        "The server is being shut down, or an administrator ended the session."
        "An administrator or a shutdown of the server ended the session: wait, pgtether connects again by itself."
    Crash "crash"
        "The server, or one of its processes, ended unexpectedly."
        "A server process crashed and all sessions were reset: look at the server's log."
    IdleTimeout "idle_timeout"
        "The other side ended the session because it was idle."
        "The other side closes idle sessions: pgtether learns the limit and pings more often by itself; if it goes on, lower ping.interval, or set idle_policy to let_sleep."
    Quota "quota"
        "The provider refuses the login because a limit of the plan is reached."
        "The plan's quota is used up: upgrade the plan or wait for its reset."
    WrongRole "wrong_role"
        "The server is a primary where a standby is required, or the reverse."
        "The server does not have the required role, since a failover or since the start: check the host list, the endpoint and role; a new login is tried until it has."
    Pooler "pooler"
        "A pooler or proxy answered, and has a problem of its own or with its database."
        "The pooler answered, its database did not: look at the pooler's log and its server settings."
    QueryFailed "query_failed"
        "The session works, but the query that tests it got an error."
        "The server answered the ping with an error: look at its log."
    Flapping "flapping"
        "Sessions are lost again and again although the server takes each login."
        "Three sessions were lost within five minutes although logins succeed: look for the reasons of the losses in the log, and for a proxy, script or crash that ends sessions."
    Protocol "protocol"
        "The answer is not a message of the PostgreSQL protocol."
        "What answers there does not speak the PostgreSQL protocol: check host and port."
    Config "config"
        "A file, a value or a parameter of the target cannot be used."
        "A setting or file that this target needs cannot be used: the detail says which."
    PasswordCommand "password_command"
        "`password_command` failed or took too long."
        "password_command gave no password: run it as the user that pgtether runs as; its exit code and stderr are in the detail."
    Local "local"
        "The machine of pgtether lacks a resource that a connection needs."
        "This machine lacks descriptors, memory or local ports: raise LimitNOFILE or ulimit -n, the memory limit, or net.ipv4.ip_local_port_range; the detail says which."
    Internal "internal"
        "The task that supervises the target ended unexpectedly."
        "A bug in pgtether: the target's task ended and is started again; please report the log."
    Stalled "stalled"
        "The target has not been supervised in time."
        "The target's task is overdue: give the process more CPU; if it has enough, restart pgtether and report the log. /livez fails too."
    Other "other"
        "A failure that fits none of the others."
        "Not a failure that pgtether knows: the detail is all that is known."
}

impl Reason {
    /// What an attempt can end with.
    pub const CONNECT: &'static [Reason] = &[
        Reason::Dns,
        Reason::Refused,
        Reason::Unreachable,
        Reason::Timeout,
        Reason::Reset,
        Reason::Closed,
        Reason::Tls,
        Reason::Auth,
        Reason::Blocked,
        Reason::DatabaseMissing,
        Reason::Capacity,
        Reason::Resources,
        Reason::StartingUp,
        Reason::Shutdown,
        Reason::Crash,
        Reason::Quota,
        Reason::WrongRole,
        Reason::Pooler,
        Reason::QueryFailed,
        Reason::Protocol,
        Reason::Config,
        Reason::PasswordCommand,
        Reason::Local,
        Reason::Internal,
        Reason::Other,
    ];
    /// What a session can be lost by. A pooler ends its clients' sessions for whatever its own login failed by.
    pub const DISCONNECT: &'static [Reason] = &[
        Reason::Unreachable,
        Reason::Timeout,
        Reason::Reset,
        Reason::Closed,
        Reason::Tls,
        Reason::Auth,
        Reason::Blocked,
        Reason::DatabaseMissing,
        Reason::Capacity,
        Reason::Resources,
        Reason::StartingUp,
        Reason::Shutdown,
        Reason::Crash,
        Reason::IdleTimeout,
        Reason::Quota,
        Reason::Pooler,
        Reason::QueryFailed,
        Reason::Protocol,
        Reason::Internal,
        Reason::Other,
    ];
    /// What a ping can fail by while its session lives.
    pub const PING: &'static [Reason] = &[
        Reason::Timeout,
        Reason::Capacity,
        Reason::Resources,
        Reason::WrongRole,
        Reason::Pooler,
        Reason::QueryFailed,
        Reason::Protocol,
        Reason::Other,
    ];

    /// Whether somebody who waits may bring the next attempt forward although the failure is permanent: there is nothing
    /// that trying often could lock out, and what is missing may be there again.
    pub const fn is_safe_to_hurry(self) -> bool {
        matches!(self, Reason::DatabaseMissing)
    }

    /// Whether somebody answered and refused the login.
    pub const fn is_rejection(self) -> bool {
        matches!(
            self,
            Reason::Auth
                | Reason::Blocked
                | Reason::DatabaseMissing
                | Reason::Capacity
                | Reason::Resources
                | Reason::Quota
                | Reason::WrongRole
                | Reason::StartingUp
        )
    }

    /// This reason if `set` has it, else [`Reason::Other`]: a family exports only what its set names.
    pub fn within(self, set: &[Reason]) -> Reason {
        if set.contains(&self) { self } else { Reason::Other }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::generated;

    const INTRODUCTION: &str = "\
# Reasons

Why a target is down or degraded, why an attempt to connect failed, and why a session was lost: one word of this list. It is the
label `reason` of a target's [metrics](metrics.md), and is on the status page, in `/health/NAME`, in the log and in the output of `check`.
The metrics `pgtether_pool_*` have other reasons: [clients that got no session](runbooks/PgtetherPoolRejecting.md#what-to-do), and
[clients that cannot log in](pool.md#clients-that-cannot-log-in).

Beside the reason, the detail is what the server or the system said, and the remedy is what to do. If the detail tells more than the
reason does, the remedy that pgtether shows is more specific than the one here.

The [runbooks](runbooks/README.md) say how to go on from an alert. This page is written by `make generated` from the program's
own list.

| reason | meaning | remedy |
| --- | --- | --- |
";

    const NEXT_ATTEMPT: &str = "
## When pgtether tries again

How long pgtether waits after a failure depends on its kind. It waits in the same way if a session is still open and only the last
login failed. If that session is then lost, one attempt is made as after any loss, and tells what keeps the target down. The times are the defaults; the keys in parentheses change them.

| kind of failure | reasons | next attempt |
| --- | --- | --- |
| The TCP connect failed | `dns`, `refused`, `unreachable`, `timeout`, `reset` | A TCP connect once a second. As soon as one is accepted, a login |
| A session was lost | any | At once if the session had lived for 5 seconds, otherwise after 1 to 2 seconds |
| It may pass by itself | after the TCP connect: `timeout`, `reset`, `closed`, `shutdown`, `crash`, `idle_timeout`, `wrong_role`, `pooler`, `query_failed`, `protocol`, `other`; `tls` if the handshake was cut off; `auth` if Supavisor's circuit breaker says it | After a random time between 200 ms (`backoff.initial`) and a limit that doubles from that up to 30 seconds (`backoff.max`). After 5 failures in a row (`breaker.consecutive_failures`) the circuit breaker opens: then not before 10, 20, and from then on 30 seconds (`breaker.open_for`, `breaker.max_open_for`). If a pooler says that it does not try its server for now, not before 15 seconds (PgBouncer), or 30 seconds to 2 minutes (Supavisor) |
| The server says that it starts, stops, or recovers from a crash | `starting_up`; `shutdown` and `crash` as the answer to a login | Once a second. After a minute, as a failure that may pass by itself |
| The server is full | `capacity`, `resources` | As a failure that may pass by itself, but never before 5 seconds |
| Somebody has to change something | `auth`, `blocked`, `database_missing`, `quota`, `config`, `tls`; `query_failed` if the server does not know the query | After 30 seconds, then 1, 2 and 4 minutes, and from then on 5 minutes, each up to 10 % longer. At once when `password_file` or `url_file` changes, when `password_command` prints another password (it runs about every 10 seconds), or when a reload changes the target. If clients of the pool wait: for `database_missing`, once a second |
| pgtether's own machine | `password_command`, `local`, `internal` | As a failure that may pass by itself, but without the circuit breaker |

After a repair, `POST /-/targets/NAME/reconnect` tries at once and answers with what came of it (200, or 502 with the reason). It needs
`--web.enable-lifecycle`. Attempts are at least a second apart and lengthen no wait; the connection rate limit holds for them, too. pgtether also
tries at once if the target is changed in the configuration, or if pgtether is restarted. Each such request is a login at the server,
also while it rejects the password: ask once after a repair, not in a loop. A script that asks each second may get the user or the address
locked out (fail2ban, Supavisor, a provider's policy).

`wrong_role` because of `role` is no failed login: the session stays, and a new login is tried after the waits of a failure that may
pass by itself. The connection rate limit of the process (`fleet`) can delay each attempt.
";

    #[test]
    fn every_reason_is_on_the_page_with_its_meaning_and_remedy() {
        let mut page = INTRODUCTION.to_owned();
        for reason in Reason::ALL {
            let _ = writeln!(page, "| `{reason}` | {} | {} |", reason.meaning(), reason.remedy());
        }
        page.push_str(NEXT_ATTEMPT);
        generated::is("docs/reasons.md", &page);
    }

    #[test]
    fn meaning_and_remedy_are_sentences_that_fit_into_a_table() {
        for reason in Reason::ALL {
            for text in [reason.meaning(), reason.remedy()] {
                assert!(text.ends_with('.') && !text.contains(['|', '\n']), "{reason}: {text}");
                assert!(
                    text.starts_with(|first: char| first.is_uppercase() || "`p".contains(first)),
                    "{text}"
                );
            }
        }
    }
}
