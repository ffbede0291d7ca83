//! Keywords that libpq does not know, but that people's URLs carry, because a driver, a pool or a platform reads them.
//!
//! Harmless is what only steers the driver's own queries, pools and caches. What touches security, the choice of the
//! server or the session itself is refused, with libpq's word for it: guessing there would break a promise.

use super::{Handling, Keyword, Row};

const fn harmless(origin: &'static str, keyword: &'static str, why: &'static str) -> Row {
    Row { keyword, origin, handling: Handling::Harmless(why) }
}

const fn refused(origin: &'static str, keyword: &'static str, remedy: &'static str) -> Row {
    Row { keyword, origin, handling: Handling::Refused(remedy) }
}

const POOL: &str = "pgtether keeps one session per target, and a second one during a refresh";
const STATEMENTS: &str = "pgtether uses no named prepared statements";
const QUERIES: &str = "it is about an application's queries; pgtether's pings have `ping.timeout`";
const FORMAT: &str = "it is about how an application's data look, and pgtether reads none";
const PATH: &str = "pgtether's pings name no tables";
const FRAMEWORK: &str = "it is about an application framework";
const OPTIONS: &str =
    "write it as a server option: options=-c%20name%3Dvalue in a URI, options='-c name=value' elsewhere";
const MODE: &str = "write `sslmode`: disable, prefer, require, verify-ca or verify-full";

pub(super) const ROWS: &[Row] = &[
    // TLS: never guessed.
    Row {
        keyword: "ssl",
        origin: "JDBC, node-postgres, SQLAlchemy with asyncpg",
        handling: Handling::Used(
            Keyword::Ssl,
            "true means sslmode=require, as in libpq's URIs; asyncpg takes the values of sslmode",
        ),
    },
    Row {
        keyword: "sslaccept",
        origin: "Prisma",
        handling: Handling::Either {
            harmless: &["accept_invalid_certs"],
            why: "sslmode=require does not verify the certificate either",
            remedy: "write sslmode=verify-full",
        },
    },
    refused("Prisma", "sslidentity", "name PEM files with `sslcert` and `sslkey`"),
    refused("MySQL's habit, sqlx", "ssl-mode", MODE),
    refused("sqlx", "ssl_mode", MODE),
    refused("sqlx", "ssl-root-cert", "write `sslrootcert`"),
    refused("sqlx", "ssl-ca", "write `sslrootcert`"),
    refused("sqlx", "ssl-cert", "write `sslcert`"),
    refused("sqlx", "ssl-key", "write `sslkey`"),
    refused(
        "lib/pq",
        "sslinline",
        "write the certificates to files and name them with `sslcert`, `sslkey`, `sslrootcert`",
    ),
    refused("asyncpg", "direct_tls", "write sslnegotiation=direct"),
    refused("JDBC", "sslfactory", MODE),
    refused("dj-database-url", "ssl_require", "write sslmode=require"),
    harmless("node-postgres", "uselibpqcompat", "pgtether always reads sslmode as libpq does"),
    // Choices for what libpq calls differently.
    refused("a common slip", "username", "write `user`"),
    refused("a common slip", "database", "write `dbname`"),
    refused("a common slip", "db", "write `dbname`"),
    refused("a common slip", "hostname", "write `host`"),
    refused("a common slip", "server", "write `host`"),
    refused("a common slip", "pass", "write `password`"),
    refused("a common slip", "pwd", "write `password`"),
    refused("JDBC", "ApplicationName", "write `application_name`"),
    refused("JDBC", "targetServerType", "write `target_session_attrs`"),
    refused("JDBC", "loadBalanceHosts", "write load_balance_hosts=random"),
    refused("JDBC", "connectTimeout", "write `connect_timeout`"),
    refused("JDBC", "loginTimeout", "write `connect_timeout`"),
    refused("JDBC", "tcpKeepAlive", "write `keepalives`"),
    refused("tokio-postgres", "keepalives_retries", "write `keepalives_count`"),
    refused(
        "Neon",
        "endpoint",
        "write it as options=endpoint%3Dep-name-123456 in a URI, options=endpoint=ep-name-123456 elsewhere",
    ),
    // What drivers send to the server as settings of the session.
    refused("pgx, lib/pq", "idle_session_timeout", OPTIONS),
    refused("pgx, lib/pq", "role", OPTIONS),
    refused("pgx, lib/pq", "session_authorization", OPTIONS),
    refused("pgx, lib/pq", "default_transaction_read_only", OPTIONS),
    harmless("node-postgres, pgx", "statement_timeout", QUERIES),
    harmless("node-postgres, pgx", "lock_timeout", QUERIES),
    harmless(
        "node-postgres, pgx",
        "idle_in_transaction_session_timeout",
        "pgtether never leaves a transaction open",
    ),
    harmless("pgx, lib/pq", "search_path", PATH),
    harmless("Prisma", "schema", PATH),
    harmless("JDBC", "currentSchema", PATH),
    harmless("Rails", "schema_search_path", PATH),
    harmless("pgx, lib/pq", "timezone", FORMAT),
    harmless("pgx, lib/pq", "TimeZone", FORMAT),
    harmless("pgx, lib/pq", "datestyle", FORMAT),
    harmless("pgx, lib/pq", "extra_float_digits", FORMAT),
    harmless("Rails, Symfony", "encoding", FORMAT),
    harmless("Symfony, Doctrine", "charset", FORMAT),
    harmless("Symfony, Doctrine", "serverVersion", "pgtether asks the server for its version"),
    // Poolers and pools.
    harmless("Prisma, Supabase", "pgbouncer", "pgtether works through poolers without being told"),
    harmless("Prisma", "connection_limit", POOL),
    harmless("Prisma", "pool_timeout", POOL),
    harmless("Prisma", "single_use_connections", POOL),
    harmless("Supabase", "pool_mode", "pgtether works in session and in transaction mode"),
    harmless("Supabase", "supa", "it tells Vercel's integration where the URL came from"),
    harmless("Vercel", "workaround", "it is a hint for a bug of Vercel's driver"),
    harmless("pgx", "pool_max_conns", POOL),
    harmless("pgx", "pool_min_conns", POOL),
    harmless("pgx", "pool_min_idle_conns", POOL),
    harmless("pgx", "pool_max_conn_lifetime", "`refresh.every` says how old a session gets"),
    harmless(
        "pgx",
        "pool_max_conn_lifetime_jitter",
        "`refresh.jitter` says by how much refreshes are spread",
    ),
    harmless("pgx", "pool_max_conn_idle_time", "`idle_policy` says what happens to an idle session"),
    harmless("pgx", "pool_health_check_period", "`ping.interval` says how often a session is checked"),
    harmless("Rails", "pool", POOL),
    harmless("Rails, Ecto", "pool_size", POOL),
    harmless("Rails", "checkout_timeout", POOL),
    harmless("Rails", "reaping_frequency", POOL),
    harmless("SQLAlchemy", "max_overflow", POOL),
    harmless("SQLAlchemy", "pool_recycle", "`refresh.every` says how old a session gets"),
    harmless("SQLAlchemy", "pool_pre_ping", "`ping.interval` says how often a session is checked"),
    harmless("Ecto", "queue_target", POOL),
    harmless("Ecto", "queue_interval", POOL),
    harmless("postgres.js", "max", POOL),
    harmless(
        "postgres.js",
        "idle_timeout",
        "`close_idle_after` and `idle_policy` say what happens to an idle session",
    ),
    harmless("postgres.js", "max_lifetime", "`refresh.every` says how old a session gets"),
    harmless("node-postgres", "idleTimeoutMillis", "`idle_policy` says what happens to an idle session"),
    harmless("Django", "conn_max_age", "`refresh.every` says how old a session gets"),
    harmless("Django", "conn_health_checks", "`ping.interval` says how often a session is checked"),
    // Statements and how they are run.
    harmless("Prisma, asyncpg", "statement_cache_size", STATEMENTS),
    harmless("asyncpg, SQLAlchemy", "prepared_statement_cache_size", STATEMENTS),
    harmless("SQLAlchemy", "prepared_statement_name_func", STATEMENTS),
    harmless("asyncpg", "max_cached_statement_lifetime", STATEMENTS),
    harmless("asyncpg", "max_cacheable_statement_size", STATEMENTS),
    harmless("asyncpg", "command_timeout", QUERIES),
    harmless("SQLAlchemy", "async_fallback", FRAMEWORK),
    harmless("pgx", "default_query_exec_mode", STATEMENTS),
    harmless("pgx", "statement_cache_capacity", STATEMENTS),
    harmless("pgx", "statement_cache_mode", STATEMENTS),
    harmless("pgx", "description_cache_capacity", STATEMENTS),
    harmless("pgx", "prefer_simple_protocol", STATEMENTS),
    harmless("lib/pq", "binary_parameters", STATEMENTS),
    harmless("lib/pq", "disable_prepared_binary_result", STATEMENTS),
    harmless("sqlx", "statement-cache-capacity", STATEMENTS),
    harmless("JDBC", "prepareThreshold", STATEMENTS),
    harmless("JDBC", "preparedStatementCacheQueries", STATEMENTS),
    harmless("JDBC", "preparedStatementCacheSizeMiB", STATEMENTS),
    harmless("JDBC", "preferQueryMode", STATEMENTS),
    harmless("JDBC", "reWriteBatchedInserts", QUERIES),
    harmless("JDBC", "defaultRowFetchSize", QUERIES),
    harmless("JDBC", "stringtype", QUERIES),
    harmless("JDBC", "binaryTransfer", FORMAT),
    harmless("JDBC", "socketTimeout", QUERIES),
    harmless("JDBC", "readOnly", "pgtether's pings write nothing"),
    harmless("Prisma", "socket_timeout", QUERIES),
    harmless("node-postgres", "query_timeout", QUERIES),
    harmless("postgres.js", "prepare", STATEMENTS),
    harmless("postgres.js", "fetch_types", FORMAT),
    harmless("Rails", "prepared_statements", STATEMENTS),
    harmless("Rails", "statement_limit", STATEMENTS),
    harmless("Rails", "advisory_locks", QUERIES),
    harmless("Rails", "adapter", FRAMEWORK),
    harmless("Rails", "reconnect", "pgtether always reconnects"),
    harmless("Rails", "timeout", QUERIES),
];
