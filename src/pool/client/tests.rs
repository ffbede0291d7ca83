//! What a client hears of a session that ends just when it is free, and what is asked of one that it keeps.

use std::task::Waker;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Duration, sleep};

use super::*;
use crate::pool::rig::{Rig, complete, error, ready};
use crate::protocol::frontend;

/// The server ends the session right behind the answer to this.
async fn ends_behind(sql: &str, tag: &'static str) -> Result<(), Farewell> {
    let last = move |_: &str| Some([complete(tag), ready(b'I'), error("57P01", true)].concat());
    let (rig, server) = Rig::new(last).await;
    let (stream, _application) = duplex(1 << 16);
    client(rig.shared, stream, false).use_up(server, frontend::query(sql)).await
}

fn client(shared: Arc<Shared>, stream: DuplexStream, for_good: bool) -> Client {
    let budget = shared.catalog().lock().budget().clone();
    Client {
        config: shared.follow_config(),
        slot: ClientSlot::take(&shared.clients, &shared.status),
        registered: shared.registry.enter(0, Waker::noop().clone()).unwrap(),
        stream: Box::new(stream),
        to_client: Vec::new(),
        relay: Relay::new(for_good),
        statements: ClientStatements::new(&budget),
        settings: ClientSettings::default(),
        is_let_in: true,
        is_warned: false,
        idle: Idle::default(),
        shared,
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_its_client_keeps_is_asked_for_a_sign_of_life_each_time_it_was_quiet_for_long() {
    let answer = |asked: &str| {
        Some(match asked {
            "S" => ready(b'I'),
            "BEGIN" => ready(b'T'),
            asked => [complete(asked), ready(b'I')].concat(),
        })
    };
    let (rig, server) = Rig::new(answer).await;
    let shared = Arc::clone(&rig.shared);
    let every = shared.config().target.tuning.ping.interval;
    let (stream, mut application) = duplex(1 << 16);
    let mut client = client(shared, stream, true);
    let script = async {
        sleep(every * 2 + every / 2).await;
        assert_eq!(rig.asked(), ["SELECT 1", "S", "S"]);
        // From here on it is quiet anew.
        application.write_all(&frontend::query("SELECT 2")).await.unwrap();
        sleep(every - Duration::from_secs(1)).await;
        assert_eq!(rig.asked(), ["SELECT 1", "S", "S", "SELECT 2"]);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(rig.asked(), ["SELECT 1", "S", "S", "SELECT 2", "S"]);
        application.write_all(&frontend::query("BEGIN")).await.unwrap();
        sleep(every * 3).await;
        application.write_all(&frontend::query("COMMIT")).await.unwrap();
        sleep(every + Duration::from_secs(1)).await;
        assert_eq!(rig.asked()[5..], ["BEGIN", "COMMIT", "S"]);
        drop(application);
    };
    let (ended, ()) = tokio::join!(client.use_up(server, frontend::query("SELECT 1")), script);
    assert!(matches!(ended, Err(Farewell::Gone)));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_setting_is_lost_with_its_session_is_told() {
    let told = ends_behind("SET work_mem = '67kB'", "SET").await;
    assert!(matches!(told, Err(Farewell::Lost(_))), "it would go on without its setting");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_left_nothing_on_it_does_not_notice() {
    assert!(ends_behind("SELECT 1", "SELECT 1").await.is_ok());
}

/// What a future of it takes: the memory of a client's task for as long as it is connected.
fn size_of_future<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn an_idle_client_keeps_no_memory_for_what_is_seldom() {
    let whole = size_of_future(|(shared, slot, client): (Arc<Shared>, ClientSlot, Box<Authenticated>)| {
        serve(shared, slot, client)
    });
    let own = size_of::<Client>();
    assert!(own <= 880 && whole <= 1816, "{own} bytes of its own, {whole} in all");
}
