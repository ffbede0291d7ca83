//! The real `pgtether` program, as its users meet it: started with a configuration, asked by HTTP, sent signals.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::scrape::Metrics;

/// How long a request may take before the test fails.
const REQUEST: Duration = Duration::from_secs(20);
/// How long a start may take before the test fails.
const START: Duration = Duration::from_secs(20);
/// Between two looks of [`wait_until`].
const LOOK: Duration = Duration::from_millis(5);

/// Looks until `look` is content, or fails the test with what it saw last.
pub async fn wait_until<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let began = Instant::now();
    loop {
        let seen = match look().await {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}; last seen: {seen}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The program, with nothing of our environment that would steer it.
pub fn command<A: AsRef<OsStr>>(args: &[A], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgtether"));
    command.args(args).env_clear().stdin(Stdio::null());
    command.env("RUST_BACKTRACE", "1").envs(env.iter().copied());
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs the program to its end: for `check`, `config` and starts that fail.
pub fn run<A: AsRef<OsStr>>(args: &[A], env: &[(&str, &str)]) -> Output {
    command(args, env).output().unwrap()
}

/// A folder with this configuration, and the command that starts a daemon with it.
fn configured(config: &str, args: &[&str], env: &[(&str, &str)]) -> (TempDir, Command) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, config).unwrap();
    let file = format!("--config.file={}", file.display());
    let mut all = vec!["run", &file, "--web.listen-address=127.0.0.1:0"];
    all.extend(args);
    let command = command(&all, env);
    (folder, command)
}

/// A running daemon on a free port of loopback. Dropping it kills it; in a test that fails it shows its log.
pub struct Daemon {
    process: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    folder: TempDir,
}

impl Daemon {
    /// Starts it with this configuration.
    pub fn start(config: &str) -> Daemon {
        Daemon::start_with(config, &[], &[])
    }

    /// Starts it with more flags and variables.
    pub fn start_with(config: &str, args: &[&str], env: &[(&str, &str)]) -> Daemon {
        let (folder, command) = configured(config, args, env);
        Daemon::spawn(folder, command)
    }

    /// Starts it by another program, which puts it in its own place: `unshare`, for namespaces of its own.
    pub fn start_by(by: &[&str], config: &str, env: &[(&str, &str)]) -> Daemon {
        let (folder, own) = configured(config, &[], env);
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(own.get_program()).args(own.get_args()).stdin(Stdio::null());
        command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Daemon::spawn(folder, command)
    }

    /// Starts it with these arguments alone, in a folder where there is no configuration.
    pub fn start_bare(args: &[&str], env: &[(&str, &str)]) -> Daemon {
        Daemon::spawn(tempfile::tempdir().unwrap(), command(args, env))
    }

    /// Starts `pgtether demo`.
    pub fn start_demo(args: &[&str], env: &[(&str, &str)]) -> Daemon {
        let mut all = vec!["demo"];
        all.extend(args);
        Daemon::spawn(tempfile::tempdir().unwrap(), command(&all, env))
    }

    fn spawn(folder: TempDir, mut command: Command) -> Daemon {
        command.current_dir(folder.path());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        collect(process.stdout.take().unwrap(), &log);
        collect(process.stderr.take().unwrap(), &log);
        let began = Instant::now();
        let address = loop {
            let said = log.lock().unwrap().clone();
            if let Some(address) = said.lines().find_map(listening) {
                break address;
            }
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "pgtether ended at its start ({ended:?}):\n{said}");
            assert!(began.elapsed() < START, "pgtether is not listening:\n{said}");
            thread::sleep(LOOK);
        };
        Daemon { process, address, log, folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    /// The configuration file, to be changed by the test.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// A folder of the test's own, gone with the daemon.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All it has said so far, on both streams.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub async fn get(&self, path: &str) -> Answer {
        request(self.address, Method::GET, path, &[]).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        request(self.address, Method::HEAD, path, &[]).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        request(self.address, Method::POST, path, &[]).await
    }

    pub async fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Metrics::parse(&answer.text())
    }

    /// One value of a live scrape; see [`Metrics::get`].
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.metrics().await.get(name, labels)
    }

    /// Waits for a metric to have this value.
    pub async fn await_metric(&self, limit: Duration, name: &str, labels: &[(&str, &str)], wanted: f64) {
        wait_until(limit, &format!("{name}{labels:?} {wanted}"), async || {
            match self.metric(name, labels).await {
                Some(value) if value == wanted => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await;
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn exited(&mut self, limit: Duration) -> ExitStatus {
        let process = &mut self.process;
        wait_until(limit, "pgtether's end", async || {
            process.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("---- what pgtether said:\n{}----", self.log());
        }
    }
}

/// An HTTP answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// One request on a connection of its own.
pub async fn request(to: SocketAddr, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let stream = TcpStream::connect(to).await.unwrap();
    ask(stream, to, method, path, headers).await.unwrap()
}

/// One request on this connection, whatever it is made of. The error is the connection's.
pub async fn ask<S>(
    stream: S,
    to: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> hyper::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(&method).uri(path);
        request = request.header(HOST, to.to_string());
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        driver.abort();
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    timeout(REQUEST, exchange)
        .await
        .unwrap_or_else(|_| panic!("{method} {path}: no answer within {REQUEST:?}"))
}

/// Sends bytes as they are and returns what comes back until the other side closes; fails where it does not within
/// `limit`.
pub async fn raw(to: SocketAddr, bytes: &[u8], limit: Duration) -> Vec<u8> {
    let talk = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // The other side may close before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    timeout(limit, talk).await.unwrap_or_else(|_| panic!("the connection was still open after {limit:?}"))
}

/// Reads a stream to its end into the log, on a thread of its own.
fn collect(stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// The address of a log line that tells where we listen, in logfmt and in JSON.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.contains("listening").then(|| line.split_once("address")).flatten()?;
    let start = after.trim_start_matches(['=', ':', '"']);
    let end = start.find(['"', ' ', ',', '}']).unwrap_or(start.len());
    start[..end].parse().ok()
}

#[test]
fn the_address_is_found_in_both_log_formats() {
    let wanted: SocketAddr = "127.0.0.1:4711".parse().unwrap();
    for line in [
        r#"ts=2026-11-23T02:57:11Z level=info msg=listening address=127.0.0.1:4711"#,
        r#"level=info msg="listening" address="127.0.0.1:4711" what=web"#,
        r#"{"level":"info","msg":"listening","address":"127.0.0.1:4711"}"#,
    ] {
        assert_eq!(listening(line), Some(wanted), "{line}");
    }
    assert_eq!(listening("level=info msg=started address=127.0.0.1:4711"), None);
}
