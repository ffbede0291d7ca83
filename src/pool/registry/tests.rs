use super::*;

fn key(client: &Registered) -> CancelKey {
    CancelKey { process_id: client.entry.process_id, secret: client.entry.secret().to_vec() }
}

#[test]
fn only_the_whole_secret_of_the_client_itself_cancels() {
    let registry = Registry::new();
    for minor in [0, 2] {
        let (asked, other) = (registry.enter(minor).unwrap(), registry.enter(minor).unwrap());
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
    let left = key(&registry.enter(0).unwrap());
    let stays = registry.enter(0).unwrap();
    assert!(registry.cancel(&left).is_none() && !stays.entry.is_cancelled());
}

#[test]
fn a_secret_is_as_long_as_its_protocol_has_it_and_never_the_same() {
    let registry = Registry::new();
    let lengths = [0, 2].map(|minor| registry.enter(minor).unwrap().entry.secret().len());
    assert_eq!(lengths, [4, 32]);
    assert_ne!(key(&registry.enter(2).unwrap()).secret, key(&registry.enter(2).unwrap()).secret);
}
