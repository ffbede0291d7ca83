//! Breakages between pgtether and the server: names, packets, silence.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::{Breakage, KEYS, Told};
use crate::process::{Daemon, command};
use crate::servers::postgres15;
use crate::supervise::{SOON, await_state, config};

/// Whether this machine lets us make namespaces of that kind.
fn may(unshare: &[&str], then: &str) -> bool {
    let tried = Command::new("unshare").args(unshare).args(["sh", "-c", then]).output();
    tried.is_ok_and(|Output { status, .. }| status.success())
}

/// pgtether in a mount namespace whose names come from a file of the test's, and whose resolver is where nobody listens.
pub fn no_name(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        const MOUNT: &str =
            "mount --bind \"$HOSTS\" /etc/hosts && mount --bind \"$RESOLVER\" /etc/resolv.conf";
        let folder = tempfile::tempdir().unwrap();
        let (hosts, resolver) = (folder.path().join("hosts"), folder.path().join("resolver"));
        std::fs::write(&hosts, "127.0.0.1 db.internal\n").unwrap();
        std::fs::write(&resolver, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
        let files = [("HOSTS", hosts.to_str().unwrap()), ("RESOLVER", resolver.to_str().unwrap())];
        let can = Command::new("unshare").args(["--mount", "sh", "-c", MOUNT]).envs(files).output();
        if !can.is_ok_and(|tried| tried.status.success()) {
            return None;
        }
        let cluster = postgres15();
        let url = cluster.superuser_url().replace("127.0.0.1", "db.internal") + "?sslmode=disable";
        let within = format!("{MOUNT} && exec \"$0\" \"$@\"");
        let daemon =
            Daemon::start_by(&["unshare", "--mount", "sh", "-c", &within], &config(&url, KEYS), &files);
        await_state(&daemon, SOON, "up").await;
        std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
        Some(breakage.told(&daemon).await)
    }
    .boxed_local()
}

/// pgtether in a network namespace of its own, where nobody is at the other end of the wire. `check` tells, because nobody
/// could ask a daemon there.
pub fn dropped_packets(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        const WIRE: &str = "ip link add near type veth peer name far && ip addr add 10.9.9.1/24 dev near && \
                            ip link set near up && ip link set far up && \
                            ip neigh add 10.9.9.2 lladdr 02:00:00:00:00:02 dev near nud permanent";
        if !may(&["--net"], WIRE) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, config("postgresql://app@10.9.9.2/app?sslmode=disable", KEYS)).unwrap();
        let check = command(&["check", "--output=json", &format!("--config.file={}", file.display())], &[]);
        let mut unshared = Command::new("unshare");
        let script = format!("{WIRE} && exec \"$0\" \"$@\"");
        unshared.args(["--net", "sh", "-c", &script]).arg(check.get_program()).args(check.get_args());
        let begun = Instant::now();
        let output = tokio::task::spawn_blocking(move || unshared.output().unwrap()).await.unwrap();
        let after = begun.elapsed();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let report: serde_json::Value =
            serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        let steps = report["targets"][0]["steps"].as_array().unwrap();
        let failed = steps.iter().find(|step| step["ok"] == false).unwrap_or_else(|| panic!("{said}"));
        assert_eq!(failed["reason"], breakage.reason, "{said}");
        let text = |key: &str| failed[key].as_str().unwrap_or_else(|| panic!("no {key}: {said}")).to_owned();
        let told = Told { state: "down".to_owned(), detail: text("detail"), remedy: text("remedy"), after };
        assert!(told.remedy.starts_with(breakage.remedy), "{said}");
        assert!(after < breakage.seen_by.limit() + super::SLACK, "{after:?}");
        Some(told)
    }
    .boxed_local()
}

pub fn silence(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgresql://app:sesame@127.0.0.1:{port}/app?sslmode=disable");
        let daemon = Daemon::start(&config(&url, KEYS));
        let told = breakage.told(&daemon).await;
        assert!(told.after + Duration::from_millis(500) > breakage.seen_by.limit(), "told early: {told:?}");
        drop(listener);
        Some(told)
    }
    .boxed_local()
}
