//! Real programs, run as a target's command. None of them waits for a time: what must not end is killed.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;
use crate::target::{Argument, PasswordCommand, Source, TargetName, Tuning, conninfo, sample};

/// Far more than any of them takes.
const LIMIT: Duration = Duration::from_secs(20);

fn target(program: &str, arguments: &[Argument]) -> Target {
    let url = "postgresql://app@db.example,[::1]:5433/shop";
    let command = PasswordCommand { program: program.into(), arguments: arguments.to_vec() };
    Target {
        password: PasswordSource::Command(Arc::new(command)),
        tuning: Arc::new(Tuning { password_command_timeout: LIMIT, ..Tuning::default() }),
        ..sample::target("primary", url)
    }
}

/// What `sh` does with these lines.
fn script(lines: &str) -> Target {
    target("sh", &[Argument::new("-c".to_owned(), true), Argument::new(lines.to_owned(), true)])
}

fn endpoint(target: &Target) -> Endpoint {
    match &target.source {
        Source::Inline(endpoint) => endpoint.as_ref().clone(),
        Source::File(_) => panic!("there is none"),
    }
}

async fn ask(passwords: &CommandPasswords, target: &Target) -> Result<PrintedPassword, String> {
    let printed = passwords.get(target, &endpoint(target), &BlockingCalls::new(4)).await;
    printed.map(Option::unwrap).map_err(|cause| match cause {
        Cause::Command { message } => message,
        other => panic!("{other:?}"),
    })
}

async fn printed(lines: &str) -> Result<String, String> {
    let printed = ask(&CommandPasswords::default(), &script(lines)).await?;
    Ok(String::from_utf8(printed.secret.expose().to_vec()).unwrap())
}

async fn failed(lines: &str) -> String {
    printed(lines).await.expect_err("no password")
}

fn limited(target: Target, limit: Duration) -> Target {
    let tuning = Tuning { password_command_timeout: limit, ..(*target.tuning).clone() };
    Target { tuning: Arc::new(tuning), ..target }
}

#[tokio::test]
async fn the_first_line_of_the_output_is_the_password() {
    assert_eq!(printed("echo sesame").await.unwrap(), "sesame");
    assert_eq!(printed("printf sesame").await.unwrap(), "sesame");
    assert_eq!(printed("printf 'sesame\\r\\n'").await.unwrap(), "sesame");
    // As pass(1) prints it.
    assert_eq!(printed("printf ' two words \\nlogin: app\\n'").await.unwrap(), " two words ");
    assert_eq!(printed("echo sesame; echo warned >&2").await.unwrap(), "sesame");
    let long = printed("head -c 65536 /dev/zero | tr '\\0' x").await.unwrap();
    assert_eq!(long.len(), 65_536);
}

#[tokio::test]
async fn a_command_learns_whom_the_password_is_for_and_reads_nothing() {
    let all = "echo $PGTETHER_TARGET $PGHOST $PGPORT $PGUSER $PGDATABASE; cat";
    assert_eq!(printed(all).await.unwrap(), "primary db.example,::1 5432,5433 app shop");
}

#[tokio::test]
async fn a_failure_tells_exit_code_and_stderr_without_what_was_printed() {
    assert_eq!(
        failed("echo sesame-open; echo 'no token, not even sesame-open' >&2; exit 254").await,
        "password_command sh ended with exit code 254; stderr: no token, not even <redacted>"
    );
    assert_eq!(
        failed("exit 3").await,
        "password_command sh ended with exit code 3, and wrote nothing to stderr"
    );
    let killed = failed("echo gone >&2; kill -9 $$").await;
    assert_eq!(killed, "password_command sh was ended by signal 9; stderr: gone");
    let secret = Argument::new("hunter2".to_owned(), false);
    let arguments =
        ["-c", "echo \"$0 is wrong\" >&2; exit 1"].map(|text| Argument::new(text.to_owned(), true));
    let target = target("sh", &[arguments.as_slice(), &[secret]].concat());
    let why = ask(&CommandPasswords::default(), &target).await.unwrap_err();
    assert_eq!(why, "password_command sh ended with exit code 1; stderr: <redacted> is wrong");
}

#[tokio::test]
async fn of_a_long_complaint_the_end_is_shown_on_one_line() {
    let why = failed("i=0; while [ $i -lt 4000 ]; do echo \"at line $i\"; i=$((i+1)); done >&2; printf 'the\\033[31m end\\n' >&2; exit 1").await;
    let (_, shown) = why.split_once("stderr: ").unwrap();
    assert!(shown.starts_with('…') && shown.ends_with("at line 3999 the [31m end"), "{shown}");
    assert_eq!(shown.chars().count(), 600);
}

#[tokio::test]
async fn what_is_no_password_is_told_as_that() {
    for (lines, why) in [
        ("true", "printed nothing"),
        ("echo", "printed an empty first line"),
        ("echo; echo sesame", "printed an empty first line"),
        ("printf '{\\n  \"accessToken\": \"sesame\"\\n}'", "printed JSON over several lines"),
        ("printf 'a\\0b'", "a NUL byte"),
        // It would never end by itself.
        ("yes", "printed more than 64 KiB and was killed"),
        ("head -c 65538 /dev/zero | tr '\\0' x", "printed more than 64 KiB"),
    ] {
        let found = failed(lines).await;
        assert!(found.starts_with("password_command sh ") && found.contains(why), "{lines}: {found}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-program");
    std::fs::write(&file, "#!/bin/sh\necho sesame\n").unwrap();
    for (program, why) in [
        ("no-such-program-at-all", "there is no executable program no-such-program-at-all in PATH"),
        ("/nonexistent/token", "there is no program /nonexistent/token"),
        (file.to_str().unwrap(), "is not executable by this user"),
        (folder.path().to_str().unwrap(), "is not executable by this user"),
    ] {
        let found = ask(&CommandPasswords::default(), &target(program, &[])).await.unwrap_err();
        assert!(found.starts_with("password_command cannot run: ") && found.contains(why), "{found}");
        assert!(
            find_program(Path::new(program), std::env::var_os("PATH").as_deref()).unwrap_err().contains(why)
        );
    }
    assert_eq!(find_program(Path::new("sh"), Some("/nonexistent:/bin".as_ref())), Ok("/bin/sh".into()));
}

/// The process ids that a script wrote to that file, all of which must be gone soon.
async fn gone(file: &Path) {
    let pids = std::fs::read_to_string(file).unwrap();
    assert!(!pids.trim().is_empty());
    for pid in pids.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())) {
        tokio::time::timeout(LIMIT, async {
            // Its parent is gone, and init may take a moment to bury it.
            while kill(pid, None) != Err(Errno::ESRCH) && !is_zombie(pid) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{pid} lives on"));
    }
}

fn is_zombie(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let lines = format!("sleep 1000 & echo $! > {}; echo sesame", pids.display());
    assert_eq!(printed(&lines).await.unwrap(), "sesame");
    gone(&pids).await;
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let lines = format!("echo waiting >&2; sleep 1000 & echo $! $$ > {}; wait", pids.display());
    let short = Duration::from_secs(1);
    let why = ask(&CommandPasswords::default(), &limited(script(&lines), short)).await.unwrap_err();
    assert_eq!(why, "password_command sh did not end within 1s and was killed; stderr: waiting");
    gone(&pids).await;
}

/// In a session of its own, as daemons are, and so not in the command's process group.
#[tokio::test]
async fn what_left_the_process_group_is_killed_with_a_command_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let daemon = format!("sleep 1000 & echo $! $$ > {}; wait", pids.display());
    let lines = format!("setsid sh -c '{daemon}' & wait");
    let short = Duration::from_secs(1);
    let why = ask(&CommandPasswords::default(), &limited(script(&lines), short)).await.unwrap_err();
    assert!(why.starts_with("password_command sh did not end within 1s and was killed"), "{why}");
    gone(&pids).await;
}

/// It holds the pipes open, and nothing tells of it once its parent is gone.
#[tokio::test]
async fn a_daemon_that_a_command_leaves_behind_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let file = pid.display();
    let lines = format!(
        "setsid sh -c 'echo $$ > {file}; exec sleep 1000' & while [ ! -s {file} ]; do sleep 0.01; done; echo sesame"
    );
    let printed = tokio::time::timeout(LIMIT, printed(&lines)).await.expect("it is not waited for");
    let daemon = std::fs::read_to_string(&pid).unwrap();
    kill(Pid::from_raw(daemon.trim().parse().unwrap()), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(printed.unwrap(), "sesame");
}

/// Lets that much time pass, without waiting for it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn of_many_commands_whose_output_is_rejected_one_at_a_time_looks_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (lock, twice, password) = (path("lock"), path("twice"), path("password"));
    std::fs::write(&password, "first\n").unwrap();
    // Two at a time leave a mark.
    let runs = path("runs");
    let script = |lines: &str| limited(script(lines), Duration::from_secs(120));
    let lines = format!("mkdir {lock} || touch {twice}; echo >> {runs}; cat {password}; rmdir {lock}");
    let (passwords, calls) = (CommandPasswords::default(), BlockingCalls::new(4));
    let targets: Vec<Target> = (0..6)
        .map(|n| Target { name: TargetName::new(&format!("t{n}")).unwrap(), ..script(&lines) })
        .collect();
    for target in &targets {
        let first = ask(&passwords, target).await.unwrap();
        assert!(!passwords.rejected(target, &endpoint(target), first.run), "it was printed just now");
    }
    let looking = targets.iter().map(|target| passwords.changed(target, &calls));
    let looking = futures_util::future::join_all(looking);
    let changing = async {
        pass(Duration::from_secs(11)).await;
        let all_have_looked = || std::fs::read_to_string(&runs).unwrap().lines().count() >= 2 * targets.len();
        while !all_have_looked() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::write(&password, "second\n").unwrap();
        // Whoever has not noted yet that it has looked looks again in 10 seconds that really pass.
        pass(Duration::from_secs(11)).await;
    };
    tokio::join!(looking, changing);
    for target in &targets {
        assert_eq!(ask(&passwords, target).await.unwrap().secret, Secret::new("second"));
    }
    assert!(!Path::new(&twice).exists());
}

#[tokio::test]
async fn what_was_printed_for_targets_that_are_gone_is_forgotten() {
    let passwords = CommandPasswords::default();
    let [one, other] =
        ["one", "other"].map(|name| Target { name: TargetName::new(name).unwrap(), ..script("echo sesame") });
    for target in [&one, &other] {
        ask(&passwords, target).await.unwrap();
    }
    let changed = Target { name: other.name.clone(), ..script("echo other") };
    passwords.keep(&[Arc::new(one.clone()), Arc::new(changed)]);
    assert!(!passwords.lack(&one, &endpoint(&one)));
    assert!(passwords.lack(&other, &endpoint(&other)), "it has another command now");
    passwords.keep(&[]);
    assert!(passwords.of_targets.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_is_killed_and_the_next_who_asks_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let lines =
        format!("if [ -e {0} ]; then echo sesame; else echo $$ > {0}; exec sleep 1000; fi", pids.display());
    let (target, passwords) = (script(&lines), CommandPasswords::default());
    let begun = async {
        while !std::fs::read_to_string(&pids).is_ok_and(|text| text.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        printed = ask(&passwords, &target) => panic!("{printed:?}"),
        () = begun => {}
    }
    gone(&pids).await;
    assert_eq!(ask(&passwords, &target).await.unwrap().secret, Secret::new("sesame"));
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_run_and_its_failure() {
    let folder = tempfile::tempdir().unwrap();
    for (ending, expected) in [("echo sesame", Some("sesame")), ("exit 1", None)] {
        let runs = folder.path().join(ending.replace(' ', "-"));
        let target = script(&format!("echo run >> {}; {ending}", runs.display()));
        let passwords = CommandPasswords::default();
        let all = futures_util::future::join_all((0..10).map(|_| ask(&passwords, &target))).await;
        for one in all {
            assert_eq!(one.ok().map(|printed| printed.secret), expected.map(Secret::new));
        }
        assert_eq!(std::fs::read_to_string(&runs).unwrap(), "run\n");
    }
}

#[tokio::test]
async fn what_was_printed_for_one_server_is_not_used_for_another() {
    let passwords = CommandPasswords::default();
    let here = script("echo for $PGHOST");
    let url = "postgresql://app@elsewhere.example/shop";
    let there =
        Target { source: Source::Inline(Arc::new(conninfo::parse(url).unwrap().endpoint)), ..here.clone() };
    assert_eq!(ask(&passwords, &here).await.unwrap().secret, Secret::new("for db.example,::1"));
    assert!(!passwords.lack(&here, &endpoint(&here)));
    assert!(passwords.lack(&there, &endpoint(&there)));
    assert_eq!(ask(&passwords, &there).await.unwrap().secret, Secret::new("for elsewhere.example"));
}
