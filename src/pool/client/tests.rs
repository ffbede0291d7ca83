//! What a client hears of a session that ends just when it is free.

use std::task::Waker;

use tokio::io::duplex;

use super::*;
use crate::pool::rig::{Rig, complete, error, ready};
use crate::protocol::frontend;

/// The server ends the session right behind the answer to this.
async fn ends_behind(sql: &str, tag: &'static str) -> Result<(), Farewell> {
    let last = move |_: &str| Some([complete(tag), ready(b'I'), error("57P01", true)].concat());
    let (rig, server) = Rig::new(last).await;
    let shared = rig.shared;
    let (stream, _application) = duplex(1 << 16);
    let budget = shared.catalog().lock().budget().clone();
    let mut client = Client {
        config: shared.follow_config(),
        slot: ClientSlot::take(&shared.clients, &shared.status),
        registered: shared.registry.enter(0, Waker::noop().clone()).unwrap(),
        stream: Box::new(stream),
        to_client: Vec::new(),
        relay: Relay::new(false),
        statements: ClientStatements::new(&budget),
        settings: ClientSettings::default(),
        is_let_in: true,
        is_warned: false,
        idle: Idle::default(),
        shared,
    };
    client.use_up(server, frontend::query(sql)).await
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
    assert!(own <= 880 && whole <= 1800, "{own} bytes of its own, {whole} in all");
}
