//! The story that pgtether comes from, by its own document: an agent in one container, whose provider closes what is idle.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use pgtether::demo::postgres::{Cluster, Setup, free_port};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, exec};
use crate::process::{Answer, request, wait_until};
use crate::servers::{Admin, Version, postgres, tools};
use crate::supervise::SOON;

/// Longer than an application in Python takes to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// What the server allows a session to be idle, where it is the one that closes.
const IDLE: Duration = Duration::from_secs(3);

/// The application of docs/one-container.md.
struct App {
    child: Child,
    address: SocketAddr,
}

impl App {
    /// Starts what the document shows, by `exec` or, for comparison, without.
    async fn start(folder: &Path, url: &str, by_exec: bool) -> App {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/one-container.md");
        let document = fs::read_to_string(document).unwrap();
        let (_, program) = document.split_once("<!-- file: app.py -->\n```python\n").unwrap();
        fs::write(folder.join("app.py"), program.split("```").next().unwrap()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let port = address.port().to_string();
        let words = ["python3", "-m", "uvicorn", "app:app", "--log-level=warning", "--port", &port];
        let mut command = match by_exec {
            true => read_only(&exec(url, &[], &words)),
            false => {
                let mut command = Command::new(words[0]);
                command.args(&words[1..]).env("DATABASE_URL", url);
                command
            }
        };
        let packages = tools().join("drivers/python");
        assert!(packages.is_dir(), "the Python drivers are missing; `make tools` installs them");
        command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let mut app = App { child: command.spawn().unwrap(), address };
        wait_until(START, "the application to listen", async || {
            if let Some(status) = app.child.try_wait().unwrap() {
                panic!("the application has ended: {status}");
            }
            TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        app
    }

    async fn talk(&self, turn: usize) -> Answer {
        let path = format!("/talks/one?question=question%20{turn}");
        request(self.address, Method::POST, &path, &[]).await
    }

    async fn end(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().unwrap() as i32), Signal::SIGTERM).unwrap();
        timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap().code()
    }
}

/// The same with nothing to write to, as far as this user can have that.
fn read_only(exec: &Command) -> Command {
    let exec = exec.as_std();
    let mut command = match geteuid().is_root() {
        true => {
            let mut command = Command::new("unshare");
            let remount = "mount -o bind,remount,ro / && exec \"$0\" \"$@\"";
            command.args(["--mount", "sh", "-c", remount]).arg(exec.get_program());
            command
        }
        false => Command::new(exec.get_program()),
    };
    command.args(exec.get_args()).env_clear();
    command.envs(exec.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// All sessions of the application, pgtether's among them.
async fn sessions(admin: &Admin) -> Vec<String> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'agent' AND backend_type = 'client backend'";
    admin.query(sql).await
}

/// Closes them all; or gives the server the time to, where pgtether may know its limit already and ping before.
async fn close_idle(admin: &Admin, by_timeout: bool) {
    let before = sessions(admin).await;
    assert!(!before.is_empty());
    if by_timeout {
        return sleep(IDLE + Duration::from_secs(1)).await;
    }
    for pid in &before {
        admin.query(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
    }
    wait_until(SOON + IDLE, "all idle sessions to be closed", async || {
        let left: Vec<_> = sessions(admin).await.into_iter().filter(|pid| before.contains(pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

async fn server() -> (Cluster, Admin, String) {
    let cluster = postgres(Version::V15, Setup::default());
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE ROLE agent LOGIN PASSWORD 'se/s@me'").await;
    admin.query("CREATE DATABASE memory OWNER agent").await;
    let url = format!("postgresql://agent:se%2Fs%40me@127.0.0.1:{}/memory?sslmode=prefer", cluster.port());
    (cluster, admin, url)
}

async fn every_request_answers_200(by_timeout: bool) {
    let (_cluster, admin, url) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(folder.path(), &url, true).await;
    wait_until(SOON, "the application's /health", async || {
        let health = request(app.address, Method::GET, "/health", &[]).await;
        let is_healthy = health.status == 200 && health.text().starts_with("{\"status\":\"healthy\"");
        if is_healthy { Ok(()) } else { Err(health.text()) }
    })
    .await;
    if by_timeout {
        let limit = format!("ALTER DATABASE memory SET idle_session_timeout = '{}s'", IDLE.as_secs());
        admin.query(&limit).await;
        // Sessions have it from their start.
        close_idle(&admin, false).await;
    }
    for turn in 0..4 {
        if turn > 0 {
            close_idle(&admin, by_timeout).await;
        }
        let answer = app.talk(turn).await;
        assert_eq!(answer.status, 200, "after pause {turn}: {}", answer.text());
        assert_eq!(
            answer.json().as_array().unwrap().len(),
            2 * (turn + 1),
            "it remembers: {}",
            answer.text()
        );
        // The monitoring session of a server with so short a limit is away for up to two seconds.
        wait_until(SOON, "/health", async || {
            let health = request(app.address, Method::GET, "/health", &[]).await;
            if health.status == 200 { Ok(()) } else { Err(health.text()) }
        })
        .await;
    }
    // uvicorn ends with the signal that it was sent.
    assert_eq!(app.end().await, Some(143));
    assert_eq!(sessions(&admin).await, [""; 0], "nothing is left on the server");
}

#[tokio::test]
async fn an_agent_under_exec_answers_200_after_its_sessions_were_terminated() {
    every_request_answers_200(false).await;
}

#[tokio::test]
async fn an_agent_under_exec_answers_200_after_each_idle_timeout_of_the_server() {
    every_request_answers_200(true).await;
}

#[tokio::test]
async fn the_same_agent_without_exec_fails() {
    let (_cluster, admin, url) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(folder.path(), &url, false).await;
    assert_eq!(app.talk(0).await.status, 200);
    close_idle(&admin, false).await;
    assert_eq!(app.talk(1).await.status, 500);
}
