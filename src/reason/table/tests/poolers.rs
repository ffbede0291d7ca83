//! What poolers and providers say in words of their own.

use super::*;

#[test]
#[rustfmt::skip]
fn neons_proxy_says_it_in_words() {
    const CAPACITY: (Reason, Class) = (Reason::Capacity, Class::Capacity);
    const POOLER: (Reason, Class) = (Reason::Pooler, Transient);
    const QUOTA: (Reason, Class) = (Reason::Quota, Permanent);
    const BLOCKED: (Reason, Class) = (Reason::Blocked, Permanent);
    const MISSING: (Reason, Class) = (Reason::DatabaseMissing, Permanent);
    let rows = [
        ("Control plane request failed: endpoint is disabled", BLOCKED),
        ("Control plane request failed: endpoint cannot be found", MISSING),
        ("Control plane request failed: endpoint is temporarily unavailable. Check your quotas", QUOTA),
        ("Your account or project has exceeded the compute time quota. Upgrade your plan.", QUOTA),
        ("Disk quota exceeded", QUOTA),
        ("RUNNING_OPERATIONS", POOLER),
        ("CONCURRENCY_LIMIT_REACHED", POOLER),
        ("LOCK_ALREADY_TAKEN", POOLER),
        ("ENDPOINT_IDLE", POOLER),
        ("PROJECT_UNDER_MAINTENANCE", POOLER),
        ("RATE_LIMIT_EXCEEDED", CAPACITY),
        ("ACTIVE_TIME_QUOTA_EXCEEDED", QUOTA),
        ("COMPUTE_TIME_QUOTA_EXCEEDED", QUOTA),
        ("WRITTEN_DATA_QUOTA_EXCEEDED", QUOTA),
        ("DATA_TRANSFER_QUOTA_EXCEEDED", QUOTA),
        ("LOGICAL_SIZE_QUOTA_EXCEEDED", QUOTA),
        ("NON_PRIMARY_BRANCH_COMPUTE_TIME_EXCEEDED", QUOTA),
        ("ACTIVE_ENDPOINTS_LIMIT_EXCEEDED", QUOTA),
        ("ENDPOINT_NOT_FOUND", MISSING),
        ("BRANCH_NOT_FOUND", MISSING),
        ("ENDPOINT_DISABLED", BLOCKED),
        ("ROLE_PROTECTED", (Reason::Auth, Permanent)),
        ("Control plane request failed", POOLER),
        ("Couldn't connect to compute node", POOLER),
        ("Endpoint ID is not specified.", (Reason::Config, Permanent)),
        ("connection is insecure (try using `sslmode=require`)", (Reason::Tls, Permanent)),
        ("This IP address 10.0.0.1 is not allowed to connect to this endpoint.", BLOCKED),
        ("This connection is trying to access this endpoint from a blocked network.", BLOCKED),
        ("Too many connections to this endpoint. Please try again later.", CAPACITY),
        ("Too many connections attempts", CAPACITY),
        ("password authentication failed for user 'app'", (Reason::Auth, Permanent)),
        ("Authentication timed out", (Reason::Timeout, Transient)),
    ];
    for (message, (reason, class)) in rows {
        assert_rows(&[(Startup, "XX000", message, reason, class)]);
    }
}

#[test]
#[rustfmt::skip]
fn pgbouncer_says_it_in_words() {
    assert_rows(&[
        (Startup, "08P01", "no more connections allowed (max_client_conn)", Reason::Capacity, Class::Capacity),
        (Startup, "08P01", "client connections exceeded (max_db_client_connections)", Reason::Capacity, Class::Capacity),
        (Ping, "08P01", "query_wait_timeout", Reason::Capacity, Class::Capacity),
        (Startup, "08P01", "bouncer resources exhaustion", Reason::Capacity, Class::Capacity),
        (Startup, "08P01", "pgbouncer cannot connect to server", Reason::Pooler, Transient),
        (Ping, "08P01", "server conn crashed?", Reason::Pooler, Transient),
        (Ping, "08P01", "server lifetime over", Reason::Pooler, Transient),
        (Ping, "08P01", "server DNS lookup failed", Reason::Pooler, Transient),
        (Ping, "08P01", "connect timeout", Reason::Pooler, Transient),
        (Idle, "08P01", "database removed", Reason::Pooler, Transient),
        (Startup, "08P01", "client_login_timeout (server down)", Reason::Pooler, Transient),
        (Startup, "08P01", "client_login_timeout", Reason::Timeout, Transient),
        (Idle, "08P01", "client_idle_timeout", Reason::IdleTimeout, Transient),
        (Idle, "08P01", "pooler is shutting down", Reason::Shutdown, Transient),
        (Startup, "08P01", "no such database: app", Reason::DatabaseMissing, Permanent),
        (Startup, "3D000", "no such database: app", Reason::DatabaseMissing, Permanent),
        (Startup, "08P01", "no such user: app", Reason::Auth, Permanent),
        (Startup, "08P01", "password authentication failed", Reason::Auth, Permanent),
        (Startup, "08P01", "SASL authentication failed", Reason::Auth, Permanent),
        (Startup, "08P01", "login rejected", Reason::Auth, Permanent),
        (Startup, "08P01", "SSL required", Reason::Tls, Permanent),
        (Startup, "08P01", "TLS client certificate required", Reason::Tls, Permanent),
        (Startup, "08P01", "unsupported startup parameter: search_path", Reason::Config, Permanent),
        (Ping, "08P01", "query_timeout", Reason::QueryFailed, Transient),
        (Ping, "08P01", "invalid command 'SELECT 1', use SHOW HELP;", Reason::Config, Permanent),
    ]);
}

#[test]
#[rustfmt::skip]
fn pgbouncers_cached_error_is_judged_by_itself_and_asked_again_after_fifteen_seconds() {
    let rows = [
        ("cached error: connect failed", Reason::Pooler, Transient),
        ("cached error: server conn crashed?", Reason::Pooler, Transient),
        ("cached error: password authentication failed for user \"app\"", Reason::Auth, Permanent),
        ("cached error: database \"app\" does not exist", Reason::DatabaseMissing, Permanent),
        ("cached error: role \"app\" does not exist", Reason::Auth, Permanent),
        ("cached error: the database system is starting up", Reason::StartingUp, Starting),
        ("cached error: the database system is not accepting connections", Reason::StartingUp, Starting),
        ("cached error: the database system is shutting down", Reason::Shutdown, Starting),
        ("cached error: sorry, too many clients already", Reason::Capacity, Class::Capacity),
        ("cached error: nobody ever heard of this", Reason::Pooler, Transient),
        ("cached error: server login has been failing, cached error: ", Reason::Pooler, Transient),
        ("try again later", Reason::Pooler, Transient),
    ];
    for (error, reason, class) in rows {
        let message = format!("server login has been failing, {error} (server_login_retry)");
        for (phase, sqlstate) in [(Startup, "08P01"), (Ping, "08P01"), (Ping, "08006")] {
            let at_least = Duration::from_secs(15);
            let expected = Diagnosis {
                reason,
                class,
                at_least,
            };
            assert_eq!(diagnosed(phase, sqlstate, &message), expected, "{message}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn supavisors_bracketed_codes_beat_every_sqlstate() {
    let rows = [
        ("(EMAXCONN) max client connections reached, limit: 200", Reason::Capacity, Class::Capacity, 0),
        ("(EMAXCONNSESSION) max clients reached in session mode", Reason::Capacity, Class::Capacity, 0),
        ("(ECHECKOUTTIMEOUT) unable to check out connection from the pool", Reason::Capacity, Class::Capacity, 0),
        ("(ECIRCUITBREAKER) Unable to establish connection to upstream database", Reason::Pooler, Transient, 30),
        ("(ECIRCUITBREAKER) new connections are temporarily blocked", Reason::Pooler, Transient, 30),
        ("(ECIRCUITBREAKER) Too many authentication errors", Reason::Auth, Transient, 120),
        ("(ECIRCUITBREAKER) Failed to retrieve database credentials", Reason::Pooler, Transient, 120),
        ("(ENOTFOUND) tenant/user postgres.abc not found", Reason::DatabaseMissing, Permanent, 0),
        ("(EADDRNOTALLOWED) address not in tenant allow_list: {10, 0, 0, 1}", Reason::Blocked, Permanent, 0),
        ("(EBANNED) tenant is banned: abuse", Reason::Blocked, Permanent, 0),
        ("(ESSLREQUIRED) SSL connection is required for user: app", Reason::Tls, Permanent, 0),
        ("(EDBHANDLEREXITED) DbHandler exited. Check logs for more information", Reason::Pooler, Transient, 0),
        ("(EPOOLTERMINATING) pool terminating: pool is terminating", Reason::Pooler, Transient, 0),
        ("(EAUTHQUERY) authentication query failed", Reason::Pooler, Transient, 0),
        ("(EWORKERNOTFOUND) worker not found", Reason::Pooler, Transient, 0),
        ("(EAUTHTIMEOUT) timeout while waiting for message", Reason::Timeout, Transient, 0),
        ("(ENOIDENTIFIER) no tenant identifier provided", Reason::Config, Permanent, 0),
    ];
    for (message, reason, class, seconds) in rows {
        for sqlstate in ["XX000", "08006", "28P01", "53300"] {
            let at_least = Duration::from_secs(seconds);
            let expected = Diagnosis {
                reason,
                class,
                at_least,
            };
            assert_eq!(diagnosed(Startup, sqlstate, message), expected, "{sqlstate} {message}");
        }
    }
    assert_rows(&[
        (Startup, "XX000", "Tenant or user not found", Reason::DatabaseMissing, Permanent),
        (Startup, "XX000", "Max client connections reached", Reason::Capacity, Class::Capacity),
        (Startup, "XX000", "MaxClientsInSessionMode: max clients reached", Reason::Capacity, Class::Capacity),
        (Startup, "XX000", "Failed to connect to database: {:error, :timeout}", Reason::Pooler, Transient),
    ]);
}

#[test]
#[rustfmt::skip]
fn pgcat_and_pgdog_say_it_in_words() {
    const FULL: &str = "could not get connection from the pool - TimedOut";
    const DOWN: &str = "could not get connection from the pool - AllServersDown";
    const DOG_DOWN: &str = "connection pool for user \"app\" and database \"app\" is down";
    const WRONG: &str =
        "password for user \"app\" and database \"app\" is wrong, or the database does not exist";
    assert_rows(&[
        (Ping, "58000", FULL, Reason::Capacity, Class::Capacity),
        (Ping, "58000", DOWN, Reason::Pooler, Transient),
        (Startup, "58000", "No pool configured for database: app", Reason::DatabaseMissing, Permanent),
        (Ping, "58000", "checkout timeout", Reason::Capacity, Class::Capacity),
        (Ping, "58000", "replica checkout timeout", Reason::Capacity, Class::Capacity),
        (Ping, "58000", "pool is banned", Reason::Pooler, Transient),
        (Startup, "58000", DOG_DOWN, Reason::Pooler, Transient),
        (Ping, "58000", "all replicas down", Reason::Pooler, Transient),
        (Startup, "28000", WRONG, Reason::Auth, Permanent),
        (Startup, "08004", "only TLS connections are allowed", Reason::Tls, Permanent),
        (Idle, "57P05", "disconnecting idle client", Reason::IdleTimeout, Transient),
        (Idle, "57P01", "PgDog is shutting down", Reason::Shutdown, Transient),
    ]);
}

#[test]
fn a_nested_notice_as_long_as_a_message_may_be_is_judged() {
    let message = "server login has been failing, cached error: ".repeat(20_000);
    assert_eq!(diagnosed(Startup, "08P01", &message).reason, Reason::Pooler);
}

#[test]
#[rustfmt::skip]
fn the_sentences_of_neons_proxy_are_understood_as_it_sends_them() {
    assert_rows(&[
        (Startup, "XX000", "You have exceeded the limit of concurrently active endpoints. Please suspend some endpoints and try again.", Reason::Quota, Permanent),
        (Startup, "XX000", "You've exceeded the compute time for this branch. Upgrade your plan to increase limits or connect to another branch.", Reason::Quota, Permanent),
        (Startup, "XX000", "Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.", Reason::Quota, Permanent),
        (Startup, "XX000", "The requested endpoint could not be found, or you don't have access to it. Please check the provided ID and try again.", Reason::DatabaseMissing, Permanent),
        (Startup, "XX000", "You've exceeded the rate limit. Please wait a moment and try again.", Reason::Capacity, Class::Capacity),
        (Startup, "XX000", "Your project already has running operations. Please wait until they complete, and then try again.", Reason::Pooler, Transient),
        (Startup, "XX000", "The endpoint has been disabled. Enable it using Neon API and retry.", Reason::Blocked, Permanent),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_poolers_were_seen_to_say_at_a_login_is_understood() {
    assert_rows(&[
        (Startup, "XX000", "SSL connection is required", Reason::Tls, Permanent),
        (Startup, "XX000", "Authentication error, reason: \"Authentication query failed: connection not available and request was dropped from queue after 10000ms\"", Reason::Pooler, Transient),
        (Startup, "08P01", "server login failed: wrong password type", Reason::Auth, Permanent),
        (Startup, "08P01", "something that no table knows", Reason::Pooler, Transient),
    ]);
}
