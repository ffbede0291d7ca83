//! Requests that do something: `/probe` and `/-/reload`.

use hyper::StatusCode;

use super::asking::{get, get_as, one_up, post};
use super::*;
use crate::status::sample::up;

#[tokio::test]
async fn a_probe_names_one_target_that_exists() {
    let (app, outside) = one_up();
    for bad in ["/probe", "/probe?target=", "/probe?target=a&target=b", "/probe?module=x"] {
        assert_eq!(get(&app, bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(get(&app, "/probe?target=missing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(outside.proofs.load(Ordering::Relaxed), 0);
    let answer = get(&app, "/probe?target=primary").await;
    assert!(answer.text().contains("\nprobe_success 1\n"));
    assert!(answer.text().contains("_phase_seconds{phase=\"tls\"} 0.0029\n"), "{}", answer.text());
    assert_eq!(outside.proofs.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_answers_in_time_even_if_nobody_else_does() {
    let (app, _) = Plan::new(vec![up("deaf", Moment::now())]).build();
    for (scrape_timeout, millis) in [("", 9_500), ("3", 2_500)] {
        let began = Instant::now();
        let uri = "/probe?target=deaf";
        let answer = get_as(&app, uri, "x-prometheus-scrape-timeout-seconds", scrape_timeout).await;
        assert_eq!(began.elapsed().as_millis(), millis);
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.text().contains("\nprobe_success 0\n"));
        assert!(answer.text().contains("reason=\"timeout\""));
    }
}

#[tokio::test]
async fn a_reload_needs_the_flag_and_a_good_file() {
    let (app, outside) = one_up();
    let answer = post(&app, "/-/reload", "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.text(), "Lifecycle API is not enabled: start pgtether with --web.enable-lifecycle.\n");
    assert_eq!(outside.reloads.load(Ordering::Relaxed), 0);

    let mut plan = Plan::new(vec![]);
    plan.enable_lifecycle = true;
    let (app, outside) = plan.build();
    assert_eq!(post(&app, "/-/reload", "").await.status, StatusCode::OK);
    assert_eq!(post(&app, "/-/reload", &"x".repeat(4096)).await.status, StatusCode::OK);
    assert_eq!(outside.reloads.load(Ordering::Relaxed), 2);
    let answer = post(&app, "/-/reload", &"x".repeat(4097)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(outside.reloads.load(Ordering::Relaxed), 2, "a refused request reloads nothing");

    let mut plan = Plan::new(vec![]);
    plan.enable_lifecycle = true;
    plan.bad_file = Some("config.yaml:3: unknown key \"tragets\"".to_owned());
    let (app, _) = plan.build();
    let answer = post(&app, "/-/reload", "").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.text(), "failed to reload config: config.yaml:3: unknown key \"tragets\"\n");
}
