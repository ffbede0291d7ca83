//! What it costs to try, and what is remembered.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::super::users::{Credibility, KnownUsers};
use crate::target::Secret;

const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

fn users() -> KnownUsers {
    let hash = |password: &str, cost| Secret::new(bcrypt::hash(password, cost).unwrap());
    KnownUsers::new(vec![("alice".into(), hash("sesame", 4)), ("bob".into(), hash("sésame:2", 5))]).unwrap()
}

fn sent(text: &str) -> HeaderMap {
    let encoded = openssl::base64::encode_block(text.as_bytes());
    raw(&format!("Basic {encoded}"))
}

fn raw(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
}

#[tokio::test]
async fn names_and_passwords_are_right_or_wrong_together() {
    let users = users();
    assert_eq!(users.judge(&HeaderMap::new(), HERE).await, Credibility::Nobody);
    for (text, verdict) in [
        ("alice:sesame", Credibility::Known),
        ("bob:sésame:2", Credibility::Known),
        ("alice:sésame:2", Credibility::Wrong),
        ("bob:sesame", Credibility::Wrong),
        ("carol:sesame", Credibility::Wrong),
        ("alice:", Credibility::Wrong),
        (":", Credibility::Wrong),
        ("alice:sesame", Credibility::Known),
    ] {
        assert_eq!(users.judge(&sent(text), HERE).await, verdict, "{text}");
    }
    let lower = sent("alice:sesame")[AUTHORIZATION].to_str().unwrap().replace("Basic ", "basic   ");
    assert_eq!(users.judge(&raw(&lower), HERE).await, Credibility::Known);
}

#[tokio::test]
async fn what_is_no_basic_authorization_is_wrong_at_once() {
    let users = users();
    let began = Instant::now();
    for value in
        ["Basic", "Basic ", "Basic ====", "Basic YWxpY2U", "Basic YWxpY2U=", "Bearer YTpi", "YTpi", ""]
    {
        assert_eq!(users.judge(&raw(value), HERE).await, Credibility::Wrong, "{value:?}");
    }
    assert!(began.elapsed() < users.penalty(), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_name_that_is_not_known_costs_as_much_as_a_wrong_password() {
    let users = users();
    assert_eq!(users.decoy_cost(), 5, "the dearest of those that are known");
    for text in ["alice:wrong", "carol:wrong"] {
        let began = Instant::now();
        assert_eq!(users.judge(&sent(text), HERE).await, Credibility::Wrong);
        assert!(began.elapsed() >= users.penalty(), "{text}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_password_that_was_right_is_not_checked_again_and_another_one_is() {
    let users = users();
    assert_eq!(users.judge(&sent("alice:sesame"), HERE).await, Credibility::Known);
    let _turn = users.take_turn().await;
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(users.judge(&sent("alice:sesame"), HERE).await, Credibility::Known);
    }
    assert!(began.elapsed() < users.penalty(), "{:?}", began.elapsed());
    tokio::time::pause();
    assert_eq!(
        users.judge(&sent("alice:sesamo"), HERE).await,
        Credibility::Busy,
        "it waits for its turn in vain"
    );
    assert_eq!(
        users.judge(&sent("bob:sesame"), HERE).await,
        Credibility::Busy,
        "what alice proved is not bob's"
    );
}

#[tokio::test]
async fn guesses_are_made_one_after_the_other_and_only_so_many_wait() {
    let users = users();
    let guess = sent("alice:wrong");
    let began = Instant::now();
    let verdicts = futures_util::future::join_all((0..20).map(|_| users.judge(&guess, HERE))).await;
    let of = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    assert_eq!((of(Credibility::Wrong), of(Credibility::Busy)), (16, 4));
    assert!(began.elapsed() >= users.penalty() * 16, "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_runtime_goes_on_while_a_password_is_checked() {
    let users = users();
    let guess = sent("alice:wrong");
    let mut ticks = 0;
    let judged = users.judge(&guess, HERE);
    tokio::pin!(judged);
    loop {
        tokio::select! {
            verdict = &mut judged => break assert_eq!(verdict, Credibility::Wrong),
            () = tokio::time::sleep(users.penalty() / 100) => ticks += 1,
        }
    }
    assert!(ticks >= 10, "{ticks}");
}

#[tokio::test]
async fn who_guesses_by_many_connections_or_many_addresses_keeps_nobody_else_waiting_for_long() {
    let there = |n: u8| Some(IpAddr::from([198, 51, 100, n]));
    for sources in [1, 40] {
        let users = users();
        let guess = sent("alice:wrong");
        let guessers = (0..40).map(|n| users.judge(&guess, there(n % sources)));
        let right = async {
            // Behind all of them.
            tokio::task::yield_now().await;
            users.judge(&sent("bob:sésame:2"), HERE).await
        };
        tokio::select! {
            verdict = right => assert_eq!(verdict, Credibility::Known),
            verdicts = futures_util::future::join_all(guessers) => panic!("{verdicts:?} came first"),
        }
    }
}

#[tokio::test]
async fn a_reload_forgets_only_who_has_another_password_now() {
    let before = users();
    for text in ["alice:sesame", "bob:sésame:2"] {
        assert_eq!(before.judge(&sent(text), HERE).await, Credibility::Known);
    }
    let unchanged = before.hash_of("alice");
    let changed = Secret::new(bcrypt::hash("sesame:3", 4).unwrap());
    let mut after = KnownUsers::new(vec![("alice".into(), unchanged), ("bob".into(), changed)]).unwrap();
    after.succeed(&before);
    let turn = after.take_turn().await;
    assert_eq!(after.judge(&sent("alice:sesame"), HERE).await, Credibility::Known, "without a check");
    drop(turn);
    assert_eq!(after.judge(&sent("bob:sésame:2"), HERE).await, Credibility::Wrong);
    assert_eq!(after.judge(&sent("bob:sesame:3"), HERE).await, Credibility::Known);
}
