//! What an operator asks of a pool over HTTP, and each answer to it.

use std::time::Duration;

use hyper::StatusCode;
use tokio::task::yield_now;
use tokio::time::advance;

use super::asking::ask;
use super::*;
use crate::reason::Reason;
use crate::status::board::{PoolSlot, ShownPool};
use crate::status::sample::{busy_pool, lost, up};
use crate::status::{Failure, Flapping, TargetStatus};
use crate::target::TargetName;

const PAUSE: &str = "/-/pools/primary/pause";

/// An app with a pool of `primary` alone, and what is asked of it.
fn lifecycle() -> (Arc<App>, mpsc::Receiver<LifecycleRequest>) {
    let (app, requests, shown) = lifecycle_of(&["primary", "other"], &["primary"]);
    // The pools stay for as long as the test.
    shown.into_iter().for_each(std::mem::forget);
    (app, requests)
}

/// An app with these targets, some of which have pools.
fn lifecycle_of(
    targets: &[&str],
    pools: &[&str],
) -> (Arc<App>, mpsc::Receiver<LifecycleRequest>, Vec<ShownPool>) {
    let now = Moment::now();
    let mut plan = Plan::new(targets.iter().map(|name| up(name, now)).collect());
    plan.enable_lifecycle = true;
    let (sender, requests) = mpsc::channel(1);
    plan.lifecycle = sender;
    let app = plan.build().0;
    let show = |name: &&str| {
        app.board.show_pool(TargetName::new(name).unwrap(), Arc::new(PoolSlot::new(busy_pool())))
    };
    let shown = pools.iter().map(show).collect();
    (app, requests, shown)
}

async fn post(app: &App, path: &str) -> (u16, String) {
    let answer = ask(app, Scope::All, "POST", path, &[], "").await;
    (answer.status.as_u16(), answer.text().to_owned())
}

/// The answer to this request where the pool that it names has so many sessions left; or where there is none.
async fn answered(path: &str, paused: Option<Option<usize>>) -> (u16, String) {
    let (app, mut requests) = lifecycle();
    let shown = watch::Sender::new(paused.flatten());
    let pool = async {
        let request = requests.recv().await.unwrap();
        request.answer.send(paused.is_some().then(|| shown.subscribe())).unwrap();
        (request.pool, request.action)
    };
    let (answer, (pool, _)) = tokio::join!(post(&app, path), pool);
    assert!(path.starts_with(&format!("/-/pools/{pool}/")), "{pool}");
    answer
}

#[tokio::test]
async fn each_path_asks_what_it_says_of_the_pool_that_it_names() {
    for (word, action) in [
        ("pause", LifecycleAction::Pause),
        ("resume", LifecycleAction::Resume),
        ("reconnect", LifecycleAction::Reconnect),
    ] {
        let (app, mut requests) = lifecycle();
        let asked = async {
            let request = requests.recv().await.unwrap();
            (request.pool, request.action)
        };
        let path = format!("/-/pools/a.b-c/{word}");
        let (_, asked) = tokio::join!(post(&app, &path), asked);
        assert_eq!(asked, ("a.b-c".to_owned(), action));
    }
    let (app, _requests) = lifecycle();
    for path in
        ["/-/pools/primary", "/-/pools/primary/", "/-/pools/primary/stop", "/-/pools/a/b/pause", "/-/pools"]
    {
        let answer = post(&app, path).await;
        assert_eq!(answer, (404, "no such page\n".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn nothing_is_asked_without_the_flag_or_with_a_body() {
    let (mut plan, (sender, mut requests)) = (Plan::new(vec![]), mpsc::channel(1));
    plan.lifecycle = sender;
    let (app, _) = plan.build();
    assert_eq!(
        post(&app, PAUSE).await,
        (403, "Lifecycle API is not enabled: start pgtether with --web.enable-lifecycle.\n".to_owned())
    );
    assert!(requests.try_recv().is_err());

    let (app, mut requests) = lifecycle();
    let answer = ask(&app, Scope::All, "POST", PAUSE, &[], &"x".repeat(4097)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(requests.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_not_there_and_one_that_is_late_are_told_apart() {
    let (status, text) = answered("/-/pools/nobody/reconnect", None).await;
    assert_eq!((status, text.as_str()), (404, "no target of that name has a pool; these have: primary\n"));

    // It takes the request, and has not answered when the time is over.
    let (app, mut requests) = lifecycle();
    let (answer, request) = tokio::join!(post(&app, PAUSE), requests.recv());
    assert_eq!(answer.0, 503, "{}", answer.1);
    assert!(answer.1.contains("did not take the request within 90 s"), "{}", answer.1);
    assert!(request.unwrap().answer.is_closed(), "who carries it out can see that nobody waits");

    // Nobody is left to ask.
    let (app, requests) = lifecycle();
    drop(requests);
    assert_eq!(post(&app, PAUSE).await, (503, "nothing was done: pgtether is ending\n".to_owned()));
}

#[tokio::test]
async fn where_many_targets_have_pools_some_are_named() {
    let names: Vec<_> = (10..40).map(|i| format!("t{i}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (app, mut requests, _shown) = lifecycle_of(&names, &names);
    let none = async { requests.recv().await.unwrap().answer.send(None).unwrap() };
    let ((status, text), ()) = tokio::join!(post(&app, PAUSE), none);
    assert_eq!(status, 404);
    assert!(
        text.contains("30 targets have, among them: t10, t11,") && text.ends_with("t28, t29\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_reconnect_tells_how_many_sessions_follow_later() {
    let (status, text) = answered("/-/pools/primary/reconnect", Some(None)).await;
    assert_eq!(status, 200);
    assert!(text.contains("1 in use follow"), "{text}");
    assert_eq!(answered("/-/pools/primary/resume", Some(None)).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_done_when_no_session_is_left_and_says_so_when_it_is_not() {
    assert_eq!(answered(PAUSE, Some(Some(0))).await.0, 200);

    let began = Instant::now();
    let (status, text) = answered(PAUSE, Some(Some(3))).await;
    assert_eq!((status, began.elapsed().as_secs()), (504, 10), "{text}");
    assert!(text.contains("is paused, but 3 of its sessions"), "{text}");

    // `Some(0)`: they come free; `None`: somebody resumes it.
    for (then, expected) in [(Some(0), 200), (None, 409)] {
        let (app, mut requests) = lifecycle();
        let shown = watch::Sender::new(Some(2));
        let pool = async {
            let request = requests.recv().await.unwrap();
            request.answer.send(Some(shown.subscribe())).unwrap();
            advance(Duration::from_secs(9)).await;
            shown.send_replace(Some(1));
            yield_now().await;
            shown.send_replace(then);
        };
        let ((status, text), ()) = tokio::join!(post(&app, PAUSE), pool);
        assert_eq!(status, expected, "{text}");
        assert_eq!(text.contains("not paused any more"), then.is_none(), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_is_tried_at_once_and_the_answer_says_what_came_of_it() {
    let now = Moment::now();
    let detail = "password authentication failed for user \"app\" (SQLSTATE 28P01)".to_owned();
    let failure = Failure::new(now, Reason::Auth, detail);
    let rejected = TargetStatus { last_failure: Some(failure), ..up("rejected", now) };
    let mut plan = Plan::new(vec![up("primary", now), rejected, up("deaf", now)]);
    plan.enable_lifecycle = true;
    let (app, outside) = plan.build();
    let reconnect = async |name: &str| post(&app, &format!("/-/targets/{name}/reconnect")).await;
    let (status, text) = reconnect("primary").await;
    assert_eq!((status, text.as_str()), (200, "a new session of primary is open: the login succeeded\n"));
    assert_eq!(outside.proofs.load(Ordering::Relaxed), 1);
    let (status, text) = reconnect("rejected").await;
    assert_eq!(status, 502);
    assert!(text.starts_with("the attempt failed: auth: password authentication failed"), "{text}");
    assert!(text.contains(Reason::Auth.remedy()), "{text}");
    assert_eq!(reconnect("deaf").await.0, 504, "its attempt takes too long");
    let (status, text) = reconnect("nobody").await;
    assert_eq!(
        (status, text.as_str()),
        (404, "no target has that name; there are: deaf, primary, rejected\n")
    );
    for path in ["/-/targets/primary", "/-/targets/a/b/reconnect", "/-/targets/primary/pause"] {
        assert_eq!(post(&app, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_target_is_not_tried_without_the_flag_and_the_path_is_shown_only_with_it() {
    for enable_lifecycle in [true, false] {
        let mut plan = Plan::new(vec![lost("primary", Moment::now(), 5.0)]);
        plan.enable_lifecycle = enable_lifecycle;
        let (app, outside) = plan.build();
        let (status, _) = post(&app, "/-/targets/primary/reconnect").await;
        assert_eq!(status, if enable_lifecycle { 200 } else { 403 });
        assert_eq!(outside.proofs.load(Ordering::Relaxed), usize::from(enable_lifecycle));
        let path = "POST /-/targets/primary/reconnect";
        let page = ask(&app, Scope::All, "GET", "/", &[], "").await;
        assert_eq!(page.text().contains(path), enable_lifecycle);
        let api = ask(&app, Scope::All, "GET", "/api/v1/targets", &[], "").await.json();
        let shown = api["targets"][0]["reconnect_path"].as_str().map(|shown| format!("POST {shown}"));
        assert_eq!(shown, enable_lifecycle.then(|| path.to_owned()));
    }
}

#[tokio::test]
async fn a_target_that_flaps_is_not_offered_an_attempt_that_cannot_help() {
    let now = Moment::now();
    let losses = [0, 1, 2].map(|second| (now.after(Duration::from_secs(second)), Reason::Shutdown));
    let flapping = Flapping::begun(losses, "shut down");
    let mut plan = Plan::new(vec![TargetStatus { flapping, ..up("primary", now) }]);
    plan.enable_lifecycle = true;
    let (app, _) = plan.build();
    let page = ask(&app, Scope::All, "GET", "/", &[], "").await;
    assert!(page.text().contains("3 sessions lost") && !page.text().contains("POST /-/"), "{}", page.text());
    let api = ask(&app, Scope::All, "GET", "/api/v1/targets", &[], "").await.json();
    assert_eq!(api["targets"][0]["reason"], "flapping");
    assert_eq!(api["targets"][0]["reconnect_path"], serde_json::Value::Null);
}
