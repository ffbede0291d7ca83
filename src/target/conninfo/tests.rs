//! What strings mean, which are refused, and that no password gets out. Property tests are in `properties`.

use std::time::Duration;

use super::*;
use crate::target::{
    ChannelBinding, Host, Identity, LoadBalance, Provider, RootCerts, SessionAttrs, SslMode, SslNegotiation,
    TlsVersion,
};

mod copied;
mod properties;
mod refused;
mod rows;

fn ok(text: &str) -> Parsed {
    parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:#?}"))
}

fn endpoint(text: &str) -> Endpoint {
    ok(text).endpoint
}

fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(parsed) => panic!("{text} is accepted: {parsed:#?}"),
        Err(problems) => problems.into_iter().map(|p| p.message).collect(),
    }
}

fn notes(text: &str) -> Vec<String> {
    ok(text).notes.into_iter().map(|n| n.message).collect()
}

fn tcp(name: &str, port: u16) -> Host {
    Host::Tcp { name: name.to_owned(), hostaddr: None, port }
}

fn unix(dir: &str, port: u16) -> Host {
    Host::Unix { dir: dir.into(), port }
}

fn password(text: &str) -> Option<String> {
    endpoint(text).password.map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap())
}

#[test]
fn each_part_of_a_uri_lands_where_libpq_puts_it() {
    for (uri, hosts) in [
        ("postgresql://u@h", vec![tcp("h", 5432)]),
        ("postgresql://u@h:5433/db", vec![tcp("h", 5433)]),
        ("postgresql://u@h:/db", vec![tcp("h", 5432)]),
        ("postgresql://u@[::1]/db", vec![tcp("::1", 5432)]),
        ("postgresql://u@[2001:db8::1]:5433/db", vec![tcp("2001:db8::1", 5433)]),
        ("postgresql://u@[fe80::1%25eth0]/db", vec![tcp("fe80::1%eth0", 5432)]),
        ("postgresql://u@a:1,b:2,[::1]:3/db", vec![tcp("a", 1), tcp("b", 2), tcp("::1", 3)]),
        ("postgresql://u@a,b:2,c/db", vec![tcp("a", 5432), tcp("b", 2), tcp("c", 5432)]),
        ("postgresql://u@a,b,c/db?port=6000", vec![tcp("a", 6000), tcp("b", 6000), tcp("c", 6000)]),
        ("postgresql://u@%2Fvar%2Frun%2Fpg/db", vec![unix("/var/run/pg", 5432)]),
        ("postgresql://u@%2Fvar%2Frun%2Fpg:5433/db", vec![unix("/var/run/pg", 5433)]),
        ("postgresql://u@/db?host=/run/pg", vec![unix("/run/pg", 5432)]),
        ("postgresql:///db?user=u&host=/run/pg&port=5433", vec![unix("/run/pg", 5433)]),
        ("postgresql://u@%40abstract/db", vec![unix("@abstract", 5432)]),
        ("postgresql://u@h/db?host=other", vec![tcp("other", 5432)]),
        ("postgresql://u@h:1/db?port=2", vec![tcp("h", 2)]),
        ("postgresql://u@h?dbname=db", vec![tcp("h", 5432)]),
        ("postgres://u@h/db?sslmode=disable&", vec![tcp("h", 5432)]),
        (" postgresql://u@h/db\n", vec![tcp("h", 5432)]),
    ] {
        let e = endpoint(uri);
        assert_eq!(e.hosts, hosts, "{uri}");
        assert_eq!(e.user, "u", "{uri}");
        assert_eq!(e.database, if uri.contains("db") { "db" } else { "u" }, "{uri}");
    }
}

#[test]
fn percent_escapes_are_decoded_and_a_plus_is_a_plus() {
    let e =
        endpoint("postgresql://us%65r%3Aname:p%40ss%2Fw%3Ao%25rd+%20%C3%A9@h/d%62?application_name=a+b%20c");
    assert_eq!(e.user, "user:name");
    assert_eq!(e.database, "db");
    assert_eq!(e.application_name.as_deref(), Some("a+b c"));
    assert_eq!(e.password.unwrap().expose(), "p@ss/w:o%rd+ é".as_bytes());
}

#[test]
fn a_password_may_hold_what_ends_no_userinfo() {
    for (uri, wanted) in [
        ("postgresql://u:a:b:c@h/db", "a:b:c"),
        ("postgresql://u:a?b#c&d=e@h/db", "a?b#c&d=e"),
        ("postgresql://u:[x]@h/db", "[x]"),
        ("postgresql://u@h/db?password=a%26b%3Dc", "a&b=c"),
        ("postgresql://u:first@h/db?password=second", "second"),
    ] {
        assert_eq!(password(uri).as_deref(), Some(wanted), "{uri}");
    }
    for uri in ["postgresql://u@h/db", "postgresql://u:@h/db", "host=h user=u password=''"] {
        assert_eq!(password(uri), None, "{uri}");
    }
}

#[test]
fn keyword_strings_are_quoted_as_in_libpq() {
    for (text, wanted) in [
        (r"host=h user=u password='a b\'c'", "a b'c"),
        (r"host=h user=u password='a\\b'", r"a\b"),
        (r"host=h user=u password=a\ b\\c", r"a b\c"),
        (r"host=h user=u password=it\'s", "it's"),
        (r"host=h user=u password=it's", "it's"),
        ("host = h  user\t=\nu password  =  x", "x"),
        ("password=x host=h user=u ", "x"),
        (r"host=h user=u password='a\nb'", "anb"),
        ("host=h user=u password='two\nlines'", "two\nlines"),
        ("host=h user=u password=a=b@c/d", "a=b@c/d"),
        ("host=h user=u password='x'sslmode=disable", "x"),
        ("user=u password= 'host=h' host=h", "host=h"),
        ("user=u host=h password=port=1", "port=1"),
    ] {
        assert_eq!(password(text).as_deref(), Some(wanted), "{text}");
    }
}

#[test]
fn lists_pair_hosts_addresses_and_ports() {
    let e = endpoint("host=a,b hostaddr=10.0.0.1,::1 port=1,2 user=u");
    let pair = |name: &str, address: &str, port| Host::Tcp {
        name: name.to_owned(),
        hostaddr: Some(address.parse().unwrap()),
        port,
    };
    assert_eq!(e.hosts, [pair("a", "10.0.0.1", 1), pair("b", "::1", 2)]);
    assert_eq!(endpoint("hostaddr=10.0.0.1 user=u").hosts, [pair("10.0.0.1", "10.0.0.1", 5432)]);
    assert_eq!(
        endpoint("host=a,b hostaddr=,10.0.0.1 user=u").hosts,
        [tcp("a", 5432), pair("b", "10.0.0.1", 5432)]
    );
    assert_eq!(endpoint("host=a,/run/pg port=1, user=u").hosts, [tcp("a", 1), unix("/run/pg", 5432)]);
    assert_eq!(
        endpoint("host=a,[::1] hostaddr=10.0.0.1,::1 user=u".replace("[::1]", "::1").as_str()).hosts[1],
        pair("::1", "::1", 5432)
    );
}

#[test]
fn what_is_missing_gets_libpqs_defaults() {
    for text in ["postgresql://", "postgresql:///", "user=u", "host='' user=u"] {
        let e = endpoint(text);
        assert_eq!(e.database, e.user, "{text}");
        assert!(!e.user.is_empty(), "{text}");
        let [Host::Unix { dir, port: 5432 }] = &e.hosts[..] else { panic!("{text}: {:?}", e.hosts) };
        assert!(dir.starts_with("/var/run/postgresql") || dir.starts_with("/tmp"), "{dir:?}");
        assert_eq!(e.tls.mode, SslMode::Prefer, "{text}");
    }
    assert_eq!(endpoint("postgresql://h").user, whoami::username().unwrap());
}

#[test]
fn without_sslmode_only_this_machine_is_reached_without_tls() {
    for (text, wanted) in [
        ("host=db.example user=u", SslMode::Require),
        ("host=10.0.0.1 user=u", SslMode::Require),
        ("host=localhost.example.com user=u", SslMode::Require),
        ("host=localhost,db.example user=u", SslMode::Require),
        ("host=localhost hostaddr=10.0.0.1 user=u", SslMode::Require),
        ("host=localhost user=u", SslMode::Prefer),
        ("host=LocalHost user=u", SslMode::Prefer),
        ("host=127.8.9.1 user=u", SslMode::Prefer),
        ("host=::1 user=u", SslMode::Prefer),
        ("host=::ffff:127.0.0.1 user=u", SslMode::Prefer),
        ("host=/run user=u", SslMode::Prefer),
        ("host=@pg user=u", SslMode::Prefer),
        ("host=db.example hostaddr=127.0.0.1 user=u", SslMode::Prefer),
        ("host=db.example sslmode=disable user=u", SslMode::Disable),
        ("host=db.example requiressl=0 user=u", SslMode::Prefer),
        ("host=localhost requiressl=1 user=u", SslMode::Require),
        ("host=localhost ssl=true user=u", SslMode::Require),
        ("host=localhost sslrootcert=system user=u", SslMode::VerifyFull),
        ("host=db.example sslrootcert=/ca.pem user=u", SslMode::VerifyCa),
    ] {
        assert_eq!(endpoint(text).tls.mode, wanted, "{text}");
    }
}

#[test]
fn every_word_of_a_closed_set_is_understood() {
    fn check<T: PartialEq + std::fmt::Debug>(
        keyword: &str,
        words: &words::Choices<T>,
        of: fn(Endpoint) -> T,
    ) {
        for (word, meaning) in words {
            let text = format!("host=h user=u ssl_min_protocol_version=TLSv1 {keyword}={word}");
            assert_eq!(of(endpoint(&text)), *meaning, "{text}");
        }
    }
    check("sslmode", words::SSL_MODES, |e| e.tls.mode);
    check("sslnegotiation", words::NEGOTIATIONS, |e| e.tls.negotiation);
    check("ssl_max_protocol_version", words::TLS_VERSIONS, |e| e.tls.max_version.unwrap());
    check("ssl_min_protocol_version", words::TLS_VERSIONS, |e| e.tls.min_version);
    check("channel_binding", words::BINDINGS, |e| e.channel_binding);
    check("target_session_attrs", words::SESSION_ATTRS, |e| e.session);
    check("load_balance_hosts", words::BALANCES, |e| e.load_balance);
    check("sslsni", words::SWITCH, |e| e.tls.sni);
}

#[test]
fn defaults_of_closed_sets_are_libpqs() {
    let e = endpoint("host=h user=u");
    assert_eq!(e.tls.negotiation, SslNegotiation::Postgres);
    assert_eq!((e.tls.min_version, e.tls.max_version), (TlsVersion::V1_2, None));
    assert_eq!((e.channel_binding, e.session), (ChannelBinding::Prefer, SessionAttrs::Any));
    assert_eq!((e.load_balance, e.tls.sni), (LoadBalance::Disable, true));
    assert_eq!((e.tls.roots, e.tls.identity), (RootCerts::System, None));
}

#[test]
fn certificates_come_in_pairs_and_authorities_are_checked() {
    let e = endpoint("host=h user=u sslcert=/c.pem sslkey=/k.pem sslmode=verify-full sslrootcert=/ca.pem");
    assert_eq!(e.tls.identity, Some(Identity { cert: "/c.pem".into(), key: "/k.pem".into() }));
    assert_eq!(e.tls.roots, RootCerts::File("/ca.pem".into()));
    let parsed = ok("host=h user=u sslmode=require sslrootcert=/ca.pem");
    assert_eq!(parsed.endpoint.tls.mode, SslMode::VerifyCa);
    assert!(parsed.notes[0].message.contains("verify-ca"), "{:?}", parsed.notes);
    let e = endpoint("host=h user=u sslcert=/c.pem sslkey=/k.pem sslcertmode=disable");
    assert_eq!(e.tls.identity, None);
    assert_eq!(
        endpoint("host=h user=u ssl_max_protocol_version=tlsV1.3").tls.max_version,
        Some(TlsVersion::V1_3)
    );
}

#[test]
fn timings_have_libpqs_units() {
    let t = endpoint(
        "host=h user=u connect_timeout=15 keepalives=1 keepalives_idle=60 keepalives_interval=7 keepalives_count=3 \
         tcp_user_timeout=5000",
    )
    .timings;
    assert_eq!(t.connect_timeout, Some(Duration::from_secs(15)));
    assert_eq!(t.keepalives, Some(true));
    assert_eq!(t.keepalives_idle, Some(Duration::from_secs(60)));
    assert_eq!(t.keepalives_interval, Some(Duration::from_secs(7)));
    assert_eq!(t.keepalives_count, Some(3));
    assert_eq!(t.tcp_user_timeout, Some(Duration::from_millis(5000)));
    assert_eq!(endpoint("host=h user=u keepalives=0").timings.keepalives, Some(false));
    assert_eq!(endpoint("host=h user=u").timings, Default::default());
}

#[test]
fn numbers_that_mean_a_default_say_so() {
    for (setting, wanted, note) in [
        ("connect_timeout=0", None, "no limit"),
        ("connect_timeout=-1", None, "no limit"),
        ("connect_timeout=1", Some(2), "2 seconds"),
        ("connect_timeout=+3", Some(3), ""),
        ("connect_timeout=' 3 '", Some(3), ""),
        ("keepalives_idle=0", None, "default"),
        ("keepalives_interval=-4", None, "default"),
        ("keepalives_count=0", None, "default"),
    ] {
        let parsed = ok(&format!("host=h user=u {setting}"));
        let t = &parsed.endpoint.timings;
        assert_eq!(t.connect_timeout, wanted.map(Duration::from_secs), "{setting}");
        assert_eq!(
            (t.keepalives_idle, t.keepalives_interval, t.keepalives_count),
            (None, None, None),
            "{setting}"
        );
        let said = parsed.notes.iter().any(|n| n.message.contains(note));
        assert_eq!(said, !note.is_empty(), "{setting}: {:?}", parsed.notes);
    }
    for setting in ["tcp_user_timeout=0", "tcp_user_timeout=-1"] {
        let t = endpoint(&format!("host=h user=u {setting}")).timings;
        assert_eq!(t.tcp_user_timeout, Some(Duration::ZERO), "{setting}");
    }
}

#[test]
fn the_application_name_falls_back() {
    let name = |text: &str| endpoint(text).application_name;
    assert_eq!(name("host=h user=u fallback_application_name=f"), Some("f".into()));
    assert_eq!(name("host=h user=u fallback_application_name=f application_name=a"), Some("a".into()));
    assert_eq!(name("host=h user=u application_name="), None);
}

#[test]
fn notes_tell_of_everything_that_does_nothing() {
    for (setting, about) in [
        ("gssencmode=disable", "GSSAPI"),
        ("gssencmode=prefer", "GSSAPI"),
        ("krbsrvname=postgres", "GSSAPI"),
        ("client_encoding=UTF8", "UTF-8"),
        ("replication=off", "ordinary sessions"),
        ("sslaccept=accept_invalid_certs", "sslmode=require"),
        ("sslmode=disable sslrootcert=/ca.pem", "not used"),
        ("sslmode=disable sslcert=/c.pem sslkey=/k.pem", "not used"),
        ("sslmode=disable sslmode=require", "more than once"),
        ("requiressl=1", "old word"),
    ] {
        let notes = notes(&format!("host=h user=u {setting}"));
        assert!(notes.iter().any(|n| n.contains(about)), "{setting}: {notes:?}");
    }
}

#[test]
fn a_description_shows_where_and_as_whom_and_no_secret() {
    for (text, wanted) in [
        ("postgresql://u:hunter2@h/db", "u@h:5432/db sslmode=require"),
        ("postgresql://u:hunter2@a:1,[::1]:2/db", "u@a:1,[::1]:2/db sslmode=require"),
        ("host=db.example hostaddr=127.0.0.1 user=u", "u@db.example(127.0.0.1):5432/u sslmode=prefer"),
        ("hostaddr=127.0.0.1 user=u password=hunter2", "u@127.0.0.1:5432/u sslmode=prefer"),
        ("host=/run/pg user=u password=hunter2", "u@/run/pg:5432/u"),
    ] {
        assert_eq!(endpoint(text).describe(), wanted, "{text}");
    }
}

#[test]
fn a_byte_order_mark_before_a_string_is_no_part_of_it() {
    for text in ["postgresql://app:hunter2@localhost/shop", "host=localhost user=app password=hunter2"] {
        assert_eq!(endpoint(&format!("\u{feff}{text}\r\n")), endpoint(text));
    }
    assert_eq!(problems("\u{feff}"), problems(""));
}

#[test]
fn a_password_that_is_a_name_or_short_is_not_taken_out_of_the_words_of_a_server() {
    for (text, hidden) in [
        ("postgresql://shop:shop@db/d", ""),
        ("postgresql://shop:d@db/d", ""),
        ("postgresql://shop:orders@db/orders", ""),
        ("postgresql://shop:db.example@db.example/d", ""),
        ("postgresql://shop:act@db/d", ""),
        ("postgresql://shop:shop1@db/d", "shop1"),
    ] {
        assert_eq!(endpoint(text).secret_to_hide().unwrap().expose(), hidden.as_bytes(), "{text}");
    }
    assert_eq!(endpoint("postgresql://shop@db/d").secret_to_hide(), None, "there is none");
}
