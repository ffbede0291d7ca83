//! What clients are told that cannot be served: with which SQLSTATE, in which words, after how long, and without any
//! secret in it.

use std::time::{Duration, Instant};

use pgtether::demo::postgres::{Cluster, Setup, Shutdown};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, NoTls};

use super::rust::connect;
use super::{SOON, await_listening, client, ended, one_pool, said};
use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, Version, postgres};
use crate::supervise::{await_down, await_state};

const PASSWORD: &str = "open-sesame-4711";

/// A server with the role `app`, and a pool for it.
async fn app(pool: &[&str]) -> (Cluster, Daemon, String, u16) {
    let cluster = postgres(Version::V15, Setup::default());
    let admin = Admin::of(&cluster).await;
    admin.query(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")).await;
    // A server that is stopped at once, and was told not to be careful, may forget it.
    admin.query("CHECKPOINT").await;
    admin.close().await;
    let keys = ["ping: {interval: 1s, timeout: 500ms}"];
    let (config, port) = one_pool(&cluster.url("app", PASSWORD, "postgres"), &keys, pool);
    let daemon = Daemon::start(&config);
    await_listening(port).await;
    await_state(&daemon, SOON, "up").await;
    let url = format!("postgresql://app:{PASSWORD}@127.0.0.1:{port}/postgres");
    (cluster, daemon, url, port)
}

/// How a login is refused.
async fn refused(url: &str) -> DbError {
    let error = tokio_postgres::connect(url, NoTls).await.map(drop).expect_err("it was let in");
    error.as_db_error().unwrap_or_else(|| panic!("no word of the server: {error:?}")).clone()
}

/// How a query on a connection that was let in is refused.
async fn unanswered(client: &Client) -> DbError {
    let error = client.simple_query("SELECT 1").await.map(drop).expect_err("it was answered");
    error.as_db_error().unwrap_or_else(|| panic!("no word of the server: {error:?}")).clone()
}

/// The client has this SQLSTATE, and words for people who look no further: what is wrong in the message, what to do in
/// the hint where nobody but them can tell.
fn says(error: &DbError, sqlstate: &str, about: &[&str]) {
    assert_eq!(error.code().code(), sqlstate, "{error:?}");
    let all = format!("{} {} {}", error.message(), error.detail().unwrap_or(""), error.hint().unwrap_or(""));
    for word in about {
        assert!(all.contains(word), "nothing about {word:?} in {error:?}");
    }
    assert!(!all.contains(PASSWORD), "{all}");
    assert!(!error.message().ends_with('.') && !error.message().contains('\n'), "{error:?}");
}

#[tokio::test]
async fn who_may_not_come_in_is_told_why() {
    let (_cluster, daemon, url, port) = app(&["max_clients: 2"]).await;
    let at = |user: &str, password: &str, database: &str| {
        format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}")
    };
    let wrong = refused(&at("app", "wrong", "postgres")).await;
    says(&wrong, "28P01", &["password authentication failed for user \"app\""]);
    let unknown = refused(&at("mallory", PASSWORD, "postgres")).await;
    says(&unknown, "28P01", &["password authentication failed for user \"mallory\""]);
    let elsewhere = refused(&at("app", PASSWORD, "template1")).await;
    says(&elsewhere, "3D000", &["template1"]);
    let replication = ended(client("psql").args(["-X", &format!("{url}?replication=database")])).await;
    assert!(!replication.status.success() && said(&replication).contains("HINT"), "{}", said(&replication));
    // A setting that is none is the server's to refuse.
    let odd = refused(&format!("{url}?options=-c%20no_such_setting%3D1")).await;
    says(&odd, "42704", &["no_such_setting"]);

    let (first, _) = connect(&url).await;
    let (second, _) = connect(&url).await;
    let third = refused(&url).await;
    says(&third, "53300", &["max_clients"]);
    drop(second);
    wait_until(SOON, "room for another", async || {
        tokio_postgres::connect(&url, NoTls).await.map(drop).map_err(|e| format!("{e:?}"))
    })
    .await;
    first.simple_query("SELECT 1").await.unwrap();
    assert!(!daemon.log().contains(PASSWORD) && !daemon.log().contains("wrong"), "{}", daemon.log());
}

#[tokio::test]
async fn who_waits_too_long_for_a_busy_pool_is_told_that_it_is_busy() {
    let (_cluster, daemon, url, _) = app(&["size: 1", "wait_timeout: 300ms"]).await;
    let (holder, _) = connect(&url).await;
    let (waiter, _) = connect(&url).await;
    holder.batch_execute("BEGIN").await.unwrap();
    let began = Instant::now();
    let busy = unanswered(&waiter).await;
    let took = began.elapsed();
    says(&busy, "57P03", &["size"]);
    assert!(busy.hint().is_some(), "{busy:?}");
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(2), "told after {took:?}");
    let reason = [("target", "db"), ("reason", "busy")];
    daemon.await_metric(SOON, "pgtether_pool_checkout_failures_total", &reason, 1.0).await;
    holder.batch_execute("COMMIT").await.unwrap();
    let (fresh, _) = connect(&url).await;
    fresh.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn who_comes_while_the_server_is_stopped_is_told_so_and_served_when_it_is_back() {
    let (mut cluster, daemon, url, _) = app(&["wait_timeout: 1s"]).await;
    let (before, _) = connect(&url).await;
    before.simple_query("SELECT 1").await.unwrap();
    cluster.stop(Shutdown::Immediate).unwrap();
    await_down(&daemon, SOON, "refused").await;
    // In a connection that was let in before, and in a new one.
    let began = Instant::now();
    says(&unanswered(&before).await, "57P03", &["db", "refused"]);
    let new = async {
        match tokio_postgres::connect(&url, NoTls).await {
            Err(e) => e.as_db_error().unwrap_or_else(|| panic!("{e:?}")).clone(),
            Ok((client, connection)) => {
                tokio::spawn(connection);
                unanswered(&client).await
            }
        }
    }
    .await;
    says(&new, "57P03", &["db", "refused"]);
    assert!(new.hint().is_some(), "{new:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "told after {:?}", began.elapsed());

    cluster.start().unwrap();
    await_state(&daemon, SOON, "up").await;
    let (after, _) = connect(&url).await;
    after.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn what_dies_in_a_transaction_is_told_at_once_with_its_sqlstate() {
    let (cluster, _daemon, url, _) = app(&["size: 1"]).await;
    let admin = Admin::of(&cluster).await;
    let (client, _) = connect(&url).await;
    client.batch_execute("BEGIN").await.unwrap();
    let pid: String = match &client.simple_query("SELECT pg_backend_pid()").await.unwrap()[1] {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    let query = client.simple_query("SELECT pg_sleep(60)");
    let kill = async {
        let running = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND query LIKE '%pg_sleep%'");
        wait_until(SOON, "the query", async || match admin.query(&running).await.len() {
            1 => Ok(()),
            n => Err(n.to_string()),
        })
        .await;
        admin.query(&format!("SELECT pg_terminate_backend({pid})")).await;
        Instant::now()
    };
    let (answer, killed) = tokio::join!(query, kill);
    let error = answer.expect_err("its session was ended");
    assert!(killed.elapsed() < Duration::from_secs(1), "told after {:?}", killed.elapsed());
    assert_eq!(error.code().map(|code| code.code()), Some("57P01"), "{error:?}");
    let (next, _) = connect(&url).await;
    next.simple_query("SELECT 1").await.expect("the next client is served");
}

#[tokio::test]
async fn what_dies_between_two_transactions_no_client_sees() {
    let (cluster, _daemon, url, _) = app(&["size: 3"]).await;
    let admin = Admin::of(&cluster).await;
    // The pool's sessions go by the name of their last client; the supervised one does not, and lives.
    let (client, _) = connect(&format!("{url}?application_name=regular")).await;
    for turn in 0..20 {
        client.simple_query("SELECT 1").await.unwrap_or_else(|e| panic!("turn {turn}: {e:?}"));
        let pids = admin.pids("regular").await;
        assert!(!pids.is_empty(), "turn {turn}: the session is gone already");
        admin.terminate("regular").await;
        let killed = pids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        // They have said their last word then, which a pool must have heard before it hands one out.
        let left = format!("SELECT 1 FROM pg_stat_activity WHERE pid IN ({killed})");
        wait_until(SOON, "the end of those killed", async || match admin.query(&left).await.len() {
            0 => Ok(()),
            n => Err(n.to_string()),
        })
        .await;
    }
}

#[tokio::test]
async fn a_password_that_was_changed_is_told_at_once_and_never_shown() {
    let (cluster, daemon, url, _) = app(&["wait_timeout: 15s"]).await;
    let admin = Admin::of(&cluster).await;
    let (client, _) = connect(&url).await;
    client.simple_query("SELECT 1").await.unwrap();
    // One that has shown the old password already would be let in.
    let opening = [("target", "db"), ("state", "login")];
    daemon.await_metric(SOON, "pgtether_pool_servers", &opening, 0.0).await;
    admin.query("ALTER ROLE app PASSWORD 'something-else'").await;
    // Not only told to end: a session that is yet to hear of it may still answer.
    admin.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'").await;
    await_down(&daemon, SOON, "auth").await;
    let began = Instant::now();
    let told = unanswered(&client).await;
    says(&told, "57P03", &["db", "password"]);
    assert!(told.hint().is_some(), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "told after {:?}", began.elapsed());
    assert!(!daemon.log().contains(PASSWORD), "{}", daemon.log());
}

#[tokio::test]
async fn who_waits_for_a_server_that_asks_for_less_than_scram_is_told_so() {
    let (mut cluster, daemon, url, _) = app(&[]).await;
    let admin = Admin::of(&cluster).await;
    let (client, _) = connect(&url).await;
    client.simple_query("SELECT 1").await.unwrap();
    cluster.set_hba(&["local all all trust", "host all app 127.0.0.1/32 trust"]).unwrap();
    // Not only told to end: a session that is yet to hear of it may still answer.
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'";
    admin.query(end).await;
    await_down(&daemon, SOON, "config").await;
    // A session that the pool was opening meanwhile serves on.
    let error = wait_until(SOON, "a rejection", async || {
        admin.query(end).await;
        match client.simple_query("SELECT 1").await {
            Ok(_) => Err("it was answered".to_owned()),
            Err(error) => Ok(error.as_db_error().unwrap_or_else(|| panic!("{error:?}")).clone()),
        }
    })
    .await;
    says(&error, "57P03", &["config", "SCRAM-SHA-256 before", "require_auth"]);
    assert!(error.detail().is_some_and(|detail| detail.contains("the server")), "{error:?}");
}
