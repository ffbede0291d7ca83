//! The table of keywords, row by row.

use std::collections::BTreeSet;

use super::*;
use crate::target::conninfo::table::Keyword;

/// The list is PostgreSQL 18's, so that a keyword that libpq knows is never called unknown.
#[test]
fn every_keyword_of_libpq_has_its_row() {
    let listed = "host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout \
                  client_encoding options application_name fallback_application_name keepalives keepalives_idle \
                  keepalives_interval keepalives_count tcp_user_timeout replication gssencmode sslmode requiressl \
                  sslnegotiation sslcompression sslcert sslkey sslkeylogfile sslpassword sslcertmode sslrootcert \
                  sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version ssl_max_protocol_version \
                  min_protocol_version max_protocol_version krbsrvname gsslib gssdelegation scram_client_key \
                  scram_server_key service target_session_attrs load_balance_hosts oauth_issuer oauth_client_id \
                  oauth_client_secret oauth_scope";
    for keyword in listed.split_ascii_whitespace() {
        let row = table::find(keyword).unwrap_or_else(|| panic!("{keyword} has no row"));
        assert_eq!(row.origin, "libpq", "{keyword}");
    }
}

#[test]
fn each_keyword_stands_in_the_table_once() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        assert!(seen.insert(row.keyword), "{} stands there twice", row.keyword);
    }
}

/// Walks the table: what a row says is what happens to a string that holds its keyword.
#[test]
fn each_row_of_the_table_does_what_it_says() {
    for row in rows() {
        let keyword = row.keyword;
        let with = |value: &str| parse(&format!("host=h user=u {keyword}='{value}'"));
        let noted = |result: Result<Parsed, Vec<Mistake>>, why: &str| {
            let notes = result.unwrap().notes;
            assert!(notes.iter().any(|n| n.message.contains(why)), "{keyword}: {notes:?}");
        };
        let refused = |result: Result<Parsed, Vec<Mistake>>, remedy: &str| {
            let problems = result.unwrap_err();
            assert_eq!(problems.len(), 1, "{keyword}: {problems:?}");
            assert_eq!(problems[0].keyword.as_deref(), Some(keyword));
            assert!(problems[0].message.ends_with(remedy), "{keyword}: {problems:?}");
        };
        match row.handling {
            Handling::Used(key, what) => {
                assert!(!what.is_empty(), "{keyword}");
                assert_eq!(key.keyword(), keyword);
                used_is_not_ignored(key);
            }
            Handling::Harmless(why) => noted(with("7"), why),
            Handling::Refused(remedy) => refused(with("7"), remedy),
            Handling::Either { harmless, why, remedy } => {
                harmless.iter().for_each(|value| noted(with(value), why));
                refused(with("7"), remedy);
            }
        }
    }
}

/// Whoever adds a key says here which setting shows that it is read: the result differs from that without it.
fn used_is_not_ignored(key: Keyword) {
    let value = match key {
        Keyword::Host => "other",
        Keyword::HostAddr => "10.0.0.1",
        Keyword::Port => "1",
        Keyword::DbName
        | Keyword::User
        | Keyword::Password
        | Keyword::ApplicationName
        | Keyword::FallbackApplicationName => "x",
        Keyword::Options => "-c a=b",
        Keyword::ConnectTimeout
        | Keyword::KeepalivesIdle
        | Keyword::KeepalivesInterval
        | Keyword::KeepalivesCount => "9",
        Keyword::TcpUserTimeout => "9",
        Keyword::Keepalives | Keyword::SslSni => "0",
        Keyword::SslMode => "verify-full",
        Keyword::RequireSsl => "0",
        Keyword::Ssl => "true",
        Keyword::SslNegotiation => "direct",
        Keyword::SslRootCert => "system",
        Keyword::SslCertFile | Keyword::SslKeyFile => "/other.pem",
        Keyword::SslCertMode => "disable",
        Keyword::SslMinVersion => "TLSv1.3",
        Keyword::SslMaxVersion => "TLSv1.2",
        Keyword::ChannelBinding => "require",
        Keyword::RequireAuth => "scram-sha-256",
        Keyword::TargetSessionAttrs => "primary",
        Keyword::LoadBalanceHosts => "random",
    };
    // `ssl=true` shows only where the default is something else.
    let host = if key == Keyword::Ssl { "localhost" } else { "h" };
    let base = format!("host={host} user=u sslcert=/c.pem sslkey=/k.pem");
    let with = endpoint(&format!("{base} {}='{value}'", key.keyword()));
    assert_ne!(with, endpoint(&base), "{key:?} changes nothing");
}
