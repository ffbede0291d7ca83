//! The strict mirror of the file: one row a key, with its limits, its default and, as documentation comment, what it
//! means. The row makes the key: reader, schema, `config show` and the field that it sets are made of it.

use std::time::Duration;

use super::Fleet;
use super::command::CommandWords;
use super::mapping::mapping;
use super::names::{File, Name, PoolAddress, SecretPath, Service, Url};
use super::read::Items;
use super::values::{
    AuthWord, DAY, Flag, HOUR, IdlePolicyWord, MINUTE, ModeWord, RoleWord, SECOND, Share, Span, Switch, Whole,
};
use crate::target::pool::{Auth, ClientTls, Listen, Mode, Pool};
use crate::target::{Backoff, Breaker, IdlePolicy, Keepalives, Ping, Refresh, Role, Tuning};

/// `pool.size`.
pub type PoolSize = Whole<1, 1_000>;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

mapping! {
    /// Configuration of pgtether: the PostgreSQL databases that it monitors, and how.
    pub struct RootKeys {
        /// The "service" in /health. Also the application_name of the sessions, unless the connection string sets one. 1 to
        /// 63 printable ASCII characters.
        service: Service,
        /// Rate limits for connections and logins, over all targets of this process.
        fleet: FleetKeys,
        /// Values for all targets: any key of a target except name, url, url_file and pool. A parameter of the connection
        /// string overrides these values, and a target's own key overrides both.
        defaults: Keys,
        /// The databases.
        targets: Items<TargetKeys>,
    }
}

mapping! {
    /// Rate limits for connections and logins, over all targets of this process.
    pub struct FleetKeys for Fleet {
        /// Maximum number of concurrent logins; a quarter of it for each host and port.
        logins_in_flight: Whole<1, 10_000> = 16,
        /// Maximum number of connection attempts per second, over all hosts.
        connects_per_second: Whole<1, 10_000> = 50,
        /// Maximum number of connection attempts per second, for each host and port.
        connects_per_host_per_second: Whole<1, 10_000> = 10,
    }
}

mapping! {
    /// One database: its name, its connection string (url or url_file), and how it is monitored.
    #[schemars(extend("required" = ["name"], "oneOf" = [{ "required": ["url"] }, { "required": ["url_file"] }]))]
    pub struct TargetKeys [flatten keys: Keys] {
        /// Name in metrics, logs and paths: 1 to 63 letters, digits, `.`, `_` and `-`; the first is a letter or digit.
        #[schemars(example = &"primary")]
        name: Name,
        /// The libpq connection string: postgresql://user:password@host:5432/database?sslmode=require or host=... user=...
        /// dbname=... For a remote host without sslmode, sslmode=require is used.
        #[schemars(example = &"${DATABASE_URL}")]
        url: Url,
        /// Instead of url: a file that contains the connection string. It is read before every attempt. A relative path is
        /// relative to the directory of this file.
        #[schemars(example = &"/run/secrets/database-url")]
        url_file: SecretPath,
        /// The connection pool: a listen address for applications. They connect to it instead of to the database and change
        /// only host and port in their connection string. Without this key there is no pool. See docs/pool.md.
        pool: PoolKeys,
    }
}

mapping! {
    /// How a target is monitored, and its password.
    pub struct Keys [flatten tuning: TuningKeys] {
        /// A file that contains the password. It overrides a password in the connection string. It is read before every
        /// attempt and, while credentials are rejected, every second: a changed password is tried at once.
        #[schemars(example = &"/run/secrets/database-password")]
        password_file: SecretPath,
        /// Instead of a password: a command that prints it, for tokens that expire (Amazon RDS IAM, Microsoft Entra ID, Vault).
        /// A list, the program first; there is no shell. It runs when a login needs a password that is not known, or that the
        /// server has rejected. See docs/passwords.md.
        #[schemars(example = &["aws", "rds", "generate-db-auth-token", "--hostname", "db.example.com", "--port", "5432", "--username", "app"])]
        password_command: CommandWords,
    }
}

mapping! {
    /// How a target is monitored.
    pub struct TuningKeys for Tuning {
        /// true: if this target is down, /health fails. false: /health is only degraded.
        required: Flag = true,
        /// keep_awake: pgtether pings the session, so the database never becomes idle. let_sleep: pgtether sends nothing after
        /// the first ping, so a scale-to-zero database can go to sleep. Keeping a Neon database awake costs money: 0.25 CU all
        /// day is 6 CU-hours a day, which uses up the free plan's 100 hours in 16.7 days.
        idle_policy: IdlePolicyWord = IdlePolicy::KeepAwake,
        /// Time limit for TCP connect and login together. If the host has several addresses, they share it, and at
        /// most 16 are tried.
        connect_timeout: Span<100, {10 * MINUTE}> = secs(10),
        /// How long the output of password_command is used; less than the token's lifetime. If the server rejects it sooner, the
        /// command runs again at once.
        password_command_ttl: Span<{5 * SECOND}, DAY> = secs(10 * 60),
        /// Time limit of password_command. After it the command is killed, with all that it started.
        password_command_timeout: Span<100, {5 * MINUTE}> = secs(10),
        /// TCP keepalives, or off.
        keepalives: Switch<KeepaliveKeys> = Some(Keepalives::default()),
        /// How long sent data may stay unacknowledged before the kernel closes the connection. A value shorter than idle +
        /// interval * count of the keepalives ends these early; pgtether warns about it. off: the system's default.
        tcp_user_timeout: Switch<Span<100, DAY>> = Some(secs(30)),
        /// Checks of the open session.
        ping: PingKeys = Ping::default(),
        /// Regular new logins: pgtether opens a new session, pings it, and then closes the old one. This proves that a login
        /// still works.
        refresh: RefreshKeys = Refresh::default(),
        /// Waiting times after failed logins: a random time between initial and a limit, which doubles up to max.
        backoff: BackoffKeys = Backoff::default(),
        /// The circuit breaker: after several consecutive failures it opens, and no login is tried while it is open.
        breaker: BreakerKeys = Breaker::default(),
        /// With let_sleep: how often to prove a login. Each of these logins wakes the database.
        wake_every: Switch<Span<SECOND, {30 * DAY}>> = None,
        /// Time limit of the first attempt after sleep.
        wake_timeout: Span<SECOND, {10 * MINUTE}> = secs(45),
        /// With let_sleep: close the idle session after this time, for databases that an open connection keeps awake (Aurora).
        close_idle_after: Switch<Span<SECOND, DAY>> = None,
        /// Required role of the server: any, primary or standby.
        role: RoleWord = Role::Any,
    }
}

mapping! {
    /// TCP keepalives.
    pub struct KeepaliveKeys for Keepalives {
        /// Idle time before the first probe.
        idle: Span<SECOND, {9 * HOUR}, SECOND> = secs(10),
        /// Time between probes.
        interval: Span<SECOND, {9 * HOUR}, SECOND> = secs(5),
        /// Number of unanswered probes that ends the connection.
        count: Whole<1, 127> = 5,
    }
}

mapping! {
    /// Checks of the open session.
    pub struct PingKeys for Ping {
        /// Time between pings.
        interval: Span<SECOND, DAY> = secs(30),
        /// Time limit for the answer. After it the target is down.
        timeout: Span<10, {10 * MINUTE}> = secs(5),
    }
}

mapping! {
    /// Regular new logins.
    pub struct RefreshKeys for Refresh {
        /// Time between refreshes.
        every: Switch<Span<SECOND, {7 * DAY}>> = Some(secs(4 * 60)),
        /// Each wait is shortened by a random part of up to this share, so that targets do not refresh at the same time.
        jitter: Share = 0.1,
        /// true: the new session is opened before the old one is closed. false: for a role with CONNECTION LIMIT 1.
        overlap: Flag = true,
    }
}

mapping! {
    /// Waiting times after failed logins.
    pub struct BackoffKeys for Backoff {
        /// Shortest wait.
        initial: Span<10, {10 * MINUTE}> = Duration::from_millis(200),
        /// Longest wait. After failures that somebody has to fix, such as a wrong password, pgtether waits longer: see
        /// docs/reasons.md.
        max: Span<10, HOUR> = secs(30),
    }
}

mapping! {
    /// The circuit breaker.
    pub struct BreakerKeys for Breaker {
        /// Number of consecutive failed attempts that opens it.
        consecutive_failures: Whole<1, 1_000> = 5,
        /// How long it stays open the first time. Doubles each time.
        open_for: Span<100, HOUR> = secs(10),
        /// The longest time that it stays open.
        max_open_for: Span<100, DAY> = secs(30),
    }
}

mapping! {
    /// The connection pool: a listen address for applications.
    #[schemars(extend("required" = ["listen"]))]
    pub struct PoolKeys for Pool(listen: Listen, policy: IdlePolicy) {
        /// Listen address: an address of this machine with a port, or a Unix socket, whose file name must be .s.PGSQL.PORT so
        /// that clients find it (unix:/run/pgtether/.s.PGSQL.6432). An address that other machines can reach requires auth:
        /// scram and a certificate.
        #[schemars(example = &"127.0.0.1:6432")]
        listen: PoolAddress = listen,
        /// transaction: a client keeps a session until its transaction ends; a few sessions serve many clients. WARNING: what
        /// a client leaves on the session (LISTEN, temporary tables, session-level advisory locks) ends with its transaction.
        /// session: a client keeps a session until it disconnects; for everything that needs session state.
        mode: ModeWord = Mode::Transaction,
        /// Maximum number of server connections of the pool. pgtether's own monitoring session comes on top, so the server
        /// must allow size + 2.
        size: PoolSize = 10,
        /// Number of sessions that stay open even if no client needs them; at most size. With let_sleep the default is 0, and
        /// the first client wakes the database.
        min_idle: Whole<0, 1_000> = u32::from(policy == IdlePolicy::KeepAwake),
        /// Maximum number of clients. Further clients are rejected.
        max_clients: Whole<1, 100_000> = 1_000,
        /// How long a client waits for a session, while all are in use or the database is unavailable.
        wait_timeout: Span<100, HOUR> = secs(15),
        /// scram: clients log in with the user and password of the target. trust: without a password, only for loopback and
        /// Unix sockets.
        auth: AuthWord = Auth::Scram,
        /// TLS for clients, or off. Without files, pgtether creates a certificate when it starts, which is enough for
        /// sslmode=require on loopback. Both files are PEM. A relative path is relative to the directory of this file.
        tls: Switch<ClientTlsKeys> = ClientTls::SelfSigned,
        /// While the target is down, a query is aborted when the server has been silent for this long.
        query_stall: Span<SECOND, HOUR> = secs(30),
        /// Time limit for a query. After it the query is canceled. off: no limit.
        query_timeout: Switch<Span<100, DAY>> = None,
        /// How long a client may send nothing inside a transaction. After it the client is disconnected, and the transaction
        /// is rolled back. off: no limit.
        idle_transaction_timeout: Switch<Span<100, DAY>> = None,
        /// How long a client may send nothing outside of a transaction. After it the client is disconnected. off: no limit.
        client_idle_timeout: Switch<Span<SECOND, {30 * DAY}>> = None,
        /// Time limit for a client's login. After it the client is disconnected. The same default as PgBouncer's
        /// client_login_timeout and PostgreSQL's authentication_timeout.
        login_timeout: Span<SECOND, {10 * MINUTE}> = secs(60),
        /// true: in transaction mode, statements without a name stay prepared on the server sessions, like named ones, so
        /// that PostgreSQL does not parse and plan the same text each time. PostgreSQL may then use a generic plan, and the
        /// first query after a table was altered outside of this pool may fail once with 0A000.
        prepare_unnamed: Flag = false,
    }
}

mapping! {
    /// TLS for clients.
    #[schemars(extend("dependentRequired" = { "cert_file": ["key_file"], "key_file": ["cert_file"] }))]
    pub struct ClientTlsKeys {
        /// File with the certificate and its chain, PEM. A relative path is relative to the directory of this file.
        #[schemars(example = &"/run/secrets/tls.crt")]
        cert_file: File,
        /// File with the certificate's key, PEM.
        #[schemars(example = &"/run/secrets/tls.key")]
        key_file: File,
    }
}
