//! `pool:` of a target, where it is good; what is wrong with others is in the gallery.

use proptest::prelude::*;

use super::*;
use crate::config::pool::collide;
use crate::target::pool::{Auth, ClientTls, Listen, Mode, Pool};

fn tcp(address: &str) -> Listen {
    Listen::Tcp(address.parse().unwrap())
}

/// The pool of `keys` in a target that has a password, and the warnings.
fn pool(keys: &str) -> (Pool, Vec<String>) {
    let (target, warnings) = target(&format!("  password_file: pw\n{keys}"));
    (target.pool.as_deref().expect("a pool").clone(), warnings)
}

fn defaults() -> Pool {
    Pool {
        listen: tcp("127.0.0.1:6432"),
        mode: Mode::Transaction,
        size: 10,
        min_idle: 1,
        max_clients: 1000,
        wait_timeout: Duration::from_secs(15),
        auth: Auth::Scram,
        tls: ClientTls::SelfSigned,
        query_stall: Duration::from_secs(30),
        query_timeout: None,
        idle_transaction_timeout: None,
        client_idle_timeout: None,
        // PgBouncer's client_login_timeout, PostgreSQL's authentication_timeout.
        login_timeout: Duration::from_secs(60),
        prepare_unnamed: false,
    }
}

#[test]
fn only_listen_is_required() {
    assert_eq!(pool("  pool: {listen: 127.0.0.1:6432}\n"), (defaults(), Vec::new()));
    let (target, _) = target("  pool: ~\n");
    assert_eq!(target.pool, None, "nothing behind a key is no key");
}

#[test]
fn every_key_counts() {
    let (all, warnings) = pool(
        "  pool:
    listen: '[::1]:7000'
    mode: session
    size: 4
    min_idle: 4
    max_clients: 50
    wait_timeout: 250ms
    auth: trust
    tls: {cert_file: tls.crt, key_file: /run/tls.key}
    query_stall: 1m
    query_timeout: 2m
    idle_transaction_timeout: 3m
    client_idle_timeout: 4m
    login_timeout: 5s
    prepare_unnamed: true
",
    );
    let tls = ClientTls::Files { cert: "/etc/pgtether/tls.crt".into(), key: "/run/tls.key".into() };
    let expected = Pool {
        listen: tcp("[::1]:7000"),
        mode: Mode::Session,
        size: 4,
        min_idle: 4,
        max_clients: 50,
        wait_timeout: Duration::from_millis(250),
        auth: Auth::Trust,
        tls,
        query_stall: Duration::from_secs(60),
        query_timeout: Some(Duration::from_secs(120)),
        idle_transaction_timeout: Some(Duration::from_secs(180)),
        client_idle_timeout: Some(Duration::from_secs(240)),
        login_timeout: Duration::from_secs(5),
        prepare_unnamed: true,
    };
    let idle = "pgtether.yaml:19:22: targets[0].pool.prepare_unnamed: does nothing in session mode, where a client keeps its \
                session with all its statements";
    assert_eq!((all, warnings), (expected, vec![idle.to_owned()]));
    assert_eq!(pool("  pool: {listen: localhost:1, prepare_unnamed: true}\n").1, [""; 0]);
    assert_eq!(pool("  pool: {listen: localhost:1, tls: off}\n").0.tls, ClientTls::Off);
}

#[test]
fn it_listens_where_it_is_told_to() {
    for (written, listen) in [
        ("localhost:6432", tcp("127.0.0.1:6432")),
        ("127.8.8.8:65535", tcp("127.8.8.8:65535")),
        ("[::ffff:127.0.0.1]:1", tcp("[::ffff:127.0.0.1]:1")),
        ("unix:/run/.s.PGSQL.6432", Listen::Unix("/run/.s.PGSQL.6432".into())),
        ("${NONE:-localhost}:6${COUNT}", tcp("127.0.0.1:63")),
    ] {
        let (pool, warnings) = pool(&format!("  pool: {{listen: \"{written}\"}}\n"));
        assert_eq!((pool.listen, warnings), (listen, Vec::new()), "{written}");
    }
}

#[test]
fn a_database_that_may_sleep_is_not_kept_awake_by_its_pool() {
    let sleepy =
        |keys: &str| pool(&format!("  idle_policy: let_sleep\n  pool: {{listen: localhost:6432{keys}}}\n"));
    let (quiet, warnings) = sleepy("");
    assert_eq!((quiet, warnings), (Pool { min_idle: 0, ..defaults() }, Vec::new()));
    assert_eq!(sleepy(", min_idle: 0").1, [""; 0]);
    let (awake, warnings) = sleepy(", min_idle: 2");
    assert_eq!(awake.min_idle, 2);
    assert_eq!(
        warnings,
        [
            "pgtether.yaml:6:44: targets[0].pool.min_idle: under idle_policy: let_sleep a session that is kept open wakes \
          the database as soon as it sleeps: take 0, a client's arrival wakes it"
        ]
    );
}

#[test]
fn scram_takes_the_password_from_wherever_the_target_has_it() {
    let pool = "pool: {listen: 127.0.0.1:6432}";
    for target in [
        format!("{{name: a, url_file: u, {pool}}}"),
        format!("{{name: a, url: postgresql://app@h/d, password_file: pw, {pool}}}"),
        format!("{{name: a, url: \"postgresql://app:hunter2@h/d\", {pool}}}"),
    ] {
        assert_eq!(good(&format!("targets: [{target}]")).targets.len(), 1, "{target}");
    }
    let without = "targets: [{name: a, url: postgresql://app@h/d, pool: {listen: 127.0.0.1:6432";
    assert!(bad(&format!("{without}}}}}]")).contains("targets[0].pool.auth: scram asks clients"));
    assert_eq!(good(&format!("defaults: {{password_file: pw}}\n{without}}}}}]")).warnings, []);
    assert_eq!(good(&format!("{without}, auth: trust}}}}]")).warnings, []);
}

#[test]
fn a_unix_socket_that_clients_cannot_find_or_that_gets_a_certificate_is_a_warning() {
    let (_, warnings) = pool("  pool: {listen: unix:/run/pgtether/pool, tls: {cert_file: a, key_file: b}}\n");
    assert_eq!(
        warnings,
        [
            "pgtether.yaml:5:43: targets[0].pool.tls: does nothing: there is no TLS on a Unix socket",
            "pgtether.yaml:5:18: targets[0].pool.listen: libpq finds only sockets named .s.PGSQL.PORT, such as \
             unix:/run/pgtether/.s.PGSQL.6432 for host=/run/pgtether port=6432",
        ]
    );
    assert_eq!(pool("  pool: {listen: unix:/run/pgtether/.s.PGSQL.6432, tls: off}\n").1, [""; 0]);
}

#[test]
fn what_show_prints_is_read_as_the_same_pool() {
    for keys in [
        "listen: 127.0.0.1:6432",
        "listen: 0.0.0.0:6432, tls: {cert_file: a, key_file: b}, mode: session, wait_timeout: 90s",
        "listen: \"unix:/run/.s.PGSQL.6432\", auth: trust, tls: off, size: 3, min_idle: 0",
    ] {
        let config = good(&format!("targets: [{{name: a, url_file: u, pool: {{{keys}}}}}]"));
        let shown = show(&config).unwrap();
        assert_eq!(read(&shown).unwrap().targets[0].pool, config.targets[0].pool, "{shown}");
    }
    let without = show(&good("targets: [{name: a, url_file: u}]")).unwrap();
    assert!(!without.contains("pool"), "{without}");
}

#[test]
fn sockets_that_exclude_each_other_are_known() {
    let unix = |path: &str| Listen::Unix(path.into());
    for (a, b, together) in [
        (tcp("127.0.0.1:1"), tcp("127.0.0.1:1"), false),
        (tcp("127.0.0.1:1"), tcp("127.0.0.1:2"), true),
        (tcp("127.0.0.1:1"), tcp("127.0.0.2:1"), true),
        (tcp("127.0.0.1:1"), tcp("0.0.0.0:1"), false),
        (tcp("127.0.0.1:1"), tcp("[::]:1"), false),
        (tcp("[::1]:1"), tcp("[::]:1"), false),
        (tcp("[::1]:1"), tcp("0.0.0.0:1"), true),
        (tcp("[::]:1"), tcp("0.0.0.0:1"), false),
        (tcp("[::ffff:127.0.0.1]:1"), tcp("127.0.0.1:1"), false),
        (unix("/run/a"), unix("/run/./a"), false),
        (unix("/run/a"), unix("/run/b"), true),
        (unix("/run/a"), tcp("127.0.0.1:1"), true),
    ] {
        assert_eq!((!collide(&a, &b), !collide(&b, &a)), (together, together), "{a} and {b}");
    }
}

proptest! {
    #[test]
    fn no_listen_panics_and_what_is_taken_is_shown_as_it_is_read(text in "(unix:)?[ -#%-~é]{0,120}|[0-9.:\\[\\]a-f]{0,30}:[0-9]{1,6}") {
        let quoted = serde_json::to_string(&text).unwrap();
        let keys = format!("listen: {quoted}, auth: trust, tls: off");
        if let Ok(config) = read(&format!("targets: [{{name: a, url_file: u, pool: {{{keys}}}}}]")) {
            let listen = &config.targets[0].pool.as_ref().unwrap().listen;
            prop_assert!(listen.is_local());
            let again = read(&show(&config).unwrap()).unwrap();
            prop_assert_eq!(&again.targets[0].pool.as_ref().unwrap().listen, listen);
        }
    }
}
