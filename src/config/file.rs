//! The strict mirror of the file: one row a key, with its limits, its default and, as documentation comment, what it
//! means. The row makes the key: reader, schema, `config show` and the field that it sets are made of it.

use std::time::Duration;

use super::Fleet;
use super::mapping::mapping;
use super::names::{File, Name, PoolAddress, Service, Url};
use super::read::Items;
use super::values::{
    AuthWord, DAY, Flag, HOUR, IdlePolicyWord, MINUTE, ModeWord, RoleWord, SECOND, Share, Span, Switch, Whole,
};
use crate::target::pool::{Auth, ClientTls, Listen, Mode, Pool};
use crate::target::{Backoff, Breaker, IdlePolicy, Keepalives, Ping, Refresh, Role, Tuning};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

mapping! {
    /// Configuration of pgtether: which PostgreSQL databases to hold a line to, and how.
    pub struct RootKeys {
        /// Name of the service that depends on these databases: `service` in /health, and the application_name of the sessions unless the connection string names one.
        service: Service,
        /// The storm guard: limits over all targets of this process.
        fleet: FleetKeys,
        /// What targets share: any key of a target but name, url, url_file and pool. A target's own key beats it.
        defaults: Keys,
        /// The databases to hold a line to.
        targets: Items<TargetKeys>,
    }
}

mapping! {
    /// The storm guard: limits over all targets of this process.
    pub struct FleetKeys for Fleet {
        /// Logins under way at the same time; a quarter of it for each host and port.
        logins_in_flight: Whole<1, 10_000> = 16,
        /// Connection attempts in a second, over all hosts.
        connects_per_second: Whole<1, 10_000> = 50,
        /// Connection attempts in a second, for each host and port.
        connects_per_host_per_second: Whole<1, 10_000> = 10,
    }
}

mapping! {
    /// One database: its name, where it is (url or url_file), and how it is treated.
    #[schemars(extend("required" = ["name"], "oneOf" = [{ "required": ["url"] }, { "required": ["url_file"] }]))]
    pub struct TargetKeys [flatten keys: Keys] {
        /// Name of the target in metrics, logs and paths.
        name: Name,
        /// Connection string as libpq reads it: postgresql://user:password@host:5432/database?sslmode=require, or host=... user=... dbname=...
        url: Url,
        /// File that holds the connection string, read again at every attempt. A relative path starts at the folder of this file.
        url_file: File,
        /// The door for applications: they connect here instead of to the database, and always get a live session.
        pool: PoolKeys,
    }
}

mapping! {
    /// The door for applications: they connect here instead of to the database, and always get a live session.
    #[schemars(extend("required" = ["listen"]))]
    pub struct PoolKeys for Pool(listen: Listen, policy: IdlePolicy) {
        /// Where applications connect: 127.0.0.1:6432, or unix:/run/pgtether/.s.PGSQL.6432. Beyond loopback it takes auth: scram and a certificate.
        listen: PoolAddress = listen,
        /// transaction keeps a session for a client until its transaction ends, session until it disconnects.
        mode: ModeWord = Mode::Transaction,
        /// Sessions with the database at the most, replacements included; the supervised one is beside them.
        size: Whole<1, 1_000> = 10,
        /// Sessions that are kept open although nobody needs them; 0 under let_sleep, where a client's arrival wakes the database.
        min_idle: Whole<0, 1_000> = u32::from(policy == IdlePolicy::KeepAwake),
        /// Clients at the most; the next one is told so and sent away.
        max_clients: Whole<1, 100_000> = 1_000,
        /// How long a client waits for a session.
        wait_timeout: Span<100, HOUR> = secs(15),
        /// scram asks clients for the target's own user and password. trust asks for nothing: loopback and Unix sockets only.
        auth: AuthWord = Auth::Scram,
        /// TLS towards clients, or off. Without files the certificate is made at the start, so that sslmode=require works.
        tls: Switch<ClientTlsKeys> = ClientTls::SelfSigned,
        /// A query is cut off when the target is down and its server has been silent for that long.
        query_stall: Span<SECOND, HOUR> = secs(30),
        /// How long a query may run; then it is canceled. Off: as long as it takes.
        query_timeout: Switch<Span<100, DAY>> = None,
        /// How long a client may leave a transaction open without sending anything; then it is disconnected, and the transaction rolled back.
        idle_transaction_timeout: Switch<Span<100, DAY>> = None,
        /// How long a client may stay connected without sending anything outside of a transaction; then it is disconnected.
        client_idle_timeout: Switch<Span<SECOND, {30 * DAY}>> = None,
        /// How long a client may take to log in, as PgBouncer's client_login_timeout and PostgreSQL's authentication_timeout; then it is disconnected.
        login_timeout: Span<SECOND, {10 * MINUTE}> = secs(60),
        /// Keeps unnamed statements prepared on the sessions, so that the server parses them once. It may then choose a plan that suits all parameters (see plan_cache_mode).
        prepare_unnamed: Flag = false,
    }
}

mapping! {
    /// TLS towards clients.
    #[schemars(extend("dependentRequired" = { "cert_file": ["key_file"], "key_file": ["cert_file"] }))]
    pub struct ClientTlsKeys {
        /// File with the certificate and its chain, PEM. A relative path starts at the folder of this file.
        cert_file: File,
        /// File with the certificate's key, PEM.
        key_file: File,
    }
}

mapping! {
    /// How a target is treated, and what opens it.
    pub struct Keys [flatten tuning: TuningKeys] {
        /// File that holds the password, read again at every attempt and, while credentials are rejected, each second. Beats a password in the connection string.
        password_file: File,
    }
}

mapping! {
    /// How a target is treated.
    pub struct TuningKeys for Tuning {
        /// Whether the failure of this target fails /health; false only degrades it.
        required: Flag = true,
        /// keep_awake pings so that the database never goes idle; let_sleep sends nothing, so that a database that scales to zero may.
        idle_policy: IdlePolicyWord = IdlePolicy::KeepAwake,
        /// Deadline for connecting and logging in together; several addresses share it.
        connect_timeout: Span<100, {10 * MINUTE}> = secs(10),
        /// TCP keepalives, or off.
        keepalives: Switch<KeepaliveKeys> = Some(Keepalives::default()),
        /// How long sent data may stay unacknowledged before the kernel gives up the connection; off leaves it to the system.
        tcp_user_timeout: Switch<Span<100, DAY>> = Some(secs(30)),
        /// How a session is proven between logins.
        ping: PingKeys = Ping::default(),
        /// How a fresh login is proven: a new session is opened, pinged, swapped in, and the old one closed.
        refresh: RefreshKeys = Refresh::default(),
        /// The waits after failed logins.
        backoff: BackoffKeys = Backoff::default(),
        /// The circuit breaker: after failures in a row no login is tried for a while.
        breaker: BreakerKeys = Breaker::default(),
        /// Under let_sleep: prove a login that often, knowing that it wakes the database.
        wake_every: Switch<Span<SECOND, {30 * DAY}>> = None,
        /// Deadline of the first attempt after sleep.
        wake_timeout: Span<SECOND, {10 * MINUTE}> = secs(45),
        /// Under let_sleep: close the idle session after that long, where holding a socket keeps the database awake (Aurora).
        close_idle_after: Switch<Span<SECOND, DAY>> = None,
        /// The role that the server must have.
        role: RoleWord = Role::Any,
    }
}

mapping! {
    /// TCP keepalives.
    pub struct KeepaliveKeys for Keepalives {
        /// Quiet time before the first probe; the kernel takes a little more than 9 hours at the most.
        idle: Span<SECOND, {9 * HOUR}, SECOND> = secs(10),
        /// Time between probes.
        interval: Span<SECOND, {9 * HOUR}, SECOND> = secs(5),
        /// Unanswered probes before the connection is given up.
        count: Whole<1, 127> = 5,
    }
}

mapping! {
    /// How a session is proven between logins.
    pub struct PingKeys for Ping {
        /// Time between pings.
        interval: Span<SECOND, DAY> = secs(30),
        /// Time for an answer; then the target is down.
        timeout: Span<10, {10 * MINUTE}> = secs(5),
    }
}

mapping! {
    /// How a fresh login is proven.
    pub struct RefreshKeys for Refresh {
        /// Time between refreshes, or off.
        every: Switch<Span<SECOND, {7 * DAY}>> = Some(secs(4 * 60)),
        /// Share of it that is left out at random, so that targets do not refresh in step; it only shortens.
        jitter: Share = 0.1,
        /// Whether the new session is opened before the old one is closed; false where the role has a CONNECTION LIMIT of 1.
        overlap: Flag = true,
    }
}

mapping! {
    /// The waits after failed logins.
    pub struct BackoffKeys for Backoff {
        /// Least wait; the upper bound doubles from here.
        initial: Span<10, {10 * MINUTE}> = Duration::from_millis(200),
        /// Greatest wait.
        max: Span<10, HOUR> = secs(30),
    }
}

mapping! {
    /// The circuit breaker.
    pub struct BreakerKeys for Breaker {
        /// Failed attempts in a row that open it.
        consecutive_failures: Whole<1, 1_000> = 5,
        /// How long it stays open the first time; doubles each time after.
        open_for: Span<100, HOUR> = secs(10),
        /// How long it stays open at the most.
        max_open_for: Span<100, DAY> = secs(30),
    }
}
