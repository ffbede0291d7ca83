//! Whole files in, problems or targets out. Every bad file of `tests/config` has the expected messages beside it.

mod flags;
mod hostile;
mod passwords;
mod pool;
mod reference;
mod written;

use std::time::Duration;

use super::*;
use crate::target::{IdlePolicy, Keepalives, PasswordSource, Role, Source, Target};

const GALLERY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");
const PASSWORD: &str = "hunter2";

fn env(name: &str) -> Option<OsString> {
    let value = match name {
        "DATABASE_URL" => "postgresql://app:hunter2@db.example:5432/shop",
        "SECRET" => "hunter2",
        "NOT_A_NUMBER" => "many",
        "INTERVAL" => "7s",
        "COUNT" => "3",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.into())
}

fn from_database_url(url: &str) -> Result<Config, Problems> {
    Config::from_database_url(url, &PoolFlags::default())
}

fn read(text: &str) -> Result<Config, Problems> {
    assemble::from_text("pgtether.yaml", text, Path::new("/etc/pgtether"), &env)?.sound()
}

fn good(text: &str) -> Config {
    read(text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn bad(text: &str) -> String {
    read(text).expect_err("problems").to_string()
}

/// The one target of `keys`, indented as they are, behind a name and a local URL.
fn target(keys: &str) -> (Arc<Target>, Vec<String>) {
    let config = good(&format!("targets:\n- name: primary\n  url: postgresql://app@localhost/shop\n{keys}"));
    let warnings = config.warnings.iter().map(ToString::to_string).collect();
    (config.targets[0].clone(), warnings)
}

/// Compares what each bad file of `folder` is told with the text beside it; `UPDATE_GALLERY=1` writes those anew.
pub(crate) fn compare_gallery(folder: &str, told: impl Fn(&str, &str) -> String) {
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let found = told(name, &text);
        assert!(!found.contains(PASSWORD), "{found}");
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_GALLERY").is_some() {
            fs::write(&expected, format!("{found}\n")).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap();
        assert_eq!(found.trim_end(), expected.trim_end(), "{name}");
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} files in {folder}");
}

#[test]
fn every_bad_file_gives_exactly_the_messages_beside_it() {
    compare_gallery(GALLERY, |name, text| {
        assemble::from_text(name, text, Path::new(""), &env)
            .and_then(Examination::sound)
            .expect_err(name)
            .to_string()
    });
}

#[test]
fn a_file_of_two_lines_gets_the_defaults() {
    let (target, warnings) = target("");
    assert_eq!(*target.tuning, crate::target::Tuning::default());
    assert_eq!(target.own_timings, Default::default());
    assert_eq!((target.service.as_str(), target.idle_policy_unset), ("pgtether", true));
    assert_eq!(warnings, [""; 0]);
    let config = good("targets: [{name: a, url_file: url}]");
    assert_eq!(config.fleet, Fleet::default());
    assert_eq!(config.targets[0].source, Source::File("/etc/pgtether/url".into()));
}

#[test]
fn a_targets_key_beats_defaults_and_defaults_beat_what_is_built_in() {
    let config = good(
        "service: image-editor
fleet: {logins_in_flight: 4, connects_per_second: 20, connects_per_host_per_second: 2}
defaults:
  required: false
  role: standby
  password_file: pw
  ping: {interval: 10s, timeout: 1s}
  refresh: {every: off, overlap: false}
  keepalives: off
  tcp_user_timeout: off
targets:
  - name: a
    url: postgresql://app@localhost/shop
  - name: b
    url: postgresql://app@localhost/shop
    required: true
    role: primary
    idle_policy: let_sleep
    password_file: /run/pw
    ping: {timeout: 2s}
    refresh: {every: 1m30s, jitter: 0.5}
    keepalives: {idle: 20s}
    backoff: {initial: 1s, max: 2s}
    breaker: {consecutive_failures: 2, open_for: 1s, max_open_for: 4s}
    wake_every: 1h
    wake_timeout: 1m
    close_idle_after: 5m
",
    );
    let (a, b) = (&config.targets[0].tuning, &config.targets[1].tuning);
    let seconds = Duration::from_secs;
    assert_eq!((a.required, b.required), (false, true));
    assert_eq!((a.role, b.role), (Role::Standby, Role::Primary));
    assert_eq!((a.idle_policy, b.idle_policy), (IdlePolicy::KeepAwake, IdlePolicy::LetSleep));
    assert_eq!((a.ping.interval, a.ping.timeout), (seconds(10), seconds(1)));
    assert_eq!((b.ping.interval, b.ping.timeout), (seconds(10), seconds(2)));
    assert_eq!((a.refresh.every, a.refresh.jitter, a.refresh.overlap), (None, 0.1, false));
    assert_eq!((b.refresh.every, b.refresh.jitter, b.refresh.overlap), (Some(seconds(90)), 0.5, false));
    let on = Keepalives { idle: seconds(20), ..Keepalives::default() };
    assert_eq!((a.keepalives, b.keepalives), (None, Some(on)));
    assert_eq!((a.tcp_user_timeout, b.tcp_user_timeout), (None, None));
    assert_eq!((b.backoff.initial, b.backoff.max), (seconds(1), seconds(2)));
    assert_eq!((b.breaker.consecutive_failures, b.breaker.max_open_for), (2, seconds(4)));
    assert_eq!((b.wake_every, b.wake_timeout), (Some(seconds(3600)), seconds(60)));
    assert_eq!(b.close_idle_after, Some(seconds(300)));
    let passwords: Vec<_> = config.targets.iter().map(|target| target.password.clone()).collect();
    assert_eq!(passwords, ["/etc/pgtether/pw", "/run/pw"].map(|path| PasswordSource::File(path.into())));
    assert_eq!(config.fleet.connects_per_host_per_second, 2);
    assert_eq!(config.targets[1].service, "image-editor");
}

#[test]
fn a_targets_key_beats_the_connection_string_which_beats_defaults() {
    let config = good(
        "defaults: {connect_timeout: 7s, tcp_user_timeout: 1m, keepalives: {count: 9}}
targets:
  - name: a
    url: postgresql://app@localhost/shop?connect_timeout=5&keepalives_idle=30&tcp_user_timeout=20000
  - name: b
    url: postgresql://app:hunter2@localhost/shop?connect_timeout=5&keepalives=0&keepalives_idle=30&tcp_user_timeout=20000
    connect_timeout: 3s
    keepalives: {idle: 4s}
    tcp_user_timeout: off
    password_file: pw
",
    );
    let sockets = |i: usize| {
        let target = &config.targets[i];
        let Source::Inline(endpoint) = &target.source else { panic!("{target:?}") };
        (target.socket_tuning(endpoint), overrides(target, endpoint))
    };
    let (a, lines) = sockets(0);
    let keepalives = a.keepalives.unwrap();
    assert_eq!(a.connect_timeout, Duration::from_secs(5));
    assert_eq!((keepalives.idle, keepalives.count), (Duration::from_secs(30), 9));
    assert_eq!(a.tcp_user_timeout, Some(Duration::from_secs(20)));
    assert_eq!(lines, [""; 0]);
    let (b, lines) = sockets(1);
    assert_eq!((b.connect_timeout, b.tcp_user_timeout), (Duration::from_secs(3), None));
    assert_eq!(b.keepalives.unwrap().idle, Duration::from_secs(4));
    assert_eq!(
        lines,
        [
            "connect_timeout: the target's 3s beats the connection string's 5s",
            "keepalives: the target's on beats the connection string's off",
            "keepalives.idle: the target's 4s beats the connection string's 30s",
            "tcp_user_timeout: the target's off beats the connection string's 20s",
            "password: the target's password_file beats the password in the connection string",
        ]
    );
}

#[test]
fn off_is_taken_as_yaml_1_1_tools_rewrite_it() {
    for off in ["off", "false", "Off", "'off'", "\"false\""] {
        let (target, _) = target(&format!("  refresh: {{every: {off}}}\n  keepalives: {off}\n"));
        assert_eq!((target.tuning.refresh.every, target.tuning.keepalives), (None, None), "{off}");
    }
}

#[test]
fn variables_expand_in_every_kind_of_value_and_never_add_structure() {
    let (target, _) = target(
        "  ping: {interval: \"${INTERVAL}\", timeout: \"${NONE:-2s}\"}\n  keepalives: {count: '${COUNT}'}\n",
    );
    assert_eq!(target.tuning.ping.interval, Duration::from_secs(7));
    assert_eq!(target.tuning.keepalives.unwrap().count, 3);
    let inject = |_: &str| Some("x\n    required: false\n  - name: evil".into());
    let text =
        "targets:\n  - name: a\n    url: postgresql://app@localhost/shop\n    password_file: ${FILE}\n";
    let config = assemble::from_text("f", text, Path::new(""), &inject).unwrap().config;
    assert_eq!((config.targets.len(), config.targets[0].tuning.required), (1, true));
}

#[test]
fn what_is_hardly_meant_is_a_warning_with_its_place() {
    let (_, warnings) = target("  tcp_user_timeout: 10s\n");
    assert_eq!(
        warnings,
        [
            "pgtether.yaml:4:21: targets[0].tcp_user_timeout: 10s is less than the 30s until the last keepalive probe: the \
          connection is given up before all of them are sent"
        ]
    );
    let (_, warnings) = target("  ping: {interval: 2s}\n");
    assert_eq!(
        warnings,
        [
            "pgtether.yaml:4:3: targets[0].ping.timeout: 5s is more than ping.interval, 2s: a server that hangs is found \
          that much later"
        ]
    );
    let (_, warnings) = target("  wake_every: 1h\n  close_idle_after: 1m\n  wake_timeout: 1m\n");
    assert_eq!(
        warnings,
        [
            "pgtether.yaml:4:15: targets[0].wake_every: does nothing without idle_policy: let_sleep",
            "pgtether.yaml:5:21: targets[0].close_idle_after: does nothing without idle_policy: let_sleep",
        ]
    );
    let (_, warnings) = target("  idle_policy: let_sleep\n  ping: {interval: 1m}\n  refresh: {every: 1m}\n");
    assert_eq!(
        warnings,
        [
            "pgtether.yaml:5:20: targets[0].ping.interval: does nothing without idle_policy: keep_awake",
            "pgtether.yaml:6:20: targets[0].refresh.every: does nothing without idle_policy: keep_awake",
        ]
    );
    for keys in ["  ping: {interval: 5m}\n", "  refresh: {every: 10s}\n"] {
        let (_, warnings) = target(keys);
        let [warning] = &warnings[..] else { panic!("{keys}: {warnings:?}") };
        assert!(warning.contains("targets[0].ping.interval: "), "{warning}");
        assert!(warning.ends_with(": sessions are replaced before they are pinged"), "{warning}");
    }
    let (_, warnings) =
        target("  ping: {interval: 1s, timeout: 200ms}\n  refresh: {every: 2s}\n  wake_every: off\n");
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn a_password_that_cannot_be_hidden_in_messages_is_a_warning_that_does_not_show_it() {
    let warned = |url: &str, keys: &str| {
        let config = good(&format!("targets:\n- name: primary\n  url: postgresql://{url}\n{keys}"));
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let rest =
        "so it is not removed from the server's messages, which are logged and shown: take a long random one";
    for (url, weakness) in [
        ("app:app@localhost/shop", "is the user's name"),
        ("app:shop@localhost/shop", "is the database's name"),
        ("app:db.example@db.example/shop", "is the host's name"),
        ("app:xyz@localhost/shop", "has fewer than 4 characters"),
    ] {
        assert_eq!(
            warned(url, ""),
            [format!("pgtether.yaml:3:8: targets[0].url: the password {weakness}, {rest}")]
        );
    }
    assert_eq!(warned("app:long-random@localhost/shop", ""), [""; 0]);
    assert_eq!(warned("app:app@localhost/shop", "  password_file: pw\n"), [""; 0]);
}

#[test]
fn neon_is_told_what_being_kept_awake_costs_unless_that_is_asked_for() {
    let neon = |rest: &str, defaults: &str| {
        let url = "postgresql://app:hunter2@ep-cool-1.us-east-2.aws.neon.tech/shop?sslmode=require";
        let config =
            good(&format!("defaults: {{{defaults}}}\ntargets:\n  - name: a\n    url: {url}\n{rest}"));
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let cost = format!("pgtether.yaml:3:5: targets[0].idle_policy: {}", crate::target::KEPT_AWAKE_COST);
    assert_eq!(neon("", ""), [cost]);
    assert!(crate::target::KEPT_AWAKE_COST.contains("gone in 16.7 days"));
    assert_eq!(neon("    idle_policy: keep_awake\n", ""), [""; 0]);
    assert_eq!(neon("", "idle_policy: let_sleep"), [""; 0]);
    let warnings = from_database_url("postgresql://a:hunter2@x.neon.tech/db").unwrap().warnings;
    assert_eq!(
        warnings[0].to_string(),
        format!("DATABASE_URL: idle_policy: {}", crate::target::KEPT_AWAKE_COST)
    );
}

#[test]
fn database_url_is_one_target_named_default() {
    let config = from_database_url("postgresql://app:hunter2@localhost/shop\n").unwrap();
    assert_eq!(config.targets.len(), 1);
    assert_eq!(config.targets[0].name.as_str(), "default");
    let marked = from_database_url("\u{feff}postgresql://app:hunter2@localhost/shop\r\n").unwrap();
    assert_eq!(marked.targets, config.targets, "a byte order mark is no part of it");
    let problems = from_database_url("postgresql://app:hunter2@localhost/shop?sslmod=x").unwrap_err();
    assert_eq!(problems.to_string(), "DATABASE_URL: unknown keyword `sslmod`: did you mean `sslmode`?");
    assert_eq!(from_database_url(" ").unwrap_err().iter().count(), 1);
}

#[test]
fn the_configuration_is_located_by_name_then_here_then_database_url() {
    let folder = tempfile::tempdir().unwrap();
    let none = |_: &str| None;
    let nothing = locate_in(folder.path(), None, &none).unwrap_err().to_string();
    assert!(nothing.contains("set DATABASE_URL") && nothing.contains("--config.file=FILE"), "{nothing}");
    let empty = |name: &str| (name == "DATABASE_URL").then(OsString::new);
    assert_eq!(locate_in(folder.path(), None, &empty).unwrap_err().to_string(), nothing);
    assert_eq!(locate_in(folder.path(), None, &env), Ok(Located::DatabaseUrl));
    let named = Path::new("/nowhere/pgtether.yaml");
    assert_eq!(locate_in(folder.path(), Some(named), &env), Ok(Located::File(named.into())));
    let here = folder.path().join("config.yaml");
    std::os::unix::fs::symlink("nowhere", &here).unwrap();
    assert_eq!(
        locate_in(folder.path(), None, &env),
        Ok(Located::File(here)),
        "a link to nowhere is a mistake to tell"
    );
    let missing = find(Some(named), &PoolFlags::default(), &env).unwrap_err().to_string();
    assert_eq!(
        missing,
        "/nowhere/pgtether.yaml: there is no such file: check the path given with --config.file"
    );
}

#[test]
fn a_connection_string_given_as_the_file_is_refused_without_showing_it() {
    let url = Path::new("postgresql://app:hunter2@localhost/shop");
    assert_eq!(
        find(Some(url), &PoolFlags::default(), &env).unwrap_err().to_string(),
        "--config.file: is given a connection string or a key (not shown, it may hold a secret): it takes the path of a \
         file. A connection string belongs in DATABASE_URL or in the file"
    );
}

#[test]
fn show_fills_in_every_default_and_reads_back_as_the_same_without_secrets() {
    let text = "service: a$${b}
targets:
  - name: a
    url: postgresql://app:hunter2@db.example/shop?channel_binding=require&options=-c%20x.y%3Dhunter2&connect_timeout=5
    refresh: {every: off}
  - name: b
    url_file: ./url
";
    let config = good(text);
    let shown = show(&config).unwrap();
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert!(!format!("{config:?}").contains("app:hunter2"));
    let url = "host=db.example port=5432 user=app dbname=shop sslmode=require channel_binding=require";
    assert!(shown.contains(&format!("  url: {url}  # without its password and options\n")), "{shown}");
    assert!(
        shown.contains("  connect_timeout: 5s\n"),
        "what the connection string says is effective: {shown}"
    );
    let again = read(&shown).unwrap();
    assert_eq!((again.service.as_str(), &again.service), ("a${b}", &config.service));
    assert_eq!(again.targets[0].tuning.refresh, config.targets[0].tuning.refresh);
    assert_eq!(again.targets[1].tuning, config.targets[1].tuning);
    assert_eq!(again.targets[1].source, config.targets[1].source);
    assert_eq!(show(&again).unwrap().lines().count(), shown.lines().count());
}
