//! What the pool asks of its sessions, by a server in memory that notes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

use super::*;
use crate::connection::{Detached, Postgres, SessionRoute};
use crate::pool::core::{Availability, ClientId};
use crate::pool::driver::Acquired;
use crate::pool::leftovers::{Hints, Kinds};
use crate::pool::link::Left;
use crate::pool::shared::PoolConfig;
use crate::protocol::{Frame, backend, frontend};
use crate::status::sample;
use crate::target::{PasswordSource, Source, Target, TargetName, Tuning, UrlTimings, conninfo};

const CLIENT: ClientId = ClientId(1);

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Everything works.
    Obliging,
    /// No transaction ends.
    Stuck,
    Silent,
    /// It hangs up instead.
    Gone,
}

/// A pool of one session, which a client has, and what its server was asked.
struct Rig {
    shared: Arc<Shared>,
    works: mpsc::UnboundedReceiver<Work>,
    closings: mpsc::UnboundedReceiver<SessionId>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    async fn new(manner: Manner) -> (Self, Box<Server>) {
        let string = "host=db user=app password=secret dbname=db sslmode=disable";
        let target = Arc::new(Target {
            name: TargetName::new("db").unwrap(),
            source: Source::Inline(Arc::new(conninfo::parse(string).unwrap().endpoint)),
            password: PasswordSource::default(),
            service: "test".to_owned(),
            tuning: Arc::new(Tuning::default()),
            own_timings: UrlTimings::default(),
            idle_policy_unset: false,
            pool: None,
        });
        let pool = Arc::new(crate::target::pool::Pool { size: 1, min_idle: 0, ..sample::pool() });
        let config = PoolConfig { target: Arc::clone(&target), pool, acceptor: None };
        let (shared, mut works, closings) = Shared::new(Arc::new(config), Postgres::new());
        let live = Health { availability: Availability::Live, ..Health::UNKNOWN };
        shared.driver.tell(PoolEvent::Target(live));
        let Acquired::Later(granted) = shared.driver.acquire(CLIENT, None) else {
            panic!("none is open yet")
        };
        let Some(Work::Open { slot, .. }) = works.recv().await else { panic!("one is to be opened") };
        let (near, far) = duplex(1 << 16);
        let asked = Arc::default();
        tokio::spawn(serve(far, manner, Arc::clone(&asked)));
        let parameters = BTreeMap::from([("client_encoding".to_owned(), "UTF8".to_owned())]);
        let route = SessionRoute::of_nowhere();
        let detached = Detached { stream: Box::new(near), process_id: 1, secret_key: 2, parameters, route };
        let generation = shared.driver.generation();
        shared.driver.opened(Box::new(Server::new(detached, target, slot)), generation, None);
        let server = granted.await.unwrap().unwrap();
        (Rig { shared, works, closings, asked }, server)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The client leaves it like this, and the task does what the driver wants done.
    async fn cleaned(&mut self, server: Box<Server>, left: Left, reset: bool) {
        self.shared.driver.clean_up(server, left, reset, true);
        let Some(Work::Reset { server, left, reset, patient }) = self.works.recv().await else {
            panic!("it is to be reset");
        };
        cleanup(Arc::clone(&self.shared), server, left, reset, patient).await;
    }

    /// Whether the next client gets it.
    fn is_ready(&self) -> bool {
        matches!(self.shared.driver.acquire(CLIENT, None), Acquired::Now(Ok(_)))
    }
}

/// A server that knows nothing but when to be ready.
async fn serve(mut far: DuplexStream, manner: Manner, asked: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    loop {
        while let Ok(Some(frame)) = Frame::read(&bytes)
            && frame.len <= bytes.len()
        {
            let message: Vec<u8> = bytes.drain(..frame.len).collect();
            let text = String::from_utf8_lossy(&message[Frame::HEADER..]).trim_end_matches('\0').to_owned();
            asked.lock().unwrap().push(if frame.tag == b'Q' { text } else { char::from(frame.tag).into() });
            let mut answer = Vec::new();
            match manner {
                _ if frame.tag == b'X' => return,
                Manner::Gone => return,
                Manner::Silent => continue,
                Manner::Obliging => backend::ready_for_query(&mut answer, b'I'),
                Manner::Stuck => backend::ready_for_query(&mut answer, b'T'),
            }
            far.write_all(&answer).await.unwrap();
        }
        if !matches!(far.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_to_the_next_client_once_the_transaction_of_the_last_one_has_ended() {
    let (mut rig, server) = Rig::new(Manner::Obliging).await;
    rig.cleaned(server, Left::InTransaction, false).await;
    assert_eq!(rig.asked(), ["ROLLBACK"]);
    assert!(rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_whose_transaction_does_not_end_goes_to_nobody() {
    let (mut rig, server) = Rig::new(Manner::Stuck).await;
    rig.cleaned(server, Left::InTransaction, false).await;
    assert_eq!(rig.asked(), ["ROLLBACK", "X"]);
    assert!(rig.closings.recv().await.is_some(), "its slot is free");
    assert!(!rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_a_clients_for_good_is_reset() {
    let (mut rig, server) = Rig::new(Manner::Obliging).await;
    rig.cleaned(server, Left::InTransaction, true).await;
    assert_eq!(rig.asked(), ["ROLLBACK", "DISCARD ALL"]);
    assert!(rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_that_may_have_a_setting_left_on_it_is_asked_for_it() {
    let (mut rig, mut server) = Rig::new(Manner::Obliging).await;
    server.hints = Hints { kinds: Kinds::SETTINGS, names: Vec::new() };
    rig.cleaned(server, Left::Clean, false).await;
    let asked = rig.asked();
    assert!(asked.iter().any(|sql| sql.contains("pg_settings")), "{asked:?}");
    assert!(rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_that_still_works_for_its_client_is_waited_for_and_forgets_its_statements() {
    let (mut rig, mut server) = Rig::new(Manner::Obliging).await;
    server.stream.write_all(&frontend::query("SELECT slow")).await.unwrap();
    rig.cleaned(server, Left::Busy { ready: 1, synced: true }, false).await;
    // The last one takes the cancel request that may be on its way.
    assert_eq!(rig.asked(), ["SELECT slow", "DEALLOCATE ALL", "SELECT 1"]);
    assert!(rig.is_ready());
}

#[tokio::test(start_paused = true)]
async fn one_whose_client_left_before_its_sync_is_sent_one() {
    let (mut rig, server) = Rig::new(Manner::Obliging).await;
    rig.cleaned(server, Left::Busy { ready: 1, synced: false }, false).await;
    assert_eq!(rig.asked(), ["S", "DEALLOCATE ALL", "SELECT 1"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_cut_off_in_a_message_or_hangs_is_closed() {
    for (manner, left) in [(Manner::Obliging, Left::Broken), (Manner::Silent, Left::InTransaction)] {
        let (mut rig, server) = Rig::new(manner).await;
        rig.cleaned(server, left, false).await;
        assert_eq!(rig.asked().pop().as_deref(), Some("X"), "{left:?}");
        assert!(!rig.is_ready(), "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_a_cancel_request_may_still_reach_goes_to_nobody() {
    let (mut rig, server) = Rig::new(Manner::Obliging).await;
    let backend = Arc::clone(&server.backend);
    backend.cancel_begins();
    rig.shared.driver.give_back(server);
    let Some(Work::Reset { server, left, reset, patient }) = rig.works.recv().await else {
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
    for (manner, told) in [
        (Manner::Obliging, TestOutcome::Answered),
        (Manner::Gone, TestOutcome::Ended),
        (Manner::Silent, TestOutcome::Silent),
    ] {
        let (rig, server) = Rig::new(manner).await;
        let WorkDone::Tested(_, outcome) = test(Arc::clone(&rig.shared), server).await else {
            panic!("it was tested");
        };
        assert_eq!((outcome, rig.asked()), (told, vec!["SELECT 1".to_owned()]));
    }
}
