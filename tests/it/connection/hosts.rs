//! Several hosts: who is tried, in which order, for how long, and which server is taken.

use std::time::Duration;

use pgtether::connection::{Login, Postgres};
use pgtether::demo::postgres::{Cluster, Setup, free_port};
use pgtether::reason::{Cause, Facts, Phase};
use tokio::time::Instant;

use super::{enter, open, refused, target};
use crate::servers::{Version, postgres, postgres15};

/// A string for these ports in this order. The password is the template's, so one fits all.
fn url(cluster: &Cluster, ports: &[u16], query: &str) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgresql://postgres:{}@{}/postgres?{query}", cluster.password(), hosts.join(","))
}

async fn port(cluster: &Cluster, ports: &[u16], query: &str) -> u16 {
    let (_, login) =
        open(&url(cluster, ports, query)).await.unwrap_or_else(|facts| panic!("{query}: {facts:?}"));
    peer(&login)
}

fn peer(login: &Login) -> u16 {
    login.facts.peer.unwrap().port()
}

#[tokio::test]
async fn a_dead_host_is_passed_over() {
    let cluster = postgres15();
    assert_eq!(port(&cluster, &[free_port().unwrap(), cluster.port()], "").await, cluster.port());
}

#[tokio::test]
async fn a_hung_host_takes_only_its_share_of_the_time() {
    let (hung, cluster) = (postgres15(), postgres15());
    hung.pause();
    let url = url(&cluster, &[hung.port(), cluster.port()], "");
    let began = Instant::now();
    let (_, login) = enter(&Postgres::new(), target(&url), Duration::from_secs(4)).await.unwrap();
    assert_eq!(peer(&login), cluster.port());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    // What it cost is told: the parts add up.
    let told = login.detour + login.took();
    assert!(
        login.detour > Duration::from_secs(1) && told + Duration::from_millis(300) > took,
        "{login:?}, {took:?}"
    );
}

#[tokio::test]
async fn the_wanted_kind_of_server_is_looked_for() {
    let primary = postgres15();
    let standby = postgres(Version::V15, Setup::default().standby());
    let (p, s) = (primary.port(), standby.port());
    for (wanted, taken) in [
        ("any", s),
        ("primary", p),
        ("read-write", p),
        ("standby", s),
        ("read-only", s),
        ("prefer-standby", s),
    ] {
        let query = format!("target_session_attrs={wanted}");
        assert_eq!(port(&primary, &[s, p], &query).await, taken, "{wanted}");
        let expected = if wanted == "any" { p } else { taken };
        assert_eq!(port(&primary, &[p, s], &query).await, expected, "{wanted}, the primary first");
    }
}

#[tokio::test]
async fn with_no_standby_a_primary_is_preferred_to_nothing() {
    let primary = postgres15();
    let ports = [free_port().unwrap(), primary.port()];
    assert_eq!(port(&primary, &ports, "target_session_attrs=prefer-standby").await, primary.port());
}

#[tokio::test]
async fn a_role_that_nobody_has_is_told_even_if_another_host_is_dead() {
    let standby = postgres(Version::V15, Setup::default().standby());
    let url = url(&standby, &[standby.port(), free_port().unwrap()], "target_session_attrs=primary");
    let wanted = Cause::WrongRole { wanted: "primary".into() };
    assert_eq!(refused(&url).await, Facts::new(Phase::Startup, wanted));
}

#[tokio::test]
async fn a_random_order_takes_each_host_at_times() {
    let (one, two) = (postgres15(), postgres15());
    let mut seen = [0, 0];
    for _ in 0..30 {
        let taken = port(&one, &[one.port(), two.port()], "load_balance_hosts=random").await;
        seen[usize::from(taken == two.port())] += 1;
    }
    // A fair coin misses one side of 30 throws once in half a billion.
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}
