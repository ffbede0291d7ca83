//! A temporary PostgreSQL on loopback: made, configured, started, stopped, hung, killed, and gone with its [`Scratch`] folder.
//!
//! The server is our own child, never a service of the machine. All calls block, each for a bounded time.

mod data;
mod setup;

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Error;
use super::binaries::Binaries;
use super::scratch::Scratch;
pub use data::Template;
use data::{initdb, tail};
pub use setup::Setup;
use setup::{hba, settings};

/// The superuser of every cluster; on the Unix socket it needs no password.
pub const SUPERUSER: &str = "postgres";
/// Ports below those that the kernel gives to outgoing sockets: nobody takes the port of a server that is down, and a
/// client that connects there never meets itself.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// For one that nobody needs any more.
const DROP_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);
/// How often a port that somebody else took meanwhile is replaced.
const PORT_TRIES: usize = 5;

/// How a server is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Waits for the sessions to end by themselves.
    Smart,
    /// Ends the sessions, then itself.
    Fast,
    /// Ends everything at once; the next start recovers.
    Immediate,
}

impl Shutdown {
    fn signal(self) -> Signal {
        match self {
            Shutdown::Smart => Signal::SIGTERM,
            Shutdown::Fast => Signal::SIGINT,
            Shutdown::Immediate => Signal::SIGQUIT,
        }
    }
}

/// A temporary PostgreSQL. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    data: PathBuf,
    log: PathBuf,
    password: String,
    port: u16,
    setup: Setup,
    server: Option<Child>,
    scratch: Scratch,
}

impl Cluster {
    /// Makes a new cluster and starts it.
    pub fn start_new(binaries: Binaries, setup: Setup) -> Result<Cluster, Error> {
        let scratch = Scratch::new()?;
        let data = scratch.path().join("data");
        let password = initdb(&scratch, &binaries, &data)?;
        Cluster::launch(scratch, binaries, data, password, setup)
    }

    /// Its port, the same over all its starts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The folder of its data and its settings.
    pub fn data_folder(&self) -> &Path {
        &self.data
    }

    /// The file that it logs to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All that the server has logged, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The account that the server runs as; `None` where it is ours.
    pub fn account(&self) -> Option<&str> {
        self.scratch.account()
    }

    /// A connection string for `user` by TCP.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection string for the superuser by TCP.
    pub fn superuser_url(&self) -> String {
        self.url(SUPERUSER, &self.password, SUPERUSER)
    }

    /// A keyword string for the superuser by the Unix socket: works whatever `pg_hba.conf` says.
    pub fn admin_conninfo(&self) -> String {
        format!(
            "host='{}' port={} user={SUPERUSER} dbname={SUPERUSER} application_name=admin",
            self.scratch.path().display(),
            self.port
        )
    }

    /// Writes a file beside the data that only the server's account, and root, can read.
    pub fn write(&self, path: &Path, contents: &str) -> Result<(), Error> {
        self.scratch.write(path, contents)
    }

    /// Whether the server's process is there.
    pub fn is_running(&mut self) -> bool {
        self.exited().is_none()
    }

    /// Starts the server that was stopped or has died, on the same port and data.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.is_running() {
            return Ok(());
        }
        // What a crash left behind would refuse the start.
        self.scratch.signal_all(&self.data, Signal::SIGKILL);
        self.spawn()?;
        self.await_ready()
    }

    /// Stops the server and waits for its end.
    pub fn stop(&mut self, how: Shutdown) -> Result<(), Error> {
        if !self.is_running() {
            return Ok(());
        }
        self.stop_within(how, STOP_LIMIT)
    }

    fn stop_within(&mut self, how: Shutdown, limit: Duration) -> Result<(), Error> {
        self.signal(how.signal())?;
        self.resume();
        let deadline = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() > deadline {
                return Err(self.error(format!("did not stop within {limit:?}")));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Stops the server and starts it again.
    pub fn restart(&mut self, how: Shutdown) -> Result<(), Error> {
        self.stop(how)?;
        self.start()
    }

    /// Hangs the server: stops all its processes where they are. The kernel still accepts connections for it.
    pub fn pause(&self) {
        self.scratch.signal_all(&self.data, Signal::SIGSTOP);
    }

    /// Lets a hung server go on.
    pub fn resume(&self) {
        self.scratch.signal_all(&self.data, Signal::SIGCONT);
    }

    /// Kills one of the server's processes, as the system does when memory runs out: the server then ends all
    /// sessions and recovers.
    pub fn kill_backend(&self, pid: i32) -> Result<(), Error> {
        let pid = Pid::from_raw(pid);
        if !self.scratch.processes(&self.data).contains(&pid) {
            return Err(self.error(format!("has no process {pid}")));
        }
        kill(pid, Signal::SIGKILL).map_err(|e| Error::of(format!("cannot kill process {pid}"), e))
    }

    /// Changes settings, until the next change, over those of the setup; those that need no restart apply soon.
    pub fn reconfigure(&mut self, settings: &[(&str, &str)]) -> Result<(), Error> {
        for (name, value) in settings {
            self.setup.settings.retain(|(n, _)| n != name);
            self.setup.settings.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.configure()?;
        self.reload()
    }

    /// Replaces the lines of `pg_hba.conf` for TCP.
    pub fn set_hba(&mut self, lines: &[&str]) -> Result<(), Error> {
        self.setup.hba = lines.iter().map(|line| (*line).to_owned()).collect();
        self.configure()?;
        self.reload()
    }

    /// Makes a standby a primary.
    pub fn promote(&mut self) -> Result<(), Error> {
        self.setup.standby = false;
        self.scratch.write(&self.data.join("promote"), "")?;
        self.signal(Signal::SIGUSR1)
    }

    /// Makes a stopped server a standby at its next start.
    pub fn demote(&mut self) {
        self.setup.standby = true;
    }

    fn launch(
        scratch: Scratch,
        binaries: Binaries,
        data: PathBuf,
        password: String,
        setup: Setup,
    ) -> Result<Cluster, Error> {
        let log = scratch.path().join("server.log");
        let mut cluster = Cluster { binaries, log, password, port: 0, setup, server: None, data, scratch };
        for (name, contents) in &cluster.setup.files {
            cluster.scratch.write(&cluster.data.join(name), contents)?;
        }
        for tries_left in (0..PORT_TRIES).rev() {
            cluster.port = free_port()?;
            cluster.spawn()?;
            match cluster.await_ready() {
                Err(_) if tries_left > 0 && cluster.log().contains("could not bind") => continue,
                ended => return ended.map(|()| cluster),
            }
        }
        unreachable!("the last try returns")
    }

    fn spawn(&mut self) -> Result<(), Error> {
        self.configure()?;
        if self.setup.standby {
            self.scratch.write(&self.data.join("standby.signal"), "")?;
        }
        let open = || OpenOptions::new().create(true).append(true).open(&self.log);
        let log = open().and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(|e| Error::of(format!("cannot open {}", self.log.display()), e))?;
        let server = self
            .scratch
            .command(&self.binaries.postgres(), &self.data)
            .arg("-D")
            .arg(&self.data)
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| Error::of(format!("cannot run {}", self.binaries.postgres().display()), e))?;
        self.server = Some(server);
        Ok(())
    }

    /// Waits until the server says in its lock file, as pg_ctl reads it, that it takes sessions.
    fn await_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.exited() {
                return Err(self.error(format!("ended at its start ({status})")));
            }
            let pid = self.server.as_ref().map(|s| s.id().to_string());
            let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
            let mut lines = file.lines();
            // The file of a server that was killed is still there: it is ours only with our process id.
            let ours = lines.next().map(str::trim) == pid.as_deref();
            // A standby that takes no sessions says that it is one instead.
            let started = |status: &str| ["ready", "standby"].contains(&status.trim());
            if ours && lines.nth(6).is_some_and(started) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.error(format!("did not start within {START_LIMIT:?}")));
            }
            thread::sleep(POLL);
        }
    }

    /// How the server ended; an all-right-looking status where there is none to ask.
    fn exited(&mut self) -> Option<ExitStatus> {
        match self.server.as_mut().map(Child::try_wait) {
            None => Some(ExitStatus::default()),
            Some(Ok(ended)) => ended,
            Some(Err(_)) => None,
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(server) = &self.server else {
            return Err(self.error("is not running"));
        };
        let pid = Pid::from_raw(server.id() as i32);
        kill(pid, signal).map_err(|e| self.error(format!("cannot be sent {signal}: {e}")))
    }

    fn reload(&mut self) -> Result<(), Error> {
        if self.is_running() {
            self.signal(Signal::SIGHUP)?;
        }
        Ok(())
    }

    fn configure(&self) -> Result<(), Error> {
        let settings = settings(self.scratch.path(), self.port, &self.setup);
        self.scratch.write(&self.data.join("postgresql.conf"), &settings)?;
        let hba = hba(&self.setup);
        self.scratch.write(&self.data.join("pg_hba.conf"), &hba)
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::new(format!(
            "the PostgreSQL on port {} {what}; the end of its log:\n{}",
            self.port,
            tail(&self.log)
        ))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The kernel keeps the shared memory of a server that is killed, and has room for 4,096 of them.
        if self.is_running() {
            let _ = self.stop_within(Shutdown::Immediate, DROP_LIMIT);
        }
        // The reaper of its folder ends all others; this one is ours to reap.
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A loopback port that nobody listens on, and that the kernel gives to no outgoing socket.
pub fn free_port() -> Result<u16, Error> {
    const TRIES: usize = 200;
    (0..TRIES)
        .map(|_| fastrand::u16(PORTS))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| Error::new(format!("no free port found on 127.0.0.1 between {PORTS:?}")))
}
