//! Takes in a pool's clients, and waits for them at its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

use super::client::{cancel, serve};
use super::handshake::{self, Listener};
use super::keeper::Stage;
use super::place::Seat;
use super::shared::Shared;
use crate::connection::Stream;
use crate::protocol::ErrorFields;

/// After a failed accept: the process lacks descriptors, and must not spin.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a client that is one too many may take to hear so.
const REFUSING: Duration = Duration::from_secs(2);
/// So many are told at once; more are hung up on.
const TOLD_AT_ONCE: usize = 64;

/// Until the pool ends and its clients have gone. Returns how many had to be cut off.
pub async fn run(shared: Arc<Shared>, listener: Arc<Listener>, mut stage: watch::Receiver<Stage>) -> usize {
    let mut clients = JoinSet::new();
    let mut refused = JoinSet::new();
    let mut failing = false;
    loop {
        let leaving = async { _ = stage.wait_for(|stage| *stage > Stage::Open).await };
        tokio::select! {
            biased;
            () = leaving => break,
            Some(ended) = clients.join_next(), if !clients.is_empty() => tell_crash(&shared, ended),
            Some(ended) = refused.join_next(), if !refused.is_empty() => tell_crash(&shared, ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    let terms = shared.terms();
                    if shared.clients.held() < terms.pool.max_clients as usize {
                        let seat = Seat::take(&shared.clients, &shared.status);
                        clients.spawn(serve(Arc::clone(&shared), terms, stream, seat, peer, stage.clone()));
                    } else if refused.len() < TOLD_AT_ONCE {
                        debug!(target = %shared.name, peer, "one client too many");
                        refused.spawn(refuse(Arc::clone(&shared), stream));
                    }
                }
                Err(error) => {
                    if !failing {
                        warn!(target = %shared.name, %error, "the pool cannot take in clients");
                        failing = true;
                    }
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let over = async { _ = stage.wait_for(|stage| *stage == Stage::Over).await };
    let gone = async {
        while let Some(ended) = clients.join_next().await {
            tell_crash(&shared, ended);
        }
    };
    tokio::select! {
        () = gone => {}
        () = over => {}
    }
    let cut = clients.len();
    clients.shutdown().await;
    cut
}

fn tell_crash(shared: &Shared, ended: Result<(), JoinError>) {
    if let Err(failure) = ended {
        error!(target = %shared.name, %failure, "a client's task has crashed; please report this");
    }
}

/// Says so, under TLS if the client wants that. A cancel request takes nobody's place.
async fn refuse(shared: Arc<Shared>, stream: Stream) {
    let terms = shared.terms();
    let message =
        format!("the pool of \"{}\" has its {} clients already", shared.name, terms.pool.max_clients);
    let words =
        ErrorFields::fatal("53300", message).hint("Close idle connections, or raise the pool's max_clients.");
    let rejected = handshake::reject(stream, terms.acceptor.as_deref(), &words);
    if let Ok(Ok((key, asked))) = timeout(REFUSING, rejected).await {
        cancel(&shared, &key, asked).await;
    }
}
