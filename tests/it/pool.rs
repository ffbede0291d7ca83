//! Real clients through the pool: what they do every day, in both modes, beside the same on PostgreSQL itself. A script
//! or a command that passes there is the judge of what it meets there.

mod agent;
mod bench;
mod bounds;
mod cancel;
mod differential;
mod drivers;
mod dump;
mod hostile;
mod leftovers;
mod login;
mod midway;
mod resets;
mod rust;
mod terminal;
mod tls;
mod types;
mod wire;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgtether::demo::postgres::{Cluster, free_port};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, tools};

/// A driver's script may take that long; on a machine that does nothing else, it takes a fiftieth.
const SCRIPT: Duration = Duration::from_secs(240);
/// Much longer than what is waited for takes.
const SOON: Duration = Duration::from_secs(10);

/// How a client comes to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Direct,
    Session,
    Transaction,
}

impl Way {
    const ALL: [Way; 3] = [Way::Direct, Way::Session, Way::Transaction];
    /// Those through the pool.
    const POOLED: [Way; 2] = [Way::Session, Way::Transaction];

    /// The word that the scripts are told, and the name of the way's database and target.
    fn word(self) -> &'static str {
        match self {
            Way::Direct => "direct",
            Way::Session => "session",
            Way::Transaction => "transaction",
        }
    }
}

/// A pgtether with a pool for each mode, and a database for each way: clients that come by different ways at the same
/// time do not meet.
struct TwoPools {
    daemon: Daemon,
    urls: BTreeMap<Way, String>,
    ports: BTreeMap<Way, u16>,
}

impl TwoPools {
    /// Opens both, with so many server sessions each and more keys of `pool`, as lines of YAML.
    async fn open(cluster: &Cluster, sizes: [u32; 2], keys: &[&str]) -> TwoPools {
        let admin = Admin::of(cluster).await;
        let mut urls = BTreeMap::new();
        let mut ports = BTreeMap::new();
        let mut config = "service: tether\ntargets:\n".to_owned();
        for way in Way::ALL {
            let word = way.word();
            admin.query(&format!("CREATE DATABASE {word}")).await;
            let direct = cluster.url("postgres", cluster.password(), word);
            if way == Way::Direct {
                urls.insert(way, direct);
                continue;
            }
            let port = free_port().unwrap();
            let size = sizes[usize::from(way == Way::Transaction)];
            config.push_str(&format!("  - name: {word}\n    url: {direct}\n    pool:\n"));
            for key in
                [&format!("listen: 127.0.0.1:{port}"), &format!("mode: {word}"), &format!("size: {size}")]
            {
                config.push_str(&format!("      {key}\n"));
            }
            for key in keys {
                config.push_str(&format!("      {key}\n"));
            }
            urls.insert(way, through(&direct, cluster, port));
            ports.insert(way, port);
        }
        admin.close().await;
        let daemon = Daemon::start(&config);
        for port in ports.values() {
            await_listening(*port).await;
        }
        TwoPools { daemon, urls, ports }
    }

    fn url(&self, way: Way) -> &str {
        &self.urls[&way]
    }

    fn port(&self, way: Way) -> u16 {
        self.ports[&way]
    }
}

pub async fn await_listening(port: u16) {
    wait_until(SOON, "the pool's port", async || {
        TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())
    })
    .await;
}

/// A configuration of one target `db` with a pool, and the pool's port.
fn one_pool(url: &str, keys: &[&str], pool: &[&str]) -> (String, u16) {
    let port = free_port().unwrap();
    let mut config = format!("service: tether\ntargets:\n  - name: db\n    url: {url}\n");
    for key in keys {
        config.push_str(&format!("    {key}\n"));
    }
    config.push_str(&format!("    pool:\n      listen: 127.0.0.1:{port}\n"));
    for key in pool {
        config.push_str(&format!("      {key}\n"));
    }
    (config, port)
}

/// The same user, password and database at the pool's port.
fn through(url: &str, cluster: &Cluster, port: u16) -> String {
    url.replace(&format!(":{}/", cluster.port()), &format!(":{port}/"))
}

/// A client program with nothing of our environment that would steer it.
fn client(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    // No ~/.psqlrc, ~/.pgpass, ~/.npmrc and the like.
    command.env("HOME", "/nonexistent").env("PSQL_HISTORY", "/dev/null");
    command
}

/// One of our scripts in Python, with the packages that it needs.
fn python(script: &str, url: &str, args: &[&str]) -> Command {
    let packages = tools().join("drivers/python");
    assert!(packages.is_dir(), "the Python drivers are missing; `make tools` installs them");
    let mut command = client("python3");
    // What Python compiles on the way must not lie about in the checkout.
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(programs().join(script)).args(args).env("DATABASE_URL", url);
    command
}

/// One of our scripts in JavaScript; its first argument is where its packages are.
fn node(script: &str, url: &str, args: &[&str]) -> Command {
    let packages = tools().join("drivers/node/node_modules");
    assert!(packages.is_dir(), "the JavaScript drivers are missing; `make tools` installs them");
    let mut command = client("node");
    command.arg(programs().join(script)).arg(packages.parent().unwrap()).args(args).env("DATABASE_URL", url);
    command
}

/// Our program in Java; its driver is a file beside the others.
fn java(url: &str, args: &[&str]) -> Command {
    let driver = tools().join("drivers/java/postgresql.jar");
    assert!(
        driver.is_file(),
        "the Java driver is missing; `make tools` installs it, and a JDK and Maven for it"
    );
    let mut command = client("java");
    command.arg("-cp").arg(driver).arg(programs().join("JdbcUses.java")).args(args).env("DATABASE_URL", url);
    command
}

/// Our program in Go, as it was built with its driver.
fn pgx(url: &str, args: &[&str]) -> Command {
    let program = tools().join("drivers/pgx");
    assert!(program.is_file(), "the Go driver is missing; `make tools` builds it, with Go 1.25 or newer");
    let mut command = client(program.to_str().unwrap());
    command.args(args).env("DATABASE_URL", url);
    command
}

fn programs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers"))
}

/// Runs a client to its end.
async fn ended(command: &mut Command) -> Output {
    let what = format!("{:?}", command.as_std());
    let child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}; `make tools` installs it"));
    timeout(SCRIPT, child.wait_with_output()).await.unwrap_or_else(|_| panic!("{what} hangs")).unwrap()
}

/// Runs a client to its end, which must be a good one; returns what it said.
async fn passes(command: &mut Command) -> String {
    let output = ended(command).await;
    let said = said(&output);
    assert!(output.status.success(), "{:?} ended with {}:\n{said}", command.as_std(), output.status);
    said
}

/// Both streams of a client.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// As ctrl-C does.
fn interrupt(child: &tokio::process::Child) {
    kill(Pid::from_raw(child.id().unwrap() as i32), Signal::SIGINT).unwrap();
}
