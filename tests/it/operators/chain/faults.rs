//! The scene: servers, targets with one weakness each, a daemon; and what is done to them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use pgtether::demo::postgres::{Cluster, Setup, Shutdown, free_port};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::monitoring::{Monitoring, PROD, STAGING};
use super::crowd::{Crowd, through};
use super::second::{Second, TARGETS};
use crate::certs::{Authority, DAY, Validity, with_tls};
use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, Version, postgres};
use crate::supervise::targets;

const SOON: Duration = Duration::from_secs(20);
const NAMES: &[&str] = &["localhost", "127.0.0.1"];
/// A ping that takes longer than half a second.
const SLOW: Duration = Duration::from_millis(700);
const CONFIG: &str = "config.yaml";
const WEB_CONFIG: &str = "web.yml";
const WEB: &str = "http_server_config: {headers: {X-Frame-Options: deny}}\n";

pub struct Scene {
    daemon: Daemon,
    folder: TempDir,
    config: String,
    address: SocketAddr,
    /// It stays up; roles on it have their troubles.
    steady: Cluster,
    admin: Admin,
    /// It is stopped and started.
    shaky: Cluster,
    authority: Authority,
    way: SlowWay,
    /// Who is at the pool of `main` all the while, and who is at the others.
    visitor: Crowd,
    crowd: Option<Crowd>,
    /// The pgtether of the other namespace.
    second: Second,
}

impl Scene {
    pub async fn set() -> Scene {
        let authority = Authority::new("chain");
        let with = |days: u32| {
            let leaf = authority.server_for(NAMES, Validity::For(DAY * days));
            postgres(Version::V15, with_tls(Setup::default(), &authority, &leaf))
        };
        let (steady, shaky) = (with(2), with(20));
        let admin = Admin::of(&steady).await;
        for role in ["calm", "sleepy", "rotated", "full", "flappy", "slow", "certified", "busy", "short"] {
            admin.query(&format!("CREATE ROLE {role} LOGIN PASSWORD 'sesame'")).await;
        }
        admin.query("ALTER ROLE sleepy SET idle_session_timeout = '2s'").await;
        let way = SlowWay::to(steady.port(), SLOW).await;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), "sesame").unwrap();
        let config = configuration(&folder, &steady, &shaky, way.port);
        fs::write(folder.path().join(CONFIG), &config).unwrap();
        fs::write(folder.path().join(WEB_CONFIG), WEB).unwrap();
        let daemon = start(folder.path(), address);
        let visitor = Crowd::of_one(through("postgres", shaky.password(), pool_address(1, address)));
        let second = Second::start(&steady, &admin).await;
        let crowd = None;
        Scene {
            daemon,
            folder,
            config,
            address,
            steady,
            admin,
            shaky,
            authority,
            way,
            visitor,
            crowd,
            second,
        }
    }

    /// What Prometheus scrapes, each with its namespace.
    pub fn scraped(&self) -> [(&'static str, SocketAddr); 2] {
        [(PROD, self.address), (STAGING, self.second.address())]
    }

    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Waits until all is well and Prometheus has seen it for a while: what was never well cannot get worse.
    pub async fn await_calm(&self, monitoring: &Monitoring) {
        self.await_target("asleep", "sleeping").await;
        wait_until(SOON, "targets that are all up", async || {
            let up = "sum(min_over_time(pgtether_up[4s]) and pgtether_up offset 3s)";
            let seen = monitoring.query(up, super::now()).await;
            let up = seen.first().and_then(|series| series.last());
            if up == Some(11.0 + TARGETS) { Ok(()) } else { Err(format!("{up:?}")) }
        })
        .await;
    }

    /// Every fault at once.
    pub async fn strike(&mut self) {
        let [busy, short] = [("busy", 2), ("short", 3)]
            .map(|(role, which)| through(role, "sesame", pool_address(which, self.address)));
        self.crowd = Some(Crowd::of_many(&busy, &short));
        // It hangs before it goes: pings are not answered.
        self.shaky.pause();
        let unanswered = [("target", "main"), ("reason", "timeout")];
        self.daemon.await_metric(SOON, "pgtether_ping_failures_total", &unanswered, 1.0).await;
        self.shaky.resume();
        self.shaky.stop(Shutdown::Immediate).unwrap();
        self.admin.query("ALTER ROLE rotated PASSWORD 'changed'").await;
        self.second.strike(&self.admin).await;
        self.admin.query("ALTER ROLE \"full\" CONNECTION LIMIT 1").await;
        for (file, good) in [(CONFIG, self.config.as_str()), (WEB_CONFIG, WEB)] {
            fs::write(self.folder.path().join(file), format!("{good}nonsense: true\n")).unwrap();
        }
        self.daemon.signal(Signal::SIGHUP);
        for lost in 1..=6 {
            self.admin.terminate("flappy").await;
            let flappy = [("target", "flappy")];
            self.daemon.await_metric(SOON, "pgtether_reconnects_total", &flappy, f64::from(lost)).await;
        }
    }

    /// All of it mended.
    pub async fn cure(&mut self) {
        self.crowd = None;
        self.shaky.start().unwrap();
        self.second.cure(&self.admin).await;
        fs::write(self.folder.path().join("password"), "changed").unwrap();
        self.admin.query("ALTER ROLE \"full\" CONNECTION LIMIT -1").await;
        for (file, good) in [(CONFIG, self.config.as_str()), (WEB_CONFIG, WEB)] {
            fs::write(self.folder.path().join(file), good).unwrap();
        }
        self.daemon.signal(Signal::SIGHUP);
        self.way.delay(Duration::ZERO);
        let fresh = self.authority.server_for(NAMES, Validity::For(DAY * 20));
        for (name, pem) in [("server.crt", &fresh.cert), ("server.key", &fresh.key)] {
            self.steady.write(&self.steady.data_folder().join(name), pem).unwrap();
        }
        self.admin.query("SELECT pg_reload_conf()").await;
    }

    /// Ends the daemon in order, and starts it anew on the same port.
    pub async fn restart(&mut self) {
        self.daemon.signal(Signal::SIGTERM);
        let ended = self.daemon.exited(SOON).await;
        assert!(ended.success(), "{ended:?}");
        self.daemon = start(self.folder.path(), self.address);
    }

    /// A rolling restart, as a Deployment does it: the new one is ready and scraped before the old one is told to end,
    /// and nobody asks that one any more by then.
    pub async fn roll(&mut self, monitoring: &Monitoring) {
        let next = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let daemon = start(self.folder.path(), next);
        wait_until(SOON, "the new one's readiness", async || match daemon.get("/readyz").await {
            ready if ready.status == 200 => Ok(()),
            not_yet => Err(not_yet.text()),
        })
        .await;
        let second = (STAGING, self.second.address());
        monitoring.scrape(&[(PROD, self.address), (PROD, next), second]);
        await_instances(monitoring, 2.0).await;
        monitoring.scrape(&[(PROD, next), second]);
        await_instances(monitoring, 1.0).await;
        self.daemon.signal(Signal::SIGTERM);
        let ended = self.daemon.exited(SOON).await;
        assert!(ended.success(), "{ended:?}");
        (self.daemon, self.address) = (daemon, next);
        self.visitor = Crowd::of_one(through("postgres", self.shaky.password(), pool_address(1, next)));
    }

    /// Wakes what sleeps, once, so that there is a wake to be seen.
    pub async fn wake(&self) {
        self.await_target("asleep", "sleeping").await;
        let probed = self.daemon.get("/probe?target=asleep").await.text();
        assert!(probed.contains("\nprobe_success 1\n"), "{probed}");
        self.await_target("asleep", "sleeping").await;
    }

    /// Two of the faults once more.
    pub async fn strike_again(&mut self) {
        self.admin.query("ALTER ROLE rotated PASSWORD 'again'").await;
        self.await_target("rotated", "degraded").await;
        self.shaky.stop(Shutdown::Immediate).unwrap();
    }

    async fn await_target(&self, target: &str, state: &str) {
        let labels = [("target", target), ("state", state)];
        self.daemon.await_metric(SOON, "pgtether_target_state", &labels, 1.0).await;
    }
}

/// Waits until Prometheus scrapes so many of the first namespace.
async fn await_instances(monitoring: &Monitoring, count: f64) {
    wait_until(SOON, "discovery", async || {
        let seen = monitoring.query(&format!("count(up{{namespace={PROD:?}}} == 1)"), super::now()).await;
        let seen = seen.first().and_then(|series| series.last());
        if seen == Some(count) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

fn start(folder: &Path, address: SocketAddr) -> Daemon {
    let config = format!("--config.file={}", folder.join(CONFIG).display());
    let web = format!("--web.config.file={}", folder.join(WEB_CONFIG).display());
    let pools = [1, 2, 3].map(|which| pool_address(which, address).to_string());
    let [main, busy, short] = pools.each_ref().map(String::as_str);
    Daemon::start_bare(
        &[&config, &web, &format!("--web.listen-address={address}")],
        &[("MAIN", main), ("BUSY", busy), ("SHORT", short)],
    )
}

/// Each instance has pools of its own, on other addresses of this machine than its page's.
fn pool_address(which: u8, page: SocketAddr) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1 + which], page.port()))
}

/// Targets with one weakness each, or none.
fn configuration(folder: &TempDir, steady: &Cluster, shaky: &Cluster, way: u16) -> String {
    let url = |role: &str, port: u16, tls: &str| {
        format!(
            "url: postgresql://{role}:sesame@127.0.0.1:{port}/postgres?sslmode={tls}&application_name={role}"
        )
    };
    let of_shaky =
        |tls| format!("url: {}?sslmode={tls}", shaky.url("postgres", shaky.password(), "postgres"));
    let secret = format!("password_file: {}", folder.path().join("password").display());
    let rotated = format!("url: postgresql://rotated@127.0.0.1:{}/postgres?sslmode=disable", steady.port());
    let hasty = "ping: {interval: 1s, timeout: 1s}";
    // A machine that is busy may be slow, which is no fault of the server's.
    let ping = "ping: {interval: 2s, timeout: 2s}";
    let refresh = "refresh: {every: 2s}";
    let often = "backoff: {initial: 100ms, max: 500ms}";
    targets(&[
        ("main", &[&of_shaky("require"), hasty, refresh, often, "pool: {listen: '${MAIN}'}"]),
        ("optional", &[&of_shaky("disable"), hasty, refresh, often, "required: false"]),
        ("calm", &[&url("calm", steady.port(), "disable"), ping, refresh]),
        ("asleep", &[&url("sleepy", steady.port(), "disable"), "idle_policy: let_sleep"]),
        ("rotated", &[&rotated, &secret, ping, refresh]),
        ("full", &[&url("full", steady.port(), "disable"), ping, refresh, "backoff: {initial: 5s, max: 6s}"]),
        ("flappy", &[&url("flappy", steady.port(), "disable"), ping, "refresh: {every: off}", often]),
        ("slow", &[&url("slow", way, "disable"), ping, "refresh: {every: off}"]),
        ("certified", &[&url("certified", steady.port(), "require"), ping, refresh]),
        (
            "busy",
            &[
                &url("busy", steady.port(), "disable"),
                ping,
                refresh,
                "pool: {listen: '${BUSY}', size: 1, wait_timeout: 1m}",
            ],
        ),
        (
            "short",
            &[
                &url("short", steady.port(), "disable"),
                ping,
                refresh,
                "pool: {listen: '${SHORT}', size: 1, wait_timeout: 1s}",
            ],
        ),
    ])
}

/// A way to a server on which every answer takes a while longer.
struct SlowWay {
    port: u16,
    delay: Arc<AtomicU64>,
}

impl SlowWay {
    async fn to(port: u16, delay: Duration) -> SlowWay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = SlowWay { port: listener.local_addr().unwrap().port(), delay: Arc::default() };
        way.delay(delay);
        let delay = Arc::clone(&way.delay);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&delay)));
            }
        });
        way
    }

    fn delay(&self, delay: Duration) {
        self.delay.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

/// Carries bytes both ways until one side ends; answers wait.
async fn carry(mut client: TcpStream, mut server: TcpStream, delay: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let asked = tokio::io::copy(&mut from_client, &mut to_server);
    let answered = async {
        let mut answer = [0; 4096];
        while let Ok(read @ 1..) = from_server.read(&mut answer).await {
            tokio::time::sleep(Duration::from_millis(delay.load(Ordering::Relaxed))).await;
            if to_client.write_all(&answer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = asked => {}
        () = answered => {}
    }
}
