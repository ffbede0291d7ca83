//! What is done to the server, and when.

use std::time::Duration;

use pgtether::demo::postgres::{Cluster, Shutdown};
use tokio::time::sleep;

use crate::servers::Admin;

/// What happens to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An administrator ends pgtether's session.
    Terminate,
    Restart,
    /// Stopped, and started again after that long.
    Stop(Duration),
    /// All processes of the server stand still for that long.
    Freeze(Duration),
}

/// Faults, each after a pause.
pub struct Plan(Box<dyn Iterator<Item = (Duration, Fault)> + Send>);

impl Plan {
    /// One of each kind or two, in a quarter of a minute.
    pub fn smoke() -> Self {
        let second = Duration::from_secs(1);
        let faults = [Fault::Terminate, Fault::Stop(2 * second), Fault::Freeze(4 * second), Fault::Restart];
        Plan(Box::new(faults.into_iter().map(move |fault| (second, fault))))
    }

    /// Without end: each kind as often as the others, from 1 to 20 s, with up to 10 s between.
    pub fn random(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Plan(Box::new(std::iter::repeat_with(move || {
            let long = Duration::from_millis(random.u64(1_000..=20_000));
            let fault = match random.u8(0..4) {
                0 => Fault::Terminate,
                1 => Fault::Restart,
                2 => Fault::Stop(long),
                _ => Fault::Freeze(long),
            };
            (Duration::from_millis(random.u64(500..=10_000)), fault)
        })))
    }
}

impl Iterator for Plan {
    type Item = (Duration, Fault);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl Fault {
    /// About how long it takes.
    pub const fn lasts(self) -> Duration {
        match self {
            Fault::Terminate | Fault::Restart => Duration::from_secs(1),
            Fault::Stop(long) | Fault::Freeze(long) => long,
        }
    }

    /// Over once the server is as it was. `service` is the name of pgtether's sessions.
    pub async fn inflict(self, cluster: Cluster, service: &str) -> Cluster {
        match self {
            Fault::Terminate => {
                Admin::of(&cluster).await.terminate(service).await;
                cluster
            }
            Fault::Restart => blocking(cluster, |cluster| cluster.restart(Shutdown::Fast).unwrap()).await,
            Fault::Stop(long) => {
                let cluster = blocking(cluster, |cluster| cluster.stop(Shutdown::Fast).unwrap()).await;
                sleep(long).await;
                blocking(cluster, |cluster| cluster.start().unwrap()).await
            }
            Fault::Freeze(long) => {
                cluster.pause();
                sleep(long).await;
                cluster.resume();
                cluster
            }
        }
    }
}

async fn blocking(mut cluster: Cluster, work: fn(&mut Cluster)) -> Cluster {
    let done = tokio::task::spawn_blocking(move || {
        work(&mut cluster);
        cluster
    });
    done.await.unwrap()
}
