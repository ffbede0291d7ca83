//! pgtether without a file, in one container with an application: a pool by flags alone, and `pgtether exec`.

mod container;
mod drivers;
mod endings;
mod signals;
mod story;

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use pgtether::demo::postgres::{Cluster, Setup, free_port};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::commands::Ended;
use crate::process::{Daemon, command, wait_until};
use crate::servers::{Version, postgres};
use crate::supervise::SOON;

const WEB: &str = "--web.listen-address=127.0.0.1:0";
/// Much longer than any of these commands takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// A database that nothing answers for: whoever does not need one uses this.
const NOWHERE: &str = "postgresql://app:sesame@127.0.0.1:1/shop?sslmode=require";

/// What starts a program as if nobody had told it to ignore signals: whoever runs the tests may have, as `nohup` and a
/// shell's `&` do.
const UNIGNORING: [&str; 2] = ["env", "--default-signal"];

/// `pgtether exec`, its flags before the dashes, with this DATABASE_URL.
fn exec(url: &str, flags: &[&str], words: &[&str]) -> Command {
    let args = [&["exec"], flags, &["--"], words].concat();
    let env = [("DATABASE_URL", url), ("PGTETHER_WEB_LISTEN_ADDRESS", "127.0.0.1:0")];
    let plain = command(&args, &env);
    started(&[], [plain.get_program()].into_iter().chain(plain.get_args()), plain.get_envs())
}

/// The words of [`exec`], started by these.
fn started_by(words: &[&str], exec: &Command) -> Command {
    let exec = exec.as_std();
    started(words, exec.get_args().skip(UNIGNORING.len() - 1), exec.get_envs())
}

fn started<'a>(
    before: &[&str],
    words: impl Iterator<Item = &'a OsStr>,
    envs: impl Iterator<Item = (&'a OsStr, Option<&'a OsStr>)>,
) -> Command {
    let mut command = Command::new(UNIGNORING[0]);
    command.args(&UNIGNORING[1..]).args(before).args(words).env_clear();
    command.envs(envs.filter_map(|(name, value)| Some((name, value?))));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The same for a script of the shell.
fn exec_sh(url: &str, flags: &[&str], script: &str) -> Command {
    exec(url, flags, &["sh", "-c", script])
}

/// Runs it to its end.
async fn ended(command: &mut Command) -> Ended {
    let what = format!("{:?}", command.as_std());
    let output = timeout(PATIENCE, command.output()).await.unwrap_or_else(|_| panic!("{what} hangs"));
    output.unwrap().into()
}

/// psql's words for one query by the URL of the environment.
fn psql(sql: &str) -> String {
    format!("{} -XAtqw -c \"{sql}\" \"$DATABASE_URL\"", Version::V15.folder().join("psql").display())
}

fn server() -> Cluster {
    postgres(Version::V15, Setup::default())
}

/// One query by this URL.
async fn ask(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = client.query_one(sql, &[]).await.unwrap().get(0);
    drop(client);
    connection.await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn without_a_file_flags_and_their_variables_open_a_pool() {
    let cluster = server();
    let direct = cluster.superuser_url();
    for by_flags in [true, false] {
        let port = free_port().unwrap();
        let listen = format!("127.0.0.1:{port}");
        let flags = [&format!("--pool.listen={listen}"), "--pool.mode=session", "--pool.size=2", WEB];
        let variables = [
            ("DATABASE_URL", direct.as_str()),
            ("PGTETHER_POOL_LISTEN", &listen),
            ("PGTETHER_POOL_MODE", "session"),
            ("PGTETHER_POOL_SIZE", "2"),
        ];
        let daemon = match by_flags {
            true => Daemon::start_bare(&flags, &variables[..1]),
            false => Daemon::start_bare(&[WEB], &variables),
        };
        wait_until(SOON, "the pool to listen", async || {
            let socket = tokio::net::TcpStream::connect(&listen).await;
            socket.map(drop).map_err(|error| error.to_string())
        })
        .await;
        let pooled = direct.replace(&format!(":{}/", cluster.port()), &format!(":{port}/"));
        assert_eq!(ask(&pooled, "SELECT 'by the pool'").await, "by the pool");
        let pool = &daemon.get("/api/v1/targets").await.json()["targets"][0]["pool"];
        assert_eq!((pool["mode"].as_str(), pool["size"].as_u64()), (Some("session"), Some(2)), "{pool}");
    }
}

#[test]
fn flags_of_the_pool_that_cannot_be_followed_are_told_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let url = ("DATABASE_URL", NOWHERE);
    for (args, env, words) in [
        (
            &["--pool.listen=0.0.0.0:6432"][..],
            &[url][..],
            "--pool.listen: 0.0.0.0:6432 is reached from beyond",
        ),
        (&["--pool.size=3"], &[url], "add --pool.listen=127.0.0.1:6432"),
        (&["--pool.mode=statement"], &[url], "take transaction or session"),
        (&["--config.file=x", "--pool.size=3"], &[url], "write `pool:` into the file"),
        (
            &["--config.file=x"],
            &[("PGTETHER_POOL_SIZE", "3")],
            "leave out the flag and its environment variable",
        ),
    ] {
        // A folder without a file.
        let output = command(args, env).current_dir(folder.path()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(64) && told.contains(words), "{args:?}: {told}");
    }
}

#[tokio::test]
async fn a_command_gives_the_password_by_flag_and_by_variable() {
    let cluster = server();
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", cluster.port());
    let list = format!("[echo, \"{}\"]", cluster.password());
    let flag = format!("--target.password-command={list}");
    for by_flag in [true, false] {
        let flags: &[&str] = if by_flag { &[&flag] } else { &[] };
        let mut command = exec_sh(&url, flags, &psql("SELECT 'by the command'"));
        if !by_flag {
            command.env("PGTETHER_TARGET_PASSWORD_COMMAND", &list);
        }
        let done = ended(&mut command).await;
        assert_eq!((done.code, done.out.trim()), (0, "by the command"), "{}", done.err);
        assert!(!done.err.contains(cluster.password()), "{}", done.err);
    }
}
