//! Cancelling through the pool: it ends the query of the client that asks, and never the one that has its session now.

use std::time::Duration;

use pgtether::demo::postgres::Setup;
use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::rust::connect;
use super::{SOON, TwoPools, Way};
use crate::servers::{Version, postgres};

/// One server session, so that each client gets the one that the other has just used.
async fn one_session() -> (pgtether::demo::postgres::Cluster, TwoPools) {
    let cluster = postgres(Version::V15, Setup::default());
    let pools = TwoPools::open(&cluster, [2, 1], &[]).await;
    (cluster, pools)
}

#[tokio::test]
async fn a_cancel_that_comes_late_does_not_meet_the_next_client() {
    let (_cluster, pools) = one_session().await;
    let (a, _) = connect(pools.url(Way::Transaction)).await;
    let (b, _) = connect(pools.url(Way::Transaction)).await;
    for turn in 0..200_u64 {
        // At the beginning, in the middle, at the very end, and after.
        let early = Duration::from_micros(turn * 20);
        let token = a.cancel_token();
        let of_a = a.simple_query("SELECT pg_sleep(0.002)");
        let cancel = async {
            sleep(early).await;
            token.cancel_query(NoTls).await
        };
        let of_b = async {
            sleep(Duration::from_millis(1)).await;
            b.simple_query("SELECT pg_sleep(0.004)").await
        };
        let all = async { tokio::join!(of_a, cancel, of_b) };
        let (of_a, cancelled, of_b) =
            timeout(SOON, all).await.unwrap_or_else(|_| panic!("turn {turn} hangs"));
        cancelled.unwrap();
        of_b.unwrap_or_else(|e| panic!("turn {turn}: the other's cancel met it: {e:?}"));
        if let Err(e) = of_a {
            assert_eq!(e.code(), Some(&SqlState::QUERY_CANCELED), "turn {turn}: {e:?}");
        }
    }
}

#[tokio::test]
async fn a_cancel_of_an_idle_client_does_nothing_to_anybody() {
    let (_cluster, pools) = one_session().await;
    let (idle, _) = connect(pools.url(Way::Transaction)).await;
    let (busy, _) = connect(pools.url(Way::Transaction)).await;
    idle.simple_query("SELECT 1").await.unwrap();
    let sleeping = busy.simple_query("SELECT pg_sleep(0.5)");
    let cancels = async {
        for _ in 0..20 {
            idle.cancel_token().cancel_query(NoTls).await.unwrap();
        }
    };
    let (slept, ()) = tokio::join!(sleeping, cancels);
    slept.expect("the cancel of an idle client ended another's query");
    idle.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_client_that_waits_for_a_session_can_be_cancelled() {
    let (_cluster, pools) = one_session().await;
    let (holder, _) = connect(pools.url(Way::Transaction)).await;
    let (waiter, _) = connect(pools.url(Way::Transaction)).await;
    holder.batch_execute("BEGIN").await.unwrap();
    let cancel = async {
        sleep(Duration::from_millis(200)).await;
        waiter.cancel_token().cancel_query(NoTls).await
    };
    let all = async { tokio::join!(waiter.simple_query("SELECT 1"), cancel) };
    let (waited, cancelled) = timeout(SOON, all).await.expect("the cancel did not reach the waiting client");
    cancelled.unwrap();
    let error = waited.expect_err("there was no session to answer with");
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
    holder.batch_execute("COMMIT").await.unwrap();
    waiter.simple_query("SELECT 2").await.expect("the client goes on after its cancel");
}

#[tokio::test]
async fn each_of_many_cancels_ends_its_own_query() {
    let (_cluster, pools) = one_session().await;
    for way in Way::POOLED {
        let (a, _) = connect(pools.url(way)).await;
        let (b, _) = connect(pools.url(way)).await;
        for client in [&a, &b, &a, &b] {
            let cancel = async {
                sleep(Duration::from_millis(50)).await;
                client.cancel_token().cancel_query(NoTls).await
            };
            let all = async { tokio::join!(client.simple_query("SELECT pg_sleep(60)"), cancel) };
            let (slept, cancelled) =
                timeout(SOON, all).await.unwrap_or_else(|_| panic!("{way:?}: not cancelled"));
            cancelled.unwrap();
            assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
        }
    }
}
