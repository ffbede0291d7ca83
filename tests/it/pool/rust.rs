//! tokio-postgres through the pool: it pipelines whatever is asked at once, prepares everything, and walks portals.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use futures_util::{SinkExt, TryStreamExt, pin_mut};
use pgtether::demo::postgres::Setup;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use super::{SOON, TwoPools, Way};
use crate::servers::{Version, postgres};

/// A client, and what it is told without having asked.
pub async fn connect(url: &str) -> (Client, UnboundedReceiver<AsyncMessage>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let (told, hears) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            let _ = told.send(message);
        }
    });
    (client, hears)
}

#[tokio::test]
async fn tokio_postgres_does_through_the_pool_what_it_does_without() {
    let cluster = postgres(Version::V18, Setup::default());
    let pools = TwoPools::open(&cluster, [12, 2], &[]).await;
    join_all(Way::ALL.map(async |way| {
        let url = pools.url(way);
        statements_are_pipelined(url).await;
        statements_are_prepared_once_and_closed(url).await;
        portals_are_walked(url).await;
        copies_go_both_ways(url).await;
        errors_keep_to_their_statement(url).await;
        a_dropped_stream_and_transaction_are_cleaned_up(url).await;
        many_clients_pipeline_at_once(url).await;
        if way != Way::Transaction {
            notifications_arrive(url).await;
        }
    }))
    .await;
}

async fn statements_are_pipelined(url: &str) {
    let (client, _) = connect(url).await;
    let all = (0..200).map(async |i: i32| {
        let row = client.query_one("SELECT $1::int4 + 1, $2::text", &[&i, &i.to_string()]).await?;
        assert_eq!((row.get::<_, i32>(0), row.get::<_, String>(1)), (i + 1, i.to_string()));
        Ok::<_, tokio_postgres::Error>(())
    });
    try_join_all(all).await.unwrap();
    // Simple and extended ones behind each other.
    let (simple, typed, many) = tokio::join!(
        client.simple_query("SELECT 1; SELECT 2"),
        client.query_typed("SELECT $1", &[(&"x", Type::TEXT)]),
        client.batch_execute("BEGIN; SELECT 1; COMMIT"),
    );
    let rows = simple.unwrap().iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
    assert_eq!((rows, typed.unwrap()[0].get::<_, &str>(0)), (2, "x"));
    many.unwrap();
}

async fn statements_are_prepared_once_and_closed(url: &str) {
    let (a, _) = connect(url).await;
    let (b, _) = connect(url).await;
    // Both name theirs s0, s1, …
    let mut of_a = Vec::new();
    let mut of_b = Vec::new();
    for i in 0..12 {
        of_a.push(a.prepare(&format!("SELECT $1::int4 + {i}")).await.unwrap());
        of_b.push(b.prepare(&format!("SELECT $1::text || '{i}'")).await.unwrap());
    }
    for turn in 0..3 {
        for i in 0..12 {
            let row = a.query_one(&of_a[i], &[&turn]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), turn + i as i32);
            let row = b.query_one(&of_b[i], &[&"v"]).await.unwrap();
            assert_eq!(row.get::<_, &str>(0), format!("v{i}"));
        }
    }
    assert_eq!(of_a[0].params(), [Type::INT4]);
    of_a.drain(..6);
    assert_eq!(a.query_one(&of_a[0], &[&1]).await.unwrap().get::<_, i32>(0), 7);
    // A custom type is looked up by statements that the driver prepares itself.
    a.batch_execute("CREATE TYPE mood AS ENUM ('sad', 'ok')").await.unwrap();
    let row = b.query_one("SELECT 'ok'::mood", &[]).await.unwrap();
    assert_eq!(row.columns()[0].type_().name(), "mood");
}

async fn portals_are_walked(url: &str) {
    let (mut client, _) = connect(url).await;
    let numbers = client.prepare("SELECT generate_series(1, $1::int4)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let tens = transaction.bind(&numbers, &[&25]).await.unwrap();
    let other = transaction.bind(&numbers, &[&3]).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let rows = transaction.query_portal(&tens, 10).await.unwrap();
        seen.push(rows.len());
        assert_eq!(transaction.query_portal(&other, 1).await.unwrap().len(), 1);
    }
    assert_eq!(seen, [10, 10, 5]);
    transaction.commit().await.unwrap();
}

async fn copies_go_both_ways(url: &str) {
    let (client, _) = connect(url).await;
    client.batch_execute("CREATE TABLE copied (id int4, note text)").await.unwrap();
    let sink = client.copy_in("COPY copied FROM STDIN").await.unwrap();
    pin_mut!(sink);
    for i in 0..2000 {
        sink.send(Bytes::from(format!("{i}\tnote {i}\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 2000);

    let sink = client.copy_in("COPY copied FROM STDIN (FORMAT binary)").await.unwrap();
    let writer = BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]);
    pin_mut!(writer);
    for i in 2000..4000 {
        writer.as_mut().write(&[&i, &"binary"]).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 2000);

    // Dropped without an end: the driver sends CopyFail.
    let mut given_up = Box::pin(client.copy_in("COPY copied FROM STDIN").await.unwrap());
    given_up.send(Bytes::from_static(b"1\tnever\n")).await.unwrap();
    drop(given_up);

    let out = client.copy_out("COPY (SELECT * FROM copied) TO STDOUT").await.unwrap();
    let bytes: Vec<Bytes> = out.try_collect().await.unwrap();
    assert_eq!(bytes.len(), 4000);
    let out = client.copy_out("COPY (SELECT id FROM copied) TO STDOUT (FORMAT binary)").await.unwrap();
    let rows: Vec<_> = BinaryCopyOutStream::new(out, &[Type::INT4]).try_collect().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<i32>(0)).sum::<i32>(), 3999 * 4000 / 2);
}

async fn errors_keep_to_their_statement(url: &str) {
    let (client, _) = connect(url).await;
    let (before, broken, after) = tokio::join!(
        client.query_one("SELECT 1::int4", &[]),
        client.query_one("SELECT 1 / $1::int4", &[&0]),
        client.query_one("SELECT 3::int4", &[]),
    );
    assert_eq!(before.unwrap().get::<_, i32>(0), 1);
    assert_eq!(broken.unwrap_err().code(), Some(&SqlState::DIVISION_BY_ZERO));
    assert_eq!(after.unwrap().get::<_, i32>(0), 3);
    let unknown = client.prepare("SELECT never_there").await.unwrap_err();
    assert_eq!(unknown.code(), Some(&SqlState::UNDEFINED_COLUMN));

    let token = client.cancel_token();
    let began = Instant::now();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        token.cancel_query(NoTls).await
    };
    let (slept, cancelled) = tokio::join!(client.query("SELECT pg_sleep(60)", &[]), cancel);
    cancelled.unwrap();
    assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    assert!(began.elapsed() < SOON, "cancelled after {:?}", began.elapsed());
    client.query_one("SELECT 1", &[]).await.unwrap();
}

async fn a_dropped_stream_and_transaction_are_cleaned_up(url: &str) {
    let (mut client, _) = connect(url).await;
    client.batch_execute("CREATE TABLE dropped (v int4)").await.unwrap();
    let nothing: [i32; 0] = [];
    let mut rows = Box::pin(client.query_raw("SELECT generate_series(1, 100000)", nothing).await.unwrap());
    rows.try_next().await.unwrap();
    drop(rows);
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO dropped VALUES (1)", &[]).await.unwrap();
    drop(transaction);
    let row = client.query_one("SELECT count(*) FROM dropped", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

async fn many_clients_pipeline_at_once(url: &str) {
    join_all((0..10).map(async |who: i32| {
        let (mut client, _) = connect(url).await;
        for turn in 0..10 {
            let transaction = client.transaction().await.unwrap();
            let all = (0..10).map(|i| {
                let value = who * 10_000 + turn * 100 + i;
                let transaction = &transaction;
                async move {
                    let row = transaction.query_one("SELECT $1::int4", &[&value]).await.unwrap();
                    assert_eq!(row.get::<_, i32>(0), value);
                }
            });
            join_all(all).await;
            transaction.commit().await.unwrap();
        }
    }))
    .await;
}

async fn notifications_arrive(url: &str) {
    let (client, mut hears) = connect(url).await;
    let (speaker, _) = connect(url).await;
    client.batch_execute("LISTEN news").await.unwrap();
    speaker.batch_execute("NOTIFY news, 'hello'").await.unwrap();
    let heard = async {
        loop {
            if let AsyncMessage::Notification(n) = hears.recv().await.unwrap() {
                return n.payload().to_owned();
            }
        }
    };
    assert_eq!(timeout(SOON, heard).await.unwrap(), "hello");
}
