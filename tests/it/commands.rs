//! The commands as a person or a script meets them: what they print, where, and how they exit.

mod check;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgtether::demo::postgres::free_port;

use crate::process::{Daemon, command, run};
use crate::servers::postgres15;
use crate::supervise::{SOON, config, targets};

/// What a command has come to.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn pgtether(args: &[&str]) -> Ended {
    run(args, &[]).into()
}

/// The same, started in another folder.
fn within(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut command: Command = command(args, env);
    command.current_dir(folder).output().unwrap().into()
}

/// A configuration file in a folder of its own, and the flag that names it.
pub fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    let flag = format!("--config.file={}", path.display());
    (folder, flag)
}

#[test]
fn the_version_is_told_as_exporters_tell_it() {
    for flag in ["--version", "-V"] {
        let ended = pgtether(&[flag]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
        assert!(ended.out.starts_with(concat!(
            "pgtether, version ",
            env!("CARGO_PKG_VERSION"),
            " (revision: "
        )));
    }
}

#[test]
fn help_goes_to_standard_output_and_names_each_command() {
    let ended = pgtether(&["--help"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let (_, commands) = ended.out.split_once("\nCommands:\n").expect("no list of commands");
    let listed = commands.lines().take_while(|line| !line.is_empty());
    let listed: Vec<_> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    for command in ["run", "check", "config", "exec", "demo", "healthcheck", "completions", "man"] {
        assert!(listed.contains(&command), "no {command} in {listed:?}");
    }
    for word in ["--web.listen-address", "PGTETHER_LOG_LEVEL", "DATABASE_URL"] {
        assert!(ended.out.contains(word), "no {word} in {}", ended.out);
    }
}

#[test]
fn flags_that_are_unusable_are_told_on_standard_error_with_64() {
    for (args, wanted) in [
        (&["--web.listen-adress=:1"][..], "--web.listen-address"),
        (&["--log.level=loud"], "debug"),
        (&["--web.listen-address=nowhere"], "listen-address"),
        (&["frobnicate"], "frobnicate"),
        (&["config"], "show"),
        (&["--web.config.file=no-such-file"], "check the path given with --web.config.file"),
    ] {
        let ended = pgtether(args);
        assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{args:?}: {ended:?}");
        assert!(ended.err.contains(wanted), "{args:?}: no {wanted} in {}", ended.err);
    }
}

#[test]
fn without_a_configuration_both_ways_to_go_on_are_named() {
    let empty = tempfile::tempdir().unwrap();
    for env in [&[][..], &[("DATABASE_URL", "")]] {
        let ended = within(empty.path(), &[], env);
        assert_eq!(ended.code, 64, "{ended:?}");
        for way in ["DATABASE_URL", "--config.file=FILE"] {
            assert!(ended.err.contains(way), "no {way} in {}", ended.err);
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ended = pgtether(&["--config.file=/nonexistent/pgtether.yaml"]);
    assert_eq!(ended.code, 64);
    assert!(ended.err.contains("/nonexistent/pgtether.yaml"), "{}", ended.err);
}

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_path() {
    let text = "service: x\ntargets:\n  - name: a b\n    url: postgresql://h/d\n    pings: 3\n  - name: two\n    \
                url: mysql://h/d\n    refresh: {every: 1y}\n";
    let (folder, flag) = file(text);
    for args in [&[flag.as_str()][..], &["--config.check", &flag], &["config", "show", &flag]] {
        let ended = pgtether(args);
        assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{args:?}: {ended:?}");
        let path = folder.path().join("config.yaml").display().to_string();
        for (line, path_in_it) in [
            (3, "targets[0].name"),
            (5, "targets[0].pings"),
            (7, "targets[1].url"),
            (8, "targets[1].refresh.every"),
        ] {
            let told = ended
                .err
                .lines()
                .any(|told| told.starts_with(&format!("{path}:{line}:")) && told.contains(path_in_it));
            assert!(told, "line {line}, {path_in_it}, is not in:\n{}", ended.err);
        }
        assert_eq!(ended.err.lines().count(), 4, "{}", ended.err);
    }
}

#[test]
fn a_good_file_passes_the_check_and_no_server_is_asked() {
    let (_folder, flag) = file(&config("postgresql://app@nowhere.invalid/db", &[]));
    let ended = pgtether(&["--config.check", &flag]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("good"), "{}", ended.out);
}

#[test]
fn a_missing_file_of_a_secret_fails_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    std::fs::write(&there, "postgresql://app@nowhere.invalid/db").unwrap();
    let (pipe, wrong) = (folder.path().join("pipe"), folder.path().join("wrong"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(&wrong, "postgresql://app@nowhere.invalid/db?sslmode=required").unwrap();
    let text = format!(
        "targets:\n  - {{name: a, url_file: {0}}}\n  - {{name: b, url_file: {0}x}}\n  \
         - {{name: c, url: \"postgresql://h/d\", password_file: {1}}}\n  \
         - {{name: d, url: \"postgresql://h/d\", password_file: {2}}}\n  - {{name: e, url_file: {3}}}\n",
        there.display(),
        folder.path().display(),
        pipe.display(),
        wrong.display()
    );
    let (_folder, flag) = file(&text);
    let ended = pgtether(&["--config.check", &flag]);
    let wrong = ended.err.lines().filter(|line| !line.starts_with("warning: ")).count();
    assert_eq!((ended.code, wrong), (64, 4), "{}", ended.err);
    for (place, why) in [
        (":3:25: targets[1].url_file: cannot read url_file ", "No such file"),
        (":4:55: targets[2].password_file: password_file ", "is not a regular file"),
        (":5:55: targets[3].password_file: password_file ", "is not a regular file"),
        (":6:25: targets[4].url_file: url_file ", "`sslmode` must be one of"),
    ] {
        let told = |line: &str| line.contains(place) && line.contains(why);
        assert!(ended.err.lines().any(told), "{place}: {}", ended.err);
    }
}

#[test]
fn a_missing_certificate_or_key_fails_the_check_where_tls_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    std::fs::write(&there, "x").unwrap();
    let (there, missing) = (there.display(), folder.path().join("missing"));
    let missing = missing.display();
    let text = format!(
        "targets:\n  - {{name: a, url: 'host=h sslmode=verify-full sslrootcert={missing}'}}\n  \
         - {{name: b, url: 'host=h sslmode=require sslcert={there} sslkey={missing}'}}\n  \
         - {{name: c, url: 'host=h sslmode=require sslcert={missing} sslkey={there}'}}\n  \
         - {{name: d, url: 'host=h sslmode=disable sslrootcert={missing}'}}\n  \
         - {{name: e, url: 'host=h sslmode=verify-ca sslrootcert={there}', pool: \
         {{listen: 127.0.0.1:1, auth: trust, tls: {{cert_file: {missing}, key_file: {missing}}}}}}}\n"
    );
    let (_folder, flag) = file(&text);
    let ended = pgtether(&["--config.check", &flag]);
    let wrong = ended.err.lines().filter(|line| !line.starts_with("warning: "));
    let told: Vec<_> =
        wrong.map(|line| line.split_once("config.yaml:").unwrap().1.split(" /").next().unwrap()).collect();
    let expected = [
        "2:20: targets[0].url: cannot read sslrootcert",
        "3:20: targets[1].url: cannot read sslkey",
        "4:20: targets[2].url: cannot read sslcert",
        "6:144: targets[4].pool.tls.cert_file: cannot read pool.tls.cert_file",
        "6:177: targets[4].pool.tls.key_file: cannot read pool.tls.key_file",
    ];
    let without_columns = |text: &str| {
        let (line, rest) = text.split_once(':').unwrap();
        format!("{line}:{}", rest.split_once(':').unwrap().1)
    };
    assert_eq!(ended.code, 64);
    assert_eq!(
        told.iter().map(|text| without_columns(text)).collect::<Vec<_>>(),
        expected.map(without_columns),
        "{}",
        ended.err
    );
}

#[test]
fn one_run_of_the_check_tells_mistakes_missing_files_and_warnings() {
    let text = "targets:\n  - name: a\n    url: postgresql://app@h/d\n    pings: 3\n    password_file: /nonexistent/pw\n    \
                ping: {interval: 1s, timeout: 2s}\n  - name: b\n    url: postgresql://app@h/d\n    \
                password_command: [/nonexistent/program]\n";
    let (folder, flag) = file(text);
    let web = folder.path().join("web.yml");
    fs::write(&web, "tls_server_conf: {}\n").unwrap();
    let ended = pgtether(&["--config.check", &flag, &format!("--web.config.file={}", web.display())]);
    assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{ended:?}");
    let config = folder.path().join("config.yaml").display().to_string();
    let told: Vec<_> = ended.err.lines().map(|line| line.replace(&config, "F")).collect();
    let web = web.display().to_string();
    for (line, start) in told.iter().zip([
        "F:4:5: targets[0].pings: ",
        "F:5:20: targets[0].password_file: cannot read password_file /nonexistent/pw",
        &web,
        "warning: F:6:",
        "warning: F:9:5: targets[1].password_command: password_command cannot run here",
    ]) {
        assert!(line.starts_with(start), "{start}: {told:#?}");
    }
    assert_eq!(told.len(), 5, "{told:#?}");
}

#[test]
fn help_is_a_command_and_tells_of_the_others() {
    let (asked, flagged) = (pgtether(&["help"]), pgtether(&["--help"]));
    assert_eq!((asked.code, &asked.out), (0, &flagged.out));
    let ended = pgtether(&["help", "check"]);
    assert!(ended.code == 0 && ended.out.contains("--watch"), "{}", ended.out);
}

#[test]
fn what_is_shown_is_a_configuration_with_every_default_and_no_password() {
    let text = config("postgresql://app:sesame@db.example.com/app", &["ping: {interval: 7s}"]);
    let (_folder, flag) = file(&text);
    let ended = pgtether(&["config", "show", &flag]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(!ended.out.contains("sesame") && ended.out.contains("# without its password"), "{}", ended.out);
    let shown: serde_yaml::Value = serde_yaml::from_str(&ended.out).unwrap();
    let target = &shown["targets"][0];
    assert_eq!(target["ping"]["interval"], "7s");
    assert_eq!(target["refresh"]["every"], "4m");
    assert_eq!(shown["fleet"]["logins_in_flight"], 16);
}

/// From another folder than the one where it was shown, and from the same.
#[test]
fn what_is_shown_means_the_same_files_wherever_it_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let [at, other] = ["at", "other"].map(|name| folder.path().join(name));
    for folder in [&at, &other] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(at.join("pw"), "sesame").unwrap();
    let text = "targets:\n  - {name: a, url: 'host=h user=u sslmode=verify-ca sslrootcert=ca.pem sslcert=c.pem sslkey=./k.pem', \
                password_file: pw}\n  - {name: b, url_file: ./url}\n  - {name: c, url: 'host=h user=u', \
                password_command: [./command, ./word]}\n";
    fs::write(at.join("c.yaml"), text).unwrap();
    let show = |from: &std::path::Path, file: &str| {
        let mut command = crate::process::command(&["config", "show", &format!("--config.file={file}")], &[]);
        let output = command.current_dir(from).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = show(&at, "c.yaml");
    let path = |name: &str| at.join(name).display().to_string();
    for file in ["ca.pem", "c.pem", "k.pem", "pw", "url", "command"] {
        assert!(
            shown.contains(&path(file)) || shown.contains(&path(&format!("./{file}"))),
            "{file}: {shown}"
        );
    }
    assert!(shown.contains("- ./word\n"), "an argument is no path of ours: {shown}");
    fs::write(other.join("again.yaml"), &shown).unwrap();
    assert_eq!(show(&other, "again.yaml"), shown);
    assert_eq!(show(folder.path(), "other/again.yaml"), shown);
}

#[test]
fn the_schema_is_the_one_in_the_repository() {
    let ended = pgtether(&["config", "schema"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let kept = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.schema.json")).unwrap();
    assert_eq!(schema, serde_json::from_str::<serde_json::Value>(&kept).unwrap());
}

#[tokio::test]
async fn a_database_url_alone_supervises_one_target_named_default() {
    let cluster = postgres15();
    let url = cluster.superuser_url();
    let daemon = Daemon::start_bare(&["--web.listen-address=127.0.0.1:0"], &[("DATABASE_URL", &url)]);
    daemon.await_metric(SOON, "pgtether_up", &[("target", "default")], 1.0).await;
}

#[tokio::test]
async fn environment_twins_do_what_their_flags_do() {
    let dead = format!("postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let env = [
        ("DATABASE_URL", dead.as_str()),
        ("PGTETHER_WEB_LISTEN_ADDRESS", "127.0.0.1:0"),
        ("PGTETHER_WEB_TELEMETRY_PATH", "/figures"),
        ("PGTETHER_LOG_FORMAT", "json"),
    ];
    let daemon = Daemon::start_bare(&[], &env);
    assert_eq!(daemon.get("/figures").await.status, 200);
    assert_eq!(daemon.get("/metrics").await.status, 404);
    for line in daemon.log().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn a_port_that_is_taken_is_a_failed_start_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_folder, flag) = file(&config("postgresql://app@nowhere.invalid/db", &[]));
    let ended = pgtether(&[&flag, &format!("--web.listen-address={address}")]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    assert!(ended.err.contains(&address) && ended.err.contains("in use"), "{}", ended.err);
}

#[tokio::test]
async fn all_its_addresses_are_served_and_told() {
    let dead = format!("url: postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let (_folder, flag) = file(&targets(&[("db", &[&dead])]));
    let args = [&flag, "--web.listen-address=127.0.0.1:0", "--web.listen-address=[::1]:0"];
    let daemon = Daemon::start_bare(&args, &[]);
    let listening = async || match daemon.log() {
        log if log.matches("listening").count() == 2 && log.contains("[::1]:") => Ok(()),
        log => Err(log),
    };
    crate::process::wait_until(SOON, "both addresses", listening).await;
}

/// Whoever writes the secret in the place of its file finds out, and nobody else does.
#[test]
fn a_password_in_the_place_of_a_path_is_not_shown() {
    for password in ["Zq7kW-correct-horse", "Zq7kW/c29t+ZQ==", "./Zq7kW"] {
        let is_a_path = password.starts_with("./");
        for key in ["password_file", "url_file"] {
            let url = "url: postgresql://app@127.0.0.1:1/db";
            let key = format!("{key}: {password}");
            let keys: &[&str] = if key.starts_with("url") { &[&key] } else { &[url, &key] };
            let (_folder, flag) = file(&targets(&[("db", keys)]));
            let checked = pgtether(&["check", &flag]);
            assert_eq!(checked.code, 2, "{checked:?}");
            assert_eq!(checked.out.contains("the name is not shown"), !is_a_path, "{checked:?}");
            let shown = pgtether(&["config", "show", &flag]);
            assert_eq!(shown.code, 0, "{shown:?}");
            for text in [&checked.out, &checked.err, &shown.out] {
                assert!(is_a_path || !text.contains("Zq7kW"), "{text}");
            }
        }
    }
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    let (folder, flag) =
        file(&config("postgresql://app@localhost/db?sslmode=require&sslcert=KEY&sslkey=KEY", &[]));
    let (text, key) = (folder.path().join("config.yaml"), folder.path().join("key.pem"));
    let config = fs::read_to_string(&text).unwrap().replace("KEY", key.to_str().unwrap());
    fs::write(&text, config).unwrap();
    fs::write(&key, "").unwrap();
    for (mode, is_warned) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let ended = pgtether(&["--config.check", &flag]);
        let told = ended.out.contains("key.pem: is a key that others can read (mode 0644): run chmod");
        assert!(ended.code == 0 && told == is_warned, "{ended:?}");
    }
}
