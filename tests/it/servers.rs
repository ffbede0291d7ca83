//! Real servers for tests: PostgreSQL of two majors, PgBouncer, and a look at them from the inside.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use pgtether::demo::Error;
use pgtether::demo::binaries::Binaries;
use pgtether::demo::postgres::{Cluster, Setup, Template, free_port};
use pgtether::demo::scratch::Scratch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The majors that the tests run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Debian's; npm's where the distribution has none.
    V15,
    /// From npm's `@embedded-postgres`.
    V18,
}

impl Version {
    pub const ALL: [Version; 2] = [Version::V15, Version::V18];

    /// Where its programs are.
    pub fn folder(self) -> PathBuf {
        self.binaries().unwrap_or_else(|e| panic!("{e}")).folder().to_owned()
    }

    fn binaries(self) -> Result<Binaries, Error> {
        let debians = Path::new("/usr/lib/postgresql/15/bin");
        match self {
            Version::V15 if debians.exists() => Binaries::at(debians),
            Version::V15 => Binaries::at(&open_to_all(&tools().join("postgres-15")).join("bin")),
            Version::V18 => Binaries::at(&open_to_all(&tools().join("postgres-18")).join("bin")),
        }
        .map_err(|e| e.within(format!("PostgreSQL {self:?} is missing; `make tools` installs it")))
    }

    /// One data folder from initdb per major and process; all clusters are copies.
    fn template(self) -> &'static Template {
        static V15: OnceLock<Template> = OnceLock::new();
        static V18: OnceLock<Template> = OnceLock::new();
        let slot = match self {
            Version::V15 => &V15,
            Version::V18 => &V18,
        };
        slot.get_or_init(|| self.binaries().and_then(Template::new).unwrap_or_else(|e| panic!("{e}")))
    }
}

/// Where `make tools` puts what Debian does not have.
pub fn tools() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools")
}

/// The folder, or a copy of it where the way to it is closed to the account that servers run as: a checkout may lie
/// in a private folder of root's.
fn open_to_all(folder: &Path) -> PathBuf {
    static COPIES: Mutex<Vec<(PathBuf, Scratch)>> = Mutex::new(Vec::new());
    let closed = |f: &Path| std::fs::metadata(f).is_ok_and(|m| m.permissions().mode() & 0o001 == 0);
    if !geteuid().is_root() || !folder.ancestors().any(closed) {
        return folder.to_owned();
    }
    let mut copies = COPIES.lock().unwrap();
    if !copies.iter().any(|(of, _)| of == folder) {
        let scratch = Scratch::new().unwrap();
        std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
        let mut cp = Command::new("cp");
        cp.arg("-r").arg(folder).arg(scratch.path().join("copy"));
        assert!(cp.status().unwrap().success(), "cannot copy {}", folder.display());
        copies.push((folder.to_owned(), scratch));
    }
    let (_, scratch) = copies.iter().find(|(of, _)| of == folder).unwrap();
    scratch.path().join("copy")
}

/// A running PostgreSQL of its own for one test.
pub fn postgres(version: Version, setup: Setup) -> Cluster {
    version.template().start(setup).unwrap_or_else(|e| panic!("{e}"))
}

/// PostgreSQL 15 as it comes.
pub fn postgres15() -> Cluster {
    postgres(Version::V15, Setup::default())
}

/// The superuser's session by the Unix socket: what the test does to the server, and what it sees there.
pub struct Admin {
    client: Client,
    connection: JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Admin {
    pub async fn of(cluster: &Cluster) -> Admin {
        let (client, connection) = tokio_postgres::connect(&cluster.admin_conninfo(), NoTls)
            .await
            .unwrap_or_else(|e| panic!("admin session: {e:?}\n{}", cluster.log()));
        Admin { client, connection: tokio::spawn(connection) }
    }

    /// Says goodbye, so that a smart shutdown need not wait for us.
    pub async fn close(self) {
        drop(self.client);
        let _ = self.connection.await;
    }

    /// Runs statements and returns the rows' first columns.
    pub async fn query(&self, sql: &str) -> Vec<String> {
        let messages = self.client.simple_query(sql).await;
        messages
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"))
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("").to_owned()),
                _ => None,
            })
            .collect()
    }

    /// The process ids of the sessions that go by this name.
    pub async fn pids(&self, application_name: &str) -> Vec<i32> {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE application_name = '{application_name}' ORDER BY backend_start"
        );
        let rows = self.query(&sql).await;
        rows.iter().map(|pid| pid.parse().unwrap()).collect()
    }

    /// How many sessions go by this name.
    pub async fn sessions(&self, application_name: &str) -> usize {
        self.pids(application_name).await.len()
    }

    /// Ends the sessions that go by this name with `pg_terminate_backend`; returns how many there were.
    pub async fn terminate(&self, application_name: &str) -> usize {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{application_name}'"
        );
        self.query(&sql).await.len()
    }
}

/// PgBouncer's `pool_mode`.
#[derive(Debug, Clone, Copy)]
pub enum PoolMode {
    Transaction,
    Session,
}

impl PoolMode {
    fn as_str(self) -> &'static str {
        match self {
            PoolMode::Transaction => "transaction",
            PoolMode::Session => "session",
        }
    }
}

/// A PgBouncer in front of a cluster. Dropping it ends it.
pub struct PgBouncer {
    port: u16,
    password: String,
    log: PathBuf,
    process: Child,
    scratch: Scratch,
}

impl PgBouncer {
    pub const PROGRAM: &str = "/usr/sbin/pgbouncer";

    /// Starts one for the cluster's superuser; `settings` are lines for `[pgbouncer]`.
    pub fn start(cluster: &Cluster, mode: PoolMode, settings: &[&str]) -> PgBouncer {
        PgBouncer::start_under(&[], cluster, mode, settings)
    }

    /// The same under another program, which is `under` with its arguments.
    pub fn start_under(under: &[&str], cluster: &Cluster, mode: PoolMode, settings: &[&str]) -> PgBouncer {
        assert!(Path::new(Self::PROGRAM).is_file(), "PgBouncer is missing; `make tools` installs it");
        let scratch = Scratch::new().unwrap();
        let port = free_port().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let users = format!("\"postgres\" \"{}\"\n", cluster.password());
        scratch.write(&path("users.txt"), &users).unwrap();
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\npool_mode = {}\nauth_type = scram-sha-256\nauth_file = users.txt\n\
             admin_users = postgres\nlogfile = pgbouncer.log\nlog_connections = 1\nlog_disconnections = 1\n{}\n",
            cluster.port(),
            mode.as_str(),
            settings.join("\n")
        );
        scratch.write(&path("pgbouncer.ini"), &ini).unwrap();
        let line = [under, &[Self::PROGRAM, "-q", "pgbouncer.ini"]].concat();
        let process = scratch.command(Path::new(line[0]), scratch.path()).args(&line[1..]).spawn().unwrap();
        let mut bouncer = PgBouncer {
            port,
            password: cluster.password().to_owned(),
            log: path("pgbouncer.log"),
            process,
            scratch,
        };
        bouncer.await_ready();
        bouncer
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection string for the superuser; the database `pgbouncer` is its console.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) {
        self.scratch.signal_all(self.scratch.path(), Signal::SIGTERM);
        self.process.wait().unwrap();
    }

    fn await_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "PgBouncer ended ({ended:?}):\n{}", self.log());
            assert!(Instant::now() < deadline, "PgBouncer did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.scratch.signal_all(self.scratch.path(), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}
