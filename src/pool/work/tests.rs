//! What the pool asks of its sessions.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::pool::driver::Acquired;
use crate::pool::leftovers::{Hints, Kinds};
use crate::pool::link::Left;
use crate::pool::rig::{CLIENT, Rig, ready};
use crate::pool::statements::Under;
use crate::protocol::frontend;

/// Everything works.
fn obliging(_: &str) -> Option<Vec<u8>> {
    Some(ready(b'I'))
}

/// No transaction ends.
fn stuck(_: &str) -> Option<Vec<u8>> {
    Some(ready(b'T'))
}

fn silent(_: &str) -> Option<Vec<u8>> {
    Some(Vec::new())
}

impl Rig {
    /// The client leaves it like this, and the task does what the driver wants done.
    async fn cleaned(&mut self, server: Box<Server>, left: Left, reset: bool) {
        self.shared.driver.clean_up(server, left, reset, true);
        let Work::Reset { server, left, reset, patient } = self.work().await else {
            panic!("it is to be reset");
        };
        cleanup(Arc::clone(&self.shared), server, left, reset, patient).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_to_the_next_client_once_the_transaction_of_the_last_one_has_ended() {
    let (mut rig, server) = Rig::new(obliging).await;
    rig.cleaned(server, Left::InTransaction, false).await;
    assert_eq!(rig.asked(), ["ROLLBACK"]);
    assert!(rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_whose_transaction_does_not_end_goes_to_nobody() {
    let (mut rig, server) = Rig::new(stuck).await;
    rig.cleaned(server, Left::InTransaction, false).await;
    assert_eq!(rig.asked(), ["ROLLBACK", "X"]);
    assert!(rig.closings.recv().await.is_some(), "its slot is free");
    assert!(!rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_a_clients_for_good_is_reset() {
    let (mut rig, server) = Rig::new(obliging).await;
    rig.cleaned(server, Left::InTransaction, true).await;
    assert_eq!(rig.asked(), ["ROLLBACK", "DISCARD ALL"]);
    assert!(rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_that_may_have_a_setting_left_on_it_is_asked_for_it() {
    let (mut rig, mut server) = Rig::new(obliging).await;
    server.hints = Hints { kinds: Kinds::SETTINGS, names: Vec::new() };
    rig.cleaned(server, Left::Clean, false).await;
    let asked = rig.asked();
    assert!(asked.iter().any(|sql| sql.contains("pg_settings")), "{asked:?}");
    assert!(rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_that_still_works_for_its_client_is_waited_for_and_forgets_its_statements() {
    let (mut rig, mut server) = Rig::new(obliging).await;
    server.stream.write_all(&frontend::query("SELECT slow")).await.unwrap();
    server.statements.insert(7, Under::default());
    rig.cleaned(server, Left::Busy { ready: 1, synced: true }, false).await;
    // The last one takes the cancel request that may be on its way.
    assert_eq!(rig.asked(), ["SELECT slow", "DEALLOCATE ALL", "SELECT 1"]);
    let Acquired::Now(Ok(mut server)) = rig.shared.driver.acquire(CLIENT, None) else {
        panic!("it is ready")
    };
    assert!(server.statements.touch(7).is_none(), "which is known here, too");
}

#[tokio::test(start_paused = true)]
async fn one_whose_client_left_before_its_sync_is_sent_one() {
    let (mut rig, server) = Rig::new(obliging).await;
    rig.cleaned(server, Left::Busy { ready: 1, synced: false }, false).await;
    assert_eq!(rig.asked(), ["S", "DEALLOCATE ALL", "SELECT 1"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_cut_off_in_a_message_or_hangs_is_closed() {
    let manners: [(fn(&str) -> _, _); 2] = [(obliging, Left::Broken), (silent, Left::InTransaction)];
    for (answer, left) in manners {
        let (mut rig, server) = Rig::new(answer).await;
        rig.cleaned(server, left, false).await;
        assert_eq!(rig.asked().pop().as_deref(), Some("X"), "{left:?}");
        assert!(!rig.is_ready(), "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_a_cancel_request_may_still_reach_goes_to_nobody() {
    let (mut rig, server) = Rig::new(obliging).await;
    let backend = Arc::clone(&server.backend);
    backend.cancel_begins();
    rig.shared.driver.give_back(server);
    let Work::Reset { server, left, reset, patient } = rig.work().await else {
        panic!("it has to wait");
    };
    let mut cleaning = std::pin::pin!(cleanup(Arc::clone(&rig.shared), server, left, reset, patient));
    assert!(timeout(Duration::from_secs(3), &mut cleaning).await.is_err(), "it is under way");
    assert!(!rig.is_ready());
    let Acquired::Later(granted) = rig.shared.driver.acquire(CLIENT, None) else { panic!("nobody has it") };
    backend.cancel_ends();
    cleaning.await;
    assert_eq!(rig.asked(), ["SELECT 1"], "which takes it, if it comes late");
    assert!(granted.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_test_tells_an_answer_from_an_end_and_from_silence() {
    let manners: [(fn(&str) -> _, _); 3] =
        [(obliging, TestOutcome::Answered), (|_| None, TestOutcome::Ended), (silent, TestOutcome::Silent)];
    for (answer, told) in manners {
        let (rig, server) = Rig::new(answer).await;
        let WorkDone::Tested(_, outcome) = test(Arc::clone(&rig.shared), server).await else {
            panic!("it was tested");
        };
        assert_eq!((outcome, rig.asked()), (told, vec!["SELECT 1".to_owned()]));
    }
}
