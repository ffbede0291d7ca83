//! The story that pgtether comes from: a program that keeps one connection, and a provider that closes what is idle.

use std::process::{Output, Stdio};
use std::time::Duration;

use futures_util::future::join;
use pgtether::demo::postgres::{Cluster, Setup};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::{SCRIPT, SOON, one_pool, python, said, through};
use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, Version, postgres};
use crate::supervise::await_state;

/// Who closes the idle sessions of a paused program.
#[derive(Debug, Clone, Copy)]
enum Closing {
    /// The server, by `idle_session_timeout`.
    Timeout,
    /// Somebody outside, as providers do it.
    Termination,
}

impl Closing {
    const IDLE: Duration = Duration::from_secs(5);

    /// A server that closes idle sessions in the databases `pooled` and `impatient`, and not in `patient`.
    async fn server(self) -> Cluster {
        let timeout = match self {
            Closing::Timeout => format!("{}s", Self::IDLE.as_secs()),
            Closing::Termination => "0".to_owned(),
        };
        let setup = Setup::default().set("idle_session_timeout", timeout).set("max_connections", 120);
        let cluster = postgres(Version::V15, setup);
        let admin = Admin::of(&cluster).await;
        for database in ["pooled", "impatient", "patient"] {
            admin.query(&format!("CREATE DATABASE {database}")).await;
        }
        admin.query("ALTER DATABASE patient SET idle_session_timeout = 0").await;
        admin.close().await;
        cluster
    }

    /// Waits until the sessions of that database are closed, or closes them.
    async fn close_idle(self, cluster: &Cluster, database: &str) {
        match self {
            Closing::Timeout => sleep(Self::IDLE + Duration::from_secs(2)).await,
            Closing::Termination => {
                let admin = Admin::of(cluster).await;
                let sql = format!(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                     WHERE datname = '{database}' AND backend_type = 'client backend'"
                );
                let closed = admin.query(&sql).await;
                assert!(!closed.is_empty() && closed.iter().all(|ended| ended == "t"), "{closed:?}");
                admin.close().await;
            }
        }
    }
}

/// Runs a script to its end; `between` is what happens in each of its pauses.
async fn with_pauses(mut program: Command, between: impl AsyncFn()) -> Output {
    let what = format!("{:?}", program.as_std());
    let mut child = program.stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stderr = child.stderr.take().unwrap();
    let running = async {
        let (mut out, mut lines, mut err) = (Vec::new(), BufReader::new(stdout).lines(), Vec::new());
        let hearing = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                out.extend_from_slice(format!("{line}\n").as_bytes());
                if line == "paused" {
                    between().await;
                    // One that has ended meanwhile says so by its status.
                    let _ = stdin.write_all(b"go on\n").await;
                }
            }
        };
        let (_, read) = join(hearing, stderr.read_to_end(&mut err)).await;
        read.unwrap();
        Output { status: child.wait().await.unwrap(), stdout: out, stderr: err }
    };
    timeout(SCRIPT, running).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// Nobody who pauses holds a session of the pool.
async fn nothing_is_held(daemon: &Daemon) {
    wait_until(SOON, "the sessions to be free", async || {
        let target = daemon.get("/api/v1/targets").await.json()["targets"][0].clone();
        match target["pool"]["servers"]["active"].as_u64() {
            Some(0) => Ok(()),
            active => Err(format!("{active:?} are active")),
        }
    })
    .await;
}

/// The program goes on after each pause where nobody closes its session, and through the pool; it fails without.
async fn goes_on_only_through_the_pool(closing: Closing, scripts: &[(&str, &[&str])]) {
    let cluster = closing.server().await;
    let at = |database: &str| cluster.url("postgres", cluster.password(), database);
    let (config, port) = one_pool(&at("pooled"), &[], &["mode: transaction", "size: 3"]);
    let daemon = Daemon::start(&config);
    await_state(&daemon, SOON, "up").await;
    for (script, args) in scripts {
        let program = |url: &str| python(script, url, args);
        let pooled = with_pauses(program(&through(&at("pooled"), &cluster, port)), async || {
            nothing_is_held(&daemon).await;
            closing.close_idle(&cluster, "pooled").await;
        });
        let direct = async {
            let patient = with_pauses(program(&at("patient")), async || ()).await;
            let impatient = program(&at("impatient"));
            (patient, with_pauses(impatient, async || closing.close_idle(&cluster, "impatient").await).await)
        };
        let (pooled, (patient, direct)) = join(pooled, direct).await;
        for passed in [&patient, &pooled] {
            let said = said(passed);
            assert!(passed.status.success() && said.ends_with("went on\n"), "{script} {args:?}:\n{said}");
        }
        assert!(!direct.status.success(), "{script} went on without the pool:\n{}", said(&direct));
        let words = [
            "idle-session timeout",
            "idle_session_timeout",
            "administrator command",
            "closed the connection",
            "connection is closed",
        ];
        let said = said(&direct);
        assert!(said.contains("paused"), "{script} failed before its pause:\n{said}");
        assert!(words.iter().any(|word| said.contains(word)), "{script} failed of something else:\n{said}");
    }
}

#[tokio::test]
async fn agents_on_kept_connections_outlive_their_end_only_through_the_pool() {
    let scripts: [(&str, &[&str]); 3] =
        [("agent.py", &["3"]), ("agent_async.py", &["2"]), ("psycopg_pauses.py", &["2"])];
    goes_on_only_through_the_pool(Closing::Termination, &scripts).await;
}

#[tokio::test]
async fn a_web_service_answers_200_after_each_pause_only_through_the_pool() {
    goes_on_only_through_the_pool(Closing::Termination, &[("service.py", &["3"])]).await;
}

#[tokio::test]
async fn an_agent_on_one_connection_outlives_the_servers_idle_timeout_only_through_the_pool() {
    goes_on_only_through_the_pool(Closing::Timeout, &[("agent.py", &["1", "plain"])]).await;
}

#[tokio::test]
async fn sqlalchemy_without_pre_ping_outlives_the_end_of_its_session_only_through_the_pool() {
    tokio::join!(
        goes_on_only_through_the_pool(Closing::Termination, &[("sqlalchemy_pauses.py", &["2", "psycopg"])]),
        goes_on_only_through_the_pool(Closing::Timeout, &[("sqlalchemy_pauses.py", &["1", "psycopg2"])]),
        goes_on_only_through_the_pool(Closing::Timeout, &[("sqlalchemy_pauses.py", &["1", "asyncpg"])]),
    );
}
