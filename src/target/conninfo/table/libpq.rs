//! libpq's keywords, those of PostgreSQL 18, in the order of its documentation.

use super::{Handling, Keyword, Row, used};

const fn harmless(keyword: &'static str, why: &'static str) -> Row {
    Row { keyword, origin: "libpq", handling: Handling::Harmless(why) }
}

const fn refused(keyword: &'static str, remedy: &'static str) -> Row {
    Row { keyword, origin: "libpq", handling: Handling::Refused(remedy) }
}

const fn either(
    keyword: &'static str,
    harmless: &'static [&'static str],
    why: &'static str,
    remedy: &'static str,
) -> Row {
    Row { keyword, origin: "libpq", handling: Handling::Either { harmless, why, remedy } }
}

const GSS: &str = "it matters only to GSSAPI, which pgtether does not speak";
const OAUTH: &str = "pgtether does not log in with OAuth; use a password or a client certificate";
const SCRAM_KEY: &str = "pgtether logs in with the password itself; use `password` or `password_file`";
const NO_CRL: &str = "pgtether reads no revocation lists, and without the check it would promise too much; leave it out \
                      where you can do without";

pub(super) const ROWS: &[Row] = &[
    used("host", Keyword::Host, "names, addresses, or folders of Unix sockets, separated by commas"),
    used("hostaddr", Keyword::HostAddr, "addresses to dial without DNS; `host` is then what TLS verifies"),
    used("port", Keyword::Port, "one for all hosts or one for each; 5432 if missing"),
    used("dbname", Keyword::DbName, "the database; the user's name if missing"),
    used("user", Keyword::User, "the user; the system's user if missing"),
    used("password", Keyword::Password, "the password; `password_file` beats it"),
    refused("passfile", "put the password into a file of its own and name it with `password_file`"),
    used(
        "require_auth",
        Keyword::RequireAuth,
        "the methods by which the server may ask for a password, or with ! those that it may not",
    ),
    used("channel_binding", Keyword::ChannelBinding, "disable, prefer or require"),
    used(
        "connect_timeout",
        Keyword::ConnectTimeout,
        "seconds for one attempt, from the name's look-up to the login",
    ),
    harmless("client_encoding", "pgtether always speaks UTF-8 and reads no tables"),
    used("options", Keyword::Options, "command-line options for the server; Neon's endpoint rides there"),
    used("application_name", Keyword::ApplicationName, "shown in pg_stat_activity; `service` if missing"),
    used(
        "fallback_application_name",
        Keyword::FallbackApplicationName,
        "used where application_name is missing",
    ),
    used("keepalives", Keyword::Keepalives, "0 turns TCP keepalives off"),
    used("keepalives_idle", Keyword::KeepalivesIdle, "seconds of silence before the first probe"),
    used("keepalives_interval", Keyword::KeepalivesInterval, "seconds between two probes"),
    used("keepalives_count", Keyword::KeepalivesCount, "lost probes until the connection is dead"),
    used("tcp_user_timeout", Keyword::TcpUserTimeout, "milliseconds that sent data may stay unacknowledged"),
    either(
        "replication",
        &["false", "off", "no", "0"],
        "pgtether opens ordinary sessions",
        "pgtether opens ordinary sessions; leave it out",
    ),
    either(
        "gssencmode",
        &["disable", "prefer"],
        "pgtether does not speak GSSAPI and uses TLS or none",
        "pgtether does not speak GSSAPI; encrypt with TLS by sslmode=verify-full",
    ),
    used(
        "sslmode",
        Keyword::SslMode,
        "disable, allow, prefer, require, verify-ca or verify-full; require if missing, prefer on this machine",
    ),
    used("requiressl", Keyword::RequireSsl, "the old word for sslmode: 1 is require, 0 is prefer"),
    used("sslnegotiation", Keyword::SslNegotiation, "postgres, or direct to begin with TLS at once"),
    harmless("sslcompression", "TLS compression is insecure and no longer built into OpenSSL"),
    used("sslcert", Keyword::SslCertFile, "the client's certificate, a PEM file; needs sslkey"),
    used("sslkey", Keyword::SslKeyFile, "the client's key, a PEM file without a passphrase; needs sslcert"),
    refused("sslkeylogfile", "pgtether writes no TLS keys to disk; leave it out"),
    refused("sslpassword", "pgtether reads keys without a passphrase only; `openssl pkey` removes it"),
    used("sslcertmode", Keyword::SslCertMode, "disable sends no client certificate, allow sends it if asked"),
    used(
        "sslrootcert",
        Keyword::SslRootCert,
        "a PEM file of authorities, or `system`; the system's if missing",
    ),
    refused("sslcrl", NO_CRL),
    refused("sslcrldir", NO_CRL),
    used("sslsni", Keyword::SslSni, "0 keeps the host's name out of the TLS handshake"),
    refused("requirepeer", "pgtether does not ask who owns a Unix socket; protect its folder instead"),
    used("ssl_min_protocol_version", Keyword::SslMinVersion, "TLSv1 to TLSv1.3; TLSv1.2 if missing"),
    used("ssl_max_protocol_version", Keyword::SslMaxVersion, "TLSv1 to TLSv1.3; no limit if missing"),
    either(
        "min_protocol_version",
        &["3.0"],
        "pgtether speaks protocol 3.0",
        "pgtether speaks protocol 3.0, which every server understands; leave it out",
    ),
    harmless("max_protocol_version", "pgtether speaks protocol 3.0, the lowest that there is"),
    harmless("krbsrvname", GSS),
    harmless("gsslib", GSS),
    harmless("gssdelegation", GSS),
    refused("scram_client_key", SCRAM_KEY),
    refused("scram_server_key", SCRAM_KEY),
    refused("service", "pgtether reads no service files; write out what the service says"),
    refused("servicefile", "pgtether reads no service files; write out what the service says"),
    used(
        "target_session_attrs",
        Keyword::TargetSessionAttrs,
        "any, read-write, read-only, primary, standby or prefer-standby",
    ),
    used(
        "load_balance_hosts",
        Keyword::LoadBalanceHosts,
        "disable tries hosts in their order, random in any",
    ),
    refused("oauth_issuer", OAUTH),
    refused("oauth_client_id", OAUTH),
    refused("oauth_client_secret", OAUTH),
    refused("oauth_scope", OAUTH),
    refused("oauth_ca_file", OAUTH),
];
