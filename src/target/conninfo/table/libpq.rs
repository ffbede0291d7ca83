//! libpq's keywords, those of PostgreSQL 18, in the order of its documentation.

use super::{Key, Row, Verdict, used};

const fn harmless(keyword: &'static str, why: &'static str) -> Row {
    Row { keyword, origin: "libpq", verdict: Verdict::Harmless(why) }
}

const fn refused(keyword: &'static str, remedy: &'static str) -> Row {
    Row { keyword, origin: "libpq", verdict: Verdict::Refused(remedy) }
}

const fn either(
    keyword: &'static str,
    harmless: &'static [&'static str],
    why: &'static str,
    remedy: &'static str,
) -> Row {
    Row { keyword, origin: "libpq", verdict: Verdict::Either { harmless, why, remedy } }
}

const GSS: &str = "it matters only to GSSAPI, which pgtether does not speak";
const OAUTH: &str = "pgtether does not log in with OAuth; use a password or a client certificate";
const SCRAM_KEY: &str = "pgtether logs in with the password itself; use `password` or `password_file`";
const NO_CRL: &str = "pgtether reads no revocation lists, and without the check it would promise too much; leave it out \
                      where you can do without";

pub(super) const ROWS: &[Row] = &[
    used("host", Key::Host, "names, addresses, or folders of Unix sockets, separated by commas"),
    used("hostaddr", Key::HostAddr, "addresses to dial without DNS; `host` is then what TLS verifies"),
    used("port", Key::Port, "one for all hosts or one for each; 5432 if missing"),
    used("dbname", Key::DbName, "the database; the user's name if missing"),
    used("user", Key::User, "the user; the system's user if missing"),
    used("password", Key::Password, "the password; `password_file` beats it"),
    refused("passfile", "put the password into a file of its own and name it with `password_file`"),
    refused(
        "require_auth",
        "pgtether cannot promise a method of authentication; with TLS, channel_binding=require admits SCRAM only",
    ),
    used("channel_binding", Key::ChannelBinding, "disable, prefer or require"),
    used(
        "connect_timeout",
        Key::ConnectTimeout,
        "seconds for one attempt, from the name's look-up to the login",
    ),
    harmless("client_encoding", "pgtether always speaks UTF-8 and reads no tables"),
    used("options", Key::Options, "command-line options for the server; Neon's endpoint rides there"),
    used("application_name", Key::ApplicationName, "shown in pg_stat_activity; `service` if missing"),
    used("fallback_application_name", Key::FallbackApplicationName, "used where application_name is missing"),
    used("keepalives", Key::Keepalives, "0 turns TCP keepalives off"),
    used("keepalives_idle", Key::KeepalivesIdle, "seconds of silence before the first probe"),
    used("keepalives_interval", Key::KeepalivesInterval, "seconds between two probes"),
    used("keepalives_count", Key::KeepalivesCount, "lost probes until the connection is dead"),
    used("tcp_user_timeout", Key::TcpUserTimeout, "milliseconds that sent data may stay unacknowledged"),
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
        Key::SslMode,
        "disable, allow, prefer, require, verify-ca or verify-full; require if missing, prefer on this machine",
    ),
    used("requiressl", Key::RequireSsl, "the old word for sslmode: 1 is require, 0 is prefer"),
    used("sslnegotiation", Key::SslNegotiation, "postgres, or direct to begin with TLS at once"),
    harmless("sslcompression", "TLS compression is insecure and no longer built into OpenSSL"),
    used("sslcert", Key::SslCertFile, "the client's certificate, a PEM file; needs sslkey"),
    used("sslkey", Key::SslKeyFile, "the client's key, a PEM file without a passphrase; needs sslcert"),
    refused("sslkeylogfile", "pgtether writes no TLS keys to disk; leave it out"),
    refused("sslpassword", "pgtether reads keys without a passphrase only; `openssl pkey` removes it"),
    used("sslcertmode", Key::SslCertMode, "disable sends no client certificate, allow sends it if asked"),
    used("sslrootcert", Key::SslRootCert, "a PEM file of authorities, or `system`; the system's if missing"),
    refused("sslcrl", NO_CRL),
    refused("sslcrldir", NO_CRL),
    used("sslsni", Key::SslSni, "0 keeps the host's name out of the TLS handshake"),
    refused("requirepeer", "pgtether does not ask who owns a Unix socket; protect its folder instead"),
    used("ssl_min_protocol_version", Key::SslMinVersion, "TLSv1 to TLSv1.3; TLSv1.2 if missing"),
    used("ssl_max_protocol_version", Key::SslMaxVersion, "TLSv1 to TLSv1.3; no limit if missing"),
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
        Key::TargetSessionAttrs,
        "any, read-write, read-only, primary, standby or prefer-standby",
    ),
    used("load_balance_hosts", Key::LoadBalanceHosts, "disable tries hosts in their order, random in any"),
    refused("oauth_issuer", OAUTH),
    refused("oauth_client_id", OAUTH),
    refused("oauth_client_secret", OAUTH),
    refused("oauth_scope", OAUTH),
    refused("oauth_ca_file", OAUTH),
];
