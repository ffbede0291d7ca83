//! pgbench through the pool: every protocol it speaks, with no transaction failed and no money lost.

use pgtether::demo::postgres::Setup;
use tokio::process::Command;

use super::{TwoPools, Way, client, passes, programs};
use crate::servers::{Version, postgres};

fn pgbench(url: &str, args: &[&str]) -> Command {
    let mut command = client("pgbench");
    command.args(args).arg(url);
    command
}

/// One run, of which every transaction must succeed.
async fn runs(url: &str, args: &[&str], clients: u32, each: u32) {
    let (c, t) = (clients.to_string(), each.to_string());
    let said = passes(&mut pgbench(url, &[&["-n", "-j", &c, "-c", &c, "-t", &t], args].concat())).await;
    let all = clients * each;
    let wanted = format!("number of transactions actually processed: {all}/{all}");
    assert!(said.contains(&wanted), "{args:?}:\n{said}");
    assert!(said.contains("number of failed transactions: 0 "), "{args:?}:\n{said}");
}

/// What tellers, branches and accounts got is what the history says.
const BALANCED: &str = "SELECT (SELECT sum(tbalance) FROM pgbench_tellers) = sum(delta)
    AND (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta)
    AND (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta) AND count(*) = 960 FROM pgbench_history";

#[tokio::test]
async fn pgbench_fails_no_transaction_in_any_protocol() {
    let cluster = postgres(Version::V15, Setup::default());
    let pools = TwoPools::open(&cluster, [16, 4], &[]).await;
    let pipeline = programs().join("pipeline.sql");
    for way in Way::ALL {
        let url = pools.url(way);
        // Fills the tables by COPY, and vacuums them.
        passes(&mut pgbench(url, &["-i", "-q", "-s", "1"])).await;
        for protocol in ["simple", "extended", "prepared"] {
            runs(url, &["-M", protocol], 16, 20).await;
            runs(url, &["-S", "-M", protocol], 16, 200).await;
        }
        let balanced = passes(client("psql").args(["-XAtc", BALANCED, url])).await;
        assert_eq!(balanced, "t\n", "{way:?}");
        for protocol in ["extended", "prepared"] {
            runs(url, &["-M", protocol, "-f", pipeline.to_str().unwrap()], 16, 20).await;
        }
        // A connection for each transaction.
        runs(url, &["-S", "-C"], 8, 10).await;
    }
}
