//! No password leaves: a run through every failure at debug level, and a search of everything that was said.

use std::fs;
use std::path::Path;

use openssl::base64::encode_block;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pgtether::demo::postgres::{Cluster, Setup, free_port};

use crate::certs::{Authority, with_tls};
use crate::process::{Daemon, request, run, wait_until};
use crate::scripted::{Scripted, Step, say};
use crate::servers::{Admin, Version, postgres};
use crate::supervise::{SOON, await_log, targets};

/// In every piece of every password, so that a piece that comes loose is found, too.
const MARK: &str = "Zq7kW";

/// The password that is right, and those that are wrong.
const RIGHT: &str = "Zq7kW1@ Zq7kW2 %Zq7kW3%41'Zq7kW4\"Zq7kW5/Zq7kW6:Zq7kW7?Zq7kW8#Zq7kW9&Zq7kWa\\Zq7kWb";
const PLAIN: &str = "Zq7kWplain";
const SECRETS: [&str; 2] = [RIGHT, PLAIN];

/// What a leak of a password would hold, in any of the ways to write one.
fn needles() -> Vec<String> {
    let hex: String = MARK.bytes().map(|b| format!("{b:02x}")).collect();
    let bytes = MARK.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(", ");
    let mut needles = vec![MARK.to_owned(), hex, bytes];
    for text in SECRETS.into_iter().chain([MARK]) {
        for pad in 0..3 {
            let shifted = format!("{}{text}", &"xxx"[..pad]);
            let encoded = encode_block(shifted.as_bytes());
            // What the neighbours on both sides have no part in.
            let (first, last) = (if pad == 0 { 0 } else { 4 }, shifted.len() / 3 * 4);
            let core = &encoded[first..last];
            if core.len() >= 4 {
                needles.push(core.to_owned());
                needles.push(core.replace('+', "-").replace('/', "_"));
            }
        }
    }
    needles
}

/// Where in a text a secret stands, with what stands around it.
fn leak(text: &str) -> Option<String> {
    let needles = needles();
    let found = needles.iter().find_map(|needle| Some((needle, text.find(needle.as_str())?)));
    found.map(|(needle, at)| {
        let start = text[..at].char_indices().rev().nth(150).map_or(0, |(i, _)| i);
        let around: String = text[start..].chars().take(300).collect();
        format!("{needle} in …{around}…")
    })
}

fn assert_clean(what: &str, text: &str) {
    if let Some(leak) = leak(text) {
        panic!("{what} tells a secret: {leak}");
    }
}

fn encoded(password: &str) -> String {
    utf8_percent_encode(password, NON_ALPHANUMERIC).to_string()
}

#[test]
fn the_search_finds_a_password_however_it_is_written() {
    for secret in SECRETS {
        let ways = [
            secret.to_owned(),
            encoded(secret),
            format!("{secret:?}"),
            format!("{:?}", secret.as_bytes()),
            serde_json::to_string(secret).unwrap(),
            format!("postgresql://app:{}@host/db", encoded(secret)),
            encode_block(secret.as_bytes()),
            encode_block(format!("app:{secret}").as_bytes()),
            encode_block(format!("user:{secret}@host").as_bytes()),
            secret.bytes().map(|b| format!("{b:02x}")).collect(),
        ];
        for way in ways {
            let text = format!("level=debug msg=\"something {way} happened\"");
            assert!(leak(&text).is_some(), "not found in {text}");
        }
        for piece in secret.split(|c: char| !c.is_ascii_alphanumeric()).filter(|piece| piece.len() > 2) {
            assert!(leak(&format!("host not found: {piece}")).is_some(), "{piece}");
        }
    }
    assert_eq!(leak("level=info msg=started password=<redacted>"), None);
}

/// A server that asks for the password in clear and throws it back.
async fn parrot() -> Scripted {
    let thrown_back = format!("password {RIGHT} ({}) is wrong", encoded(RIGHT));
    Scripted::start(vec![
        Step::Accept,
        Step::ReadStartup(vec![]),
        Step::Send(say::auth(3, b"")),
        Step::Read(b'p', MARK),
        Step::Send(say::fatal("28P01", &thrown_back)),
        Step::AwaitEnd,
    ])
    .await
}

/// One target for each way to fail, and those that are well.
fn every_failure(cluster: &Cluster, parrot: &Scripted, folder: &Path) -> String {
    let (port, dead) = (cluster.port(), free_port().unwrap());
    let (right, plain) = (encoded(RIGHT), encoded(PLAIN));
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let url = |user: &str, password: &str, rest: &str| format!("url: postgresql://{user}:{password}@{rest}");
    let here = format!("127.0.0.1:{port}");
    let quoted = RIGHT.replace('\\', "\\\\").replace('\'', "\\'");
    let keywords = format!("host=127.0.0.1 port={port} user=app dbname=postgres password='{quoted}'");
    let keywords = format!("url: {}", serde_json::to_string(&keywords).unwrap());
    let other_ca = write("other.pem", &Authority::new("other").pem());
    let (wrong, good) = (write("wrong", PLAIN), write("right", &format!("{RIGHT}\n")));
    let broken = write("broken", &format!("postgresql://app:{RIGHT}@{here}/postgres?sslmode=maybe"));
    let unknown = write("unknown", &format!("postgresql://app:{plain}@{here}/postgres?passwort={plain}"));
    let whole = write("whole", &format!("postgresql://app:{right}@{here}/postgres"));
    let junk = write("junk", &format!("{RIGHT}\n{RIGHT}"));
    // What was printed to stdout by the time that it fails is no password, and still a secret.
    let failing = write("failing", &format!("cat {good}; cat {good} >&2; echo 'no token' >&2; exit 3"));
    let anyone = format!("url: postgresql://app@{here}/postgres");
    let verify = |ca: &str| format!("localhost:{port}/postgres?sslmode=verify-full&sslrootcert={ca}");
    let option = format!("{here}/postgres?options=-c%20my.key%3D{plain}");
    let refused_option = format!("{here}/postgres?options=-c%20work_mem%3Dlots");
    let keys: Vec<(&str, Vec<String>)> = vec![
        ("right-url", vec![url("app", &right, &option), "refresh: {every: 1s}".to_owned()]),
        ("right-keywords", vec![keywords, "ping: {interval: 1s, timeout: 1s}".to_owned()]),
        ("right-file", vec![anyone.clone(), format!("password_file: {good}")]),
        ("right-url-file", vec![format!("url_file: {whole}")]),
        ("right-command", vec![anyone.clone(), format!("password_command: [cat, {good}]")]),
        ("wrong-command", vec![anyone.clone(), format!("password_command: [cat, {wrong}]")]),
        ("failing-command", vec![anyone.clone(), format!("password_command: [sh, {failing}]")]),
        ("wrong-password", vec![url("app", &plain, &format!("{here}/postgres"))]),
        ("wrong-file", vec![anyone.clone(), format!("password_file: {wrong}")]),
        ("wrong-user", vec![url("nobody", &right, &format!("{here}/postgres"))]),
        ("wrong-database", vec![url("app", &right, &format!("{here}/nowhere"))]),
        ("wrong-option", vec![url("app", &right, &refused_option)]),
        ("wrong-role", vec![url("app", &right, &format!("{here}/postgres")), "role: standby".to_owned()]),
        ("dead-port", vec![url("app", &right, &format!("127.0.0.1:{dead}/postgres"))]),
        ("dead-name", vec![url("app", &right, "nowhere.invalid/postgres")]),
        ("tls-other-ca", vec![url("app", &right, &verify(&other_ca))]),
        ("tls-junk-ca", vec![url("app", &right, &verify(&junk))]),
        ("tls-no-ca", vec![url("app", &right, &verify("/nonexistent/ca.pem"))]),
        ("no-file", vec![anyone, "password_file: /nonexistent/password".to_owned()]),
        ("broken-url-file", vec![format!("url_file: {broken}")]),
        ("unknown-url-file", vec![format!("url_file: {unknown}")]),
        ("junk-url-file", vec![format!("url_file: {junk}")]),
        ("parrot", vec![url("app", &right, &format!("{}/db?sslmode=disable", parrot.address))]),
    ];
    let lines: Vec<Vec<&str>> =
        keys.iter().map(|(_, lines)| lines.iter().map(String::as_str).collect()).collect();
    let all: Vec<(&str, &[&str])> =
        keys.iter().zip(&lines).map(|((name, _), lines)| (*name, lines.as_slice())).collect();
    targets(&all)
}

async fn cluster() -> Cluster {
    let authority = Authority::new("secrets");
    let cluster = postgres(Version::V15, with_tls(Setup::default(), &authority, &authority.server()));
    let admin = Admin::of(&cluster).await;
    let quoted = RIGHT.replace('\'', "''");
    admin.query("SET standard_conforming_strings = on").await;
    admin.query(&format!("CREATE ROLE app LOGIN PASSWORD '{quoted}'")).await;
    cluster
}

/// Waits until every target has been tried; those whose password is right are up, the others not.
async fn all_tried(daemon: &Daemon) {
    wait_until(SOON * 2, "every target tried", async || {
        let health = daemon.get("/health").await.json();
        let still = |target: &&serde_json::Value| {
            let name = target["name"].as_str().unwrap();
            let wanted: &[&str] = match name {
                name if name.starts_with("right") => &["up"],
                "wrong-role" => &["degraded"],
                _ => &["down"],
            };
            !wanted.contains(&target["state"].as_str().unwrap())
        };
        let waiting: Vec<_> = health["targets"].as_array().unwrap().iter().filter(still).cloned().collect();
        if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
    })
    .await;
}

#[tokio::test]
async fn nothing_that_the_daemon_says_holds_a_password() {
    let cluster = cluster().await;
    for format in ["logfmt", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let parrot = parrot().await;
        let config = every_failure(&cluster, &parrot, folder.path());
        assert!(leak(&config).is_some(), "the passwords are in the configuration");
        let log_format = format!("--log.format={format}");
        let args = ["--log.level=debug", &log_format, "--web.enable-lifecycle"];
        let daemon = Daemon::start_with(&config, &args, &[]);
        all_tried(&daemon).await;

        for page in [
            "/",
            "/metrics",
            "/health",
            "/livez?verbose",
            "/readyz?verbose",
            "/api/v1/targets",
            "/api/v1/events",
        ] {
            assert_clean(page, &daemon.get(page).await.text());
        }
        let draft = [("accept", "application/health+json")];
        let answer = request(daemon.address(), hyper::Method::GET, "/health", &draft).await;
        assert_clean("/health in the draft's words", &answer.text());
        for name in config.lines().filter_map(|line| line.trim().strip_prefix("- name: ")) {
            for page in [format!("/health/{name}"), format!("/probe?target={name}")] {
                assert_clean(&page, &daemon.get(&page).await.text());
            }
        }
        fs::write(daemon.config_file(), bad_file()).unwrap();
        let answer = daemon.post("/-/reload").await;
        assert_eq!(answer.status, 500);
        assert_clean("a refused reload", &answer.text());
        await_log(&daemon, "the previous one stays in use").await;
        let log = daemon.log();
        assert_clean(&format!("the log in {format}"), &log);
        assert!(!log.contains("panicked"), "{log}");
        parrot.played().await;
    }
}

/// Passwords in places where they do not belong, and where they do, beside mistakes.
fn bad_file() -> String {
    let right = encoded(RIGHT);
    let json = serde_json::to_string(RIGHT).unwrap();
    let host_url = serde_json::to_string(&format!("postgresql://app:{RIGHT}@host/db")).unwrap();
    targets(&[
        ("broken-url", &[&format!("url: {host_url}")]),
        ("bad-port", &[&format!("url: postgresql://app:{right}@host:99999/db")]),
        ("bad-key", &["url: postgresql://app@host/db", &format!("password: {json}")]),
        ("bad-scheme", &[&format!("url: mysql://app:{right}@host/db")]),
        ("bad-parameter", &[&format!("url: postgresql://app:{right}@host/db?sslmode={PLAIN}&x={PLAIN}")]),
        ("bad-escape", &[&format!("url: \"postgresql://app:%zz{PLAIN}@host/db\"")]),
        ("refused", &[&format!("url: postgresql://app:{right}@host/db?sslpassword={PLAIN}")]),
        ("keywords", &[&format!("url: \"host=h password='{PLAIN}\"")]),
        ("twice", &[&format!("url: postgresql://app:{right}@host/db"), &format!("url_file: /run/{PLAIN}x")]),
    ])
    // A path is no secret.
    .replace(&format!("/run/{PLAIN}x"), "/run/secret")
}

// The commands are waited for on this thread, the parrot speaks on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_that_the_commands_say_holds_a_password() {
    let cluster = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let parrot = parrot().await;
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        format!("--config.file={}", path.display())
    };
    let good = write("good.yaml", &every_failure(&cluster, &parrot, folder.path()));
    let bad = write("bad.yaml", &bad_file());
    let from_env =
        write("env.yaml", "targets: [{name: \"${SECRET}\", url: \"${SECRET}\", role: \"${SECRET}\"}]\n");
    let broken = format!("postgresql://app:{RIGHT}@host/db");
    let url = format!("postgresql://app:{}@127.0.0.1:{}/postgres", encoded(RIGHT), cluster.port());
    let wrong = format!("postgresql://app:{PLAIN}@127.0.0.1:{}/postgres", cluster.port());
    let flagged = format!("--web.listen-address={url}");
    let unknown = format!("--url={url}");
    let runs: [(&[&str], i32); 18] = [
        (&["check", &good, "--log.level=debug"], 2),
        (&["check", &good, "--output=json"], 2),
        (&["config", "show", &good], 0),
        // Files are missing.
        (&["--config.check", &good], 64),
        (&["--config.check", &bad], 64),
        (&["config", "show", &bad], 64),
        (&["check", &bad], 3),
        (&["--config.check", &from_env], 64),
        // The certificate ends soon.
        (&["check", &url], 1),
        (&["check", &wrong], 2),
        (&["check", &broken], 3),
        (&["check", &broken, "--output=json"], 3),
        (&["check", PLAIN, &url, &good, "--wach"], 3),
        (&[&url], 64),
        (&["run", &url], 64),
        (&["config", "show", &url], 64),
        (&[&flagged], 64),
        (&[&unknown], 64),
    ];
    for (args, code) in runs {
        let ended = run(args, &[("SECRET", RIGHT)]);
        for (stream, bytes) in [("output", &ended.stdout), ("errors", &ended.stderr)] {
            assert_clean(&format!("{args:?}'s {stream}"), &String::from_utf8_lossy(bytes));
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{args:?}: {said}");
    }
    for variable in ["DATABASE_URL", "PGTETHER_WEB_LISTEN_ADDRESS", "PGTETHER_LOG_LEVEL"] {
        for args in [&["--config.check"][..], &["config", "show"], &["check"]] {
            let mut command = crate::process::command(args, &[(variable, &broken)]);
            let ended = command.current_dir(folder.path()).output().unwrap();
            assert_clean(&format!("{args:?} with {variable}"), &String::from_utf8_lossy(&ended.stderr));
            assert_clean(&format!("{args:?} with {variable}"), &String::from_utf8_lossy(&ended.stdout));
        }
    }
    parrot.played().await;
}
