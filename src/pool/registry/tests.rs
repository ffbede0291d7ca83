use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

/// How often a client's task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn enter(registry: &Arc<Registry>, minor: u16) -> Registered {
    registry.enter(minor, Waker::noop().clone()).unwrap()
}

fn key(client: &Registered) -> CancelKey {
    CancelKey { process_id: client.entry.process_id, secret: client.entry.secret().to_vec() }
}

#[test]
fn only_the_whole_secret_of_the_client_itself_cancels() {
    let registry = Registry::new();
    for minor in [0, 2] {
        let (asked, other) = (enter(&registry, minor), enter(&registry, minor));
        let right = key(&asked);
        let mut wrong = vec![
            CancelKey { secret: Vec::new(), ..right.clone() },
            CancelKey { secret: right.secret[1..].to_vec(), ..right.clone() },
            CancelKey { secret: [&right.secret[..], &[0]].concat(), ..right.clone() },
            CancelKey { secret: key(&other).secret, ..right.clone() },
            CancelKey { process_id: other.entry.process_id, ..right.clone() },
            CancelKey { process_id: -1, ..right.clone() },
        ];
        for at in 0..right.secret.len() {
            let mut secret = right.secret.clone();
            secret[at] ^= 1;
            wrong.push(CancelKey { secret, ..right.clone() });
        }
        for key in wrong {
            assert!(registry.cancel(&key).is_none(), "{key:?}");
            assert!(!asked.entry.is_cancelled() && !other.entry.is_cancelled(), "{key:?} for {right:?}");
        }
        registry.cancel(&right);
        assert!(asked.entry.is_cancelled() && !other.entry.is_cancelled());
    }
}

#[test]
fn the_key_of_a_client_that_has_left_cancels_nobody() {
    let registry = Registry::new();
    let left = key(&enter(&registry, 0));
    let stays = enter(&registry, 0);
    assert!(registry.cancel(&left).is_none() && !stays.entry.is_cancelled());
}

#[test]
fn a_secret_is_as_long_as_its_protocol_has_it_and_never_the_same() {
    let registry = Registry::new();
    let lengths = [0, 2].map(|minor| enter(&registry, minor).entry.secret().len());
    assert_eq!(lengths, [4, 32]);
    assert_ne!(key(&enter(&registry, 2)).secret, key(&enter(&registry, 2)).secret);
}

#[test]
fn whatever_a_client_is_told_wakes_its_task() {
    let (registry, woken) = (Registry::new(), Arc::new(Woken::default()));
    let client = registry.enter(0, Arc::clone(&woken).into()).unwrap();
    let times = || woken.0.swap(0, Ordering::Relaxed);
    assert_eq!((times(), client.entry.signal()), (0, ClientSignal::GoOn));
    registry.tell_all(ClientSignal::Leave);
    assert_eq!((times(), client.entry.signal()), (1, ClientSignal::Leave));
    assert!(registry.cancel(&key(&client)).is_none() && client.entry.is_cancelled());
    assert_eq!(times(), 1);
    let asked = Instant::now();
    client.owed(true, asked);
    let cut = registry.cut_silent(Duration::from_secs(1), asked + Duration::from_secs(2));
    assert_eq!((cut, times(), client.entry.signal()), (1, 1, ClientSignal::Cut));
}
