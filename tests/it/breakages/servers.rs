//! Breakages of a server, its role, its disk, and of the pooler before it.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgtether::demo::postgres::{Cluster, Setup, Shutdown};

use super::{Breakage, Told};
use crate::servers::{PgBouncer, PoolMode, Version, postgres, postgres15};

pub fn stopped(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let mut cluster = postgres15();
        let daemon = breakage.healthy(&cluster.superuser_url(), &[]).await;
        cluster.stop(Shutdown::Fast).unwrap();
        Some(breakage.told(&daemon).await)
    }
    .boxed_local()
}

pub fn cold_standby(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let mut cluster = postgres15();
        let daemon = breakage.healthy(&cluster.superuser_url(), &[]).await;
        cluster.stop(Shutdown::Fast).unwrap();
        cluster.demote();
        cluster.reconfigure(&[("hot_standby", "off")]).unwrap();
        cluster.start().unwrap();
        Some(breakage.told(&daemon).await)
    }
    .boxed_local()
}

pub fn standby(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let mut cluster = postgres15();
        let daemon = breakage.healthy(&cluster.superuser_url(), &["role: primary"]).await;
        cluster.stop(Shutdown::Fast).unwrap();
        cluster.demote();
        cluster.start().unwrap();
        Some(breakage.told(&daemon).await)
    }
    .boxed_local()
}

pub fn paused(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let cluster = postgres15();
        let bouncer = PgBouncer::start(&cluster, PoolMode::Transaction, &[]);
        let daemon = breakage.healthy(&bouncer.url("postgres"), &[]).await;
        let url = bouncer.url("pgbouncer");
        let (console, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        console.simple_query("PAUSE").await.unwrap();
        Some(breakage.told(&daemon).await)
    }
    .boxed_local()
}

/// A server whose data are on a small disk of its own, which is gone with it.
struct OnSmallDisk {
    postmaster: Child,
    /// The data, seen from outside of its mount namespace.
    data: std::path::PathBuf,
}

impl OnSmallDisk {
    /// `None` where we may not mount.
    fn start(cluster: &mut Cluster, program: &Path) -> Option<OnSmallDisk> {
        let can = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        if !can.is_ok_and(|tried| tried.status.success()) {
            return None;
        }
        cluster.stop(Shutdown::Fast).unwrap();
        let script = "cp -a \"$1\" \"$1.copy\" && mount -t tmpfs -o size=128m tmpfs \"$1\" && cp -a \"$1.copy/.\" \"$1/\" &&
            chown --reference=\"$1.copy\" \"$1\" && chmod 700 \"$1\" && rm -r \"$1.copy\" && cd \"$1\" &&
            exec setpriv --reuid=\"$3\" --regid=\"$4\" --clear-groups \"$2\" -D \"$1\"";
        let owner = std::fs::metadata(cluster.data_folder()).unwrap();
        use std::os::unix::fs::MetadataExt;
        let postmaster = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(cluster.data_folder())
            .arg(program)
            .args([owner.uid().to_string(), owner.gid().to_string()])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let root = format!("/proc/{}/root{}", postmaster.id(), cluster.data_folder().display());
        Some(OnSmallDisk { postmaster, data: root.into() })
    }

    /// Takes all the room that is left, and that of what PostgreSQL keeps of its catalogs: it removes that at each restart,
    /// and the next login has to write it.
    fn fill(&self) {
        let zeros = vec![0; 64 << 10];
        let mut file = std::fs::File::create(self.data.join("fill")).unwrap();
        loop {
            while file.write(&zeros).is_ok_and(|written| written > 0) {}
            let found = Command::new("find")
                .arg(&self.data)
                .args(["-name", "pg_internal.init", "-print", "-delete"])
                .output()
                .unwrap();
            if found.stdout.is_empty() {
                return;
            }
        }
    }
}

impl Drop for OnSmallDisk {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.postmaster.id() as i32), Signal::SIGQUIT);
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.postmaster.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.postmaster.kill();
        let _ = self.postmaster.wait();
    }
}

pub fn full_disk(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let mut cluster = postgres(Version::V18, Setup::default());
        let url = cluster.superuser_url();
        let server = OnSmallDisk::start(&mut cluster, &Version::V18.folder().join("postgres"))?;
        let daemon = breakage.healthy(&url, &[]).await;
        server.fill();
        Some(breakage.told(&daemon).await)
    }
    .boxed_local()
}
