//! psql through the pool: what it prints is what it prints without.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use pgtether::demo::postgres::Setup;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::{SOON, TwoPools, Way, client, ended, interrupt, passes, programs, said};
use crate::certs::{Authority, with_tls};
use crate::servers::{Version, postgres};

fn psql(url: &str, args: &[&str]) -> Command {
    let mut command = client("psql");
    command.arg("-X").args(args).arg(url);
    command
}

/// What it prints, without what is never the same twice.
async fn prints(command: &mut Command) -> String {
    let said = said(&ended(command).await);
    let steady = |line: &str| match line.split_once("Time: ") {
        Some((before, _)) => format!("{before}Time: …\n"),
        None => format!("{line}\n"),
    };
    said.lines().map(steady).collect()
}

/// Appends sslmode and more to a URL without parameters.
fn with(url: &str, parameters: &str) -> String {
    format!("{url}?{parameters}")
}

#[tokio::test]
async fn psql_prints_through_the_pool_what_it_prints_without() {
    let cluster = postgres(Version::V15, Setup::default());
    let pools = TwoPools::open(&cluster, [4, 2], &[]).await;
    let script = programs().join("terminal.sql");
    let copied = tempfile::tempdir().unwrap();
    let mut printed = Vec::new();
    for way in Way::ALL {
        let url = pools.url(way);
        let mut said = prints(psql(url, &["-f", script.to_str().unwrap()]).current_dir(copied.path())).await;
        said = said.replace(&format!("database \"{}\"", way.word()), "its database");
        let commands = [
            ["-c", "SELECT 1; SELECT 2 AS two; SELECT 1/0; SELECT 3"].as_slice(),
            &["-c", "SELECT 1", "-c", "SELECT * FROM never_there", "-c", "SELECT 2"],
            &["-1", "-v", "ON_ERROR_STOP=1", "-c", "CREATE TABLE gone (v int)", "-c", "SELECT 1/0"],
            &["-c", "\\d gone"],
            &["-Atc", "\\copy (SELECT generate_series(1, 5)) TO STDOUT"],
        ];
        for command in commands {
            said.push_str(&prints(&mut psql(url, command)).await);
        }
        printed.push(said);
    }
    let direct = &printed[0];
    assert!(direct.contains("division by zero") && direct.contains("the end of the script"), "{direct}");
    assert_eq!(direct, &printed[1], "by the session pool");
    assert_eq!(direct, &printed[2], "by the transaction pool");
}

#[tokio::test]
async fn psql_is_let_in_with_every_sslmode_and_with_neons_parameters() {
    let authority = Authority::new("test authority");
    let setup = with_tls(Setup::default(), &authority, &authority.server());
    let cluster = postgres(Version::V15, setup);
    let pools = TwoPools::open(&cluster, [4, 2], &[]).await;
    let sql = ["-Atc", "SELECT 'in'", "-c", "\\conninfo"];
    let neon = "sslmode=require&channel_binding=require&options=endpoint%3Dep-cool-moon-123456";
    let modes = [
        ("sslmode=disable", false),
        ("sslmode=allow", false),
        ("sslmode=prefer", true),
        ("sslmode=require", true),
        ("sslmode=require&channel_binding=require", true),
        ("sslmode=require&channel_binding=disable", true),
        ("application_name=a%20b&options=-c%20statement_timeout%3D7s", true),
    ];
    for way in Way::ALL {
        for (parameters, tls) in modes {
            let said = passes(&mut psql(&with(pools.url(way), parameters), &sql)).await;
            assert!(said.starts_with("in\n"), "{way:?} {parameters}: {said}");
            assert_eq!(said.contains("SSL connection"), tls, "{way:?} {parameters}: {said}");
        }
        let said = ended(&mut psql(&with(pools.url(way), neon), &sql)).await;
        assert_eq!(said.status.success(), way != Way::Direct, "{way:?}: {}", super::said(&said));
        // Our certificate is nobody's: who asks for a proof of it is not fooled.
        let verify =
            with(pools.url(way), "sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt");
        assert!(!ended(&mut psql(&verify, &sql)).await.status.success());
    }
}

/// Gives psql a script, waits until it has printed this line so often, and presses ctrl-C until it ends.
async fn interrupted(url: &str, script: &str, line: &str, times: usize) -> Output {
    let mut child = psql(url, &["-At"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..times {
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(line));
    }
    let began = Instant::now();
    while timeout(Duration::from_millis(100), child.wait()).await.is_err() {
        // Before the query is sent it would come to nothing.
        interrupt(&child);
        assert!(began.elapsed() < SOON, "not interrupted");
    }
    child.wait_with_output().await.unwrap()
}

#[tokio::test]
async fn ctrl_c_ends_the_query_and_the_next_psql_is_served() {
    let cluster = postgres(Version::V15, Setup::default());
    let pools = TwoPools::open(&cluster, [1, 1], &[]).await;
    for way in Way::ALL {
        let url = pools.url(way);
        let script = "SELECT 'on';\nSELECT pg_sleep(60);\nSELECT 'never';\n";
        let output = interrupted(url, script, "on", 1).await;
        assert_eq!(output.status.code(), Some(3), "psql's status for a script that was interrupted");
        let said = said(&output);
        assert!(said.contains("canceling statement due to user request"), "{way:?}: {said}");
        // Or between two queries, where there is nothing to cancel.
        interrupted(url, "SELECT 'watching' \\watch 0.03\n", "watching", 5).await;
        let next = passes(&mut psql(url, &["-Atc", "SELECT 'next'"])).await;
        assert_eq!(next, "next\n", "{way:?}");
    }
}
