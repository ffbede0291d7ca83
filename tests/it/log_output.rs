//! Nobody reads the log: a full pipe, a terminal after Ctrl-S. Everything else goes on, and the log says what is missing.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hyper::Method;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe};
use pgtether::demo::postgres::{Cluster, free_port};
use tempfile::TempDir;

use crate::process::{Answer, command, request, run, wait_until};
use crate::scrape::Metrics;
use crate::servers::{Admin, postgres15};
use crate::supervise::{SERVICE, SOON, config};

const DROPPED: &str = "pgtether_log_lines_dropped_total";
const NOTICE: &str = "log lines were dropped";
/// The drain of idle sessions and the time for the last lines, with room for a busy machine.
const END: Duration = Duration::from_secs(5);

/// Who should read the log, and does so from when it is told on.
struct Reader {
    from: File,
    /// What lets a terminal go on.
    go_on: &'static [u8],
}

impl Reader {
    fn read(mut self) -> Arc<Mutex<Vec<u8>>> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let into = log.clone();
        self.from.write_all(self.go_on).unwrap();
        thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(read @ 1..) = self.from.read(&mut some) {
                into.lock().unwrap().extend_from_slice(&some[..read]);
            }
        });
        log
    }
}

fn unread_pipe() -> (OwnedFd, Reader) {
    let (from, to) = pipe().unwrap();
    (to, Reader { from: from.into(), go_on: b"" })
}

/// A terminal whose user has pressed Ctrl-S; Ctrl-Q lets it go on.
fn stopped_terminal() -> (OwnedFd, Reader) {
    let terminal = openpty(None, None).unwrap();
    let mut from = File::from(terminal.master);
    from.write_all(b"\x13").unwrap();
    (terminal.slave, Reader { from, go_on: b"\x11" })
}

/// A pipe that has no room from the start.
fn full_pipe() -> (OwnedFd, Reader) {
    let (to, reader) = unread_pipe();
    fcntl(&to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut to = File::from(to);
    while to.write(&[b'\n'; 4096]).is_ok() {}
    fcntl(&to, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (to.into(), reader)
}

struct Unheard {
    process: Child,
    port: u16,
    file: PathBuf,
    good: String,
    _folder: TempDir,
}

impl Unheard {
    async fn start(cluster: &Cluster, stderr: OwnedFd) -> Unheard {
        let good = config(&cluster.superuser_url(), &["ping: {interval: 1s, timeout: 500ms}"]);
        let folder = tempfile::tempdir().unwrap();
        // Each mistake tells of the file by its path: a long one makes long lines.
        let deep = folder.path().join(["x"; 4].map(|part| part.repeat(250)).join("/"));
        std::fs::create_dir_all(&deep).unwrap();
        let file = deep.join("config.yaml");
        std::fs::write(&file, &good).unwrap();
        let port = free_port().unwrap();
        let address = format!("--web.listen-address=127.0.0.1:{port}");
        let flag = format!("--config.file={}", file.display());
        let mut command = command(&["run", &flag, &address, "--web.enable-lifecycle"], &[]);
        let process = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let daemon = Unheard { process, port, file, good, _folder: folder };
        wait_until(SOON, "a listener", async || {
            std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
        })
        .await;
        daemon.await_metric("pgtether_up", |value| value == 1.0).await;
        daemon
    }

    async fn ask(&self, method: Method, path: &str) -> Answer {
        request(([127, 0, 0, 1], self.port).into(), method, path, &[]).await
    }

    async fn metric(&self, name: &str) -> f64 {
        let answer = self.ask(Method::GET, "/metrics").await;
        assert_eq!(answer.status, 200);
        let labels: &[(&str, &str)] = if name == DROPPED { &[] } else { &[("target", "db")] };
        Metrics::parse(&answer.text()).get(name, labels).unwrap_or_else(|| panic!("no {name}"))
    }

    async fn await_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        wait_until(SOON, name, async || match self.metric(name).await {
            value if wanted(value) => Ok(value),
            value => Err(value.to_string()),
        })
        .await
    }

    async fn reload(&self, config: &str) -> Answer {
        std::fs::write(&self.file, config).unwrap();
        self.ask(Method::POST, "/-/reload").await
    }

    /// Logs more than pipe and queue hold: each refusal of this file is a line of 50 KiB.
    async fn log_too_much(&self) {
        let mistakes: String = (0..100).map(|number| format!("no_such_key_{number}: 1\n")).collect();
        std::fs::write(&self.file, format!("{}{mistakes}", self.good)).unwrap();
        let began = Instant::now();
        while self.metric(DROPPED).await < 5.0 {
            self.signal(Signal::SIGHUP);
            assert!(began.elapsed() < 6 * SOON, "nothing is dropped");
        }
    }

    async fn ended(&mut self) -> ExitStatus {
        let process = &mut self.process;
        wait_until(END, "pgtether's end", async || {
            process.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Everything goes on, is told when somebody reads again, and the last line of a normal end is not lost.
async fn all_goes_on((stderr, reader): (OwnedFd, Reader)) {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let mut daemon = Unheard::start(&cluster, stderr).await;
    assert_eq!(daemon.metric(DROPPED).await, 0.0);
    daemon.log_too_much().await;

    for path in ["/livez", "/readyz", "/health", "/metrics", "/"] {
        assert_eq!(daemon.ask(Method::GET, path).await.status, 200, "{path}");
    }
    let before = daemon.metric("pgtether_reconnects_total").await;
    assert_eq!(admin.terminate(SERVICE).await, 1);
    daemon.await_metric("pgtether_reconnects_total", |value| value > before).await;
    daemon.await_metric("pgtether_up", |value| value == 1.0).await;
    assert_eq!(daemon.reload(&daemon.good).await.status, 200);

    let log = reader.read();
    let text = || String::from_utf8_lossy(&log.lock().unwrap()).into_owned();
    let told =
        async || text().contains(NOTICE).then_some(()).ok_or_else(|| format!("{} bytes", text().len()));
    wait_until(SOON, NOTICE, told).await;
    let dropped = daemon.metric(DROPPED).await;
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    let last = async || text().contains("drained").then_some(()).ok_or_else(text);
    wait_until(SOON, "the last line", last).await;

    let log = text();
    let notices: Vec<_> = log.lines().filter(|line| line.contains(NOTICE)).collect();
    assert_eq!(notices.len(), 1, "{notices:?}");
    let lines = format!("lines={dropped}");
    assert!(notices[0].split_whitespace().any(|word| word == lines), "{dropped} lines: {}", notices[0]);
    assert!(notices[0].contains("level=warn"), "{}", notices[0]);
    let (before, after) = log.split_once(notices[0]).unwrap();
    assert!(before.contains("listening") && !before.contains("draining"), "{after}");
    assert!(after.contains("draining"), "{after}");
}

async fn ends_in_time((stderr, _reader): (OwnedFd, Reader)) {
    let cluster = postgres15();
    let mut daemon = Unheard::start(&cluster, stderr).await;
    daemon.log_too_much().await;
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn all_goes_on_before_a_pipe_that_nobody_reads() {
    all_goes_on(unread_pipe()).await;
}

#[tokio::test]
async fn all_goes_on_before_a_terminal_that_is_stopped() {
    all_goes_on(stopped_terminal()).await;
}

#[tokio::test]
async fn it_ends_in_time_before_a_pipe_that_nobody_reads() {
    ends_in_time(unread_pipe()).await;
}

#[tokio::test]
async fn it_ends_in_time_before_a_terminal_that_is_stopped() {
    ends_in_time(stopped_terminal()).await;
}

#[tokio::test]
async fn commands_end_with_their_exit_codes_where_standard_error_is_full() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--web.listen-address={}", taken.local_addr().unwrap());
    let url = format!("DATABASE_URL=postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let url = url.split_once('=').unwrap();
    for (args, code) in [
        (&["run", &taken][..], 1),
        (&["run", "--config.file=/nowhere.yaml"], 64),
        (&["run", "--no-such-flag"], 64),
        (&["check", "--log.level=debug"], 2),
        (&["check", "no-such-target"], 3),
        (&["demo", "--no-such-flag"], 64),
    ] {
        let (stderr, _reader) = full_pipe();
        let mut process = command(args, &[url]).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let ended = wait_until(SOON, &format!("the end of {args:?}"), async || {
            process.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
        .await;
        assert_eq!(ended.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_start_that_fails_says_all_of_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let mistakes: String = (0..100).map(|number| format!("no_such_key_{number}: 1\n")).collect();
    std::fs::write(&file, mistakes).unwrap();
    let output = run(&["run", &format!("--config.file={}", file.display())], &[]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().count() > 50 && said.ends_with(" more\n"), "{said}");
}
