//! The status page, and the API that it reads.

use std::io::Read;
use std::time::Duration;

use hyper::header;
use serde_json::Value;

use super::asking::{get, get_as};
use super::*;
use crate::reason::Reason;
use crate::status::Because;
use crate::status::board::PoolSlot;
use crate::status::sample::{busy_pool, lost, up};

#[tokio::test]
async fn the_page_shows_state_and_remedy_and_takes_no_text_for_html() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![lost("archive", now, 61.0), up("primary", now)]).build();
    let page = get(&app, "/").await;
    let html = page.text();
    assert!(html.contains("image &lt;editor&gt;") && !html.contains("<editor>"));
    for piece in [
        "class=\"down\" data-name=\"archive\"",
        "class=\"up\" data-name=\"primary\"",
        Reason::Shutdown.remedy(),
        "for 61 s",
        "0.41 ms",
    ] {
        assert!(html.contains(piece), "{piece}");
    }
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    for element in ["style", "script"] {
        let (_, after) = html.split_once(&format!("<{element}")).unwrap();
        let (_, after) = after.split_once('>').unwrap();
        let (inside, _) = after.split_once(&format!("</{element}>")).unwrap();
        let hash = openssl::base64::encode_block(&openssl::sha::sha256(inside.as_bytes()));
        assert!(
            policy.contains(&format!("; {element}-src 'sha256-{hash}';")),
            "{element}: {hash} in {policy}"
        );
    }
    assert!(!html.contains("src=") && !html.contains("http:") && !html.contains("https:"));
}

#[tokio::test]
async fn page_and_api_are_zipped_for_those_who_accept_it() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![up("primary", now)]).build();
    for uri in ["/", "/api/v1/targets"] {
        let zipped = get_as(&app, uri, "accept-encoding", "gzip").await;
        assert_eq!(zipped.header(header::CONTENT_ENCODING), "gzip", "{uri}");
        assert_eq!(zipped.header(header::CACHE_CONTROL), "no-store", "{uri}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut text).unwrap();
        assert!(text.contains("primary"), "{uri}");
        assert_eq!(get(&app, uri).await.header(header::CONTENT_ENCODING), "", "{uri}");
    }
}

#[tokio::test]
async fn the_api_tells_everything_of_a_view() {
    let now = Moment::now();
    let mut down = lost("archive", now, 61.0);
    down.last_failure = Some(crate::status::Failure {
        at: now,
        reason: Reason::Refused,
        remedy: Reason::Refused.remedy(),
        detail: "Connection refused (os error 111)".to_owned(),
    });
    down.attempt = crate::status::Attempt::Waiting {
        until: now.after(Duration::from_secs(5)),
        tcp_connect: Some(now.after(Duration::from_secs(1))),
        purpose: crate::status::Purpose::Reconnect,
        because: Because::Breaker,
    };
    down.pings.push(None);
    let primary = up("primary", now);
    let name = primary.name.clone();
    let (app, _) = Plan::new(vec![down, primary]).build();
    let _shown = app.board.show_pool(name, Arc::new(PoolSlot::new(busy_pool())));
    let document = get(&app, "/api/v1/targets").await.json();
    assert_eq!(document["status"], "failing");
    let (archive, primary) = (&document["targets"][0], &document["targets"][1]);
    assert_eq!(archive["reason"], "refused");
    assert_eq!(archive["remedy"], Reason::Refused.remedy());
    assert_eq!(archive["last_failure"]["detail"], "Connection refused (os error 111)");
    assert_eq!(archive["attempt"]["doing"], "waiting");
    assert_eq!(archive["attempt"]["because"], "breaker");
    assert_eq!(archive["pings_ms"], serde_json::json!([0.412, null]));
    assert_eq!(archive["session"], Value::Null);
    assert_eq!(primary["phases"][2], serde_json::json!({"phase": "tls", "ms": 2.9}));
    assert_eq!(primary["location"]["host"], "db.example.org");
    assert_eq!(primary["session"]["tls_version"], "TLSv1.3");
    assert_eq!(primary["attempt"], serde_json::json!({"doing": "nothing"}));
    let pool = serde_json::json!({
        "listen": "127.0.0.1:6432", "mode": "transaction", "size": 10, "max_clients": 1000,
        "paused": false,
        "clients": {"login": 0, "idle": 2, "waiting": 1, "active": 1},
        "servers": {"login": 0, "idle": 1, "testing": 1, "active": 1},
        "checkouts": 3, "failures": {"busy": 1, "down": 0, "permanent": 0, "paused": 0, "draining": 0},
    });
    assert_eq!((&primary["pool"], archive.get("pool")), (&pool, None));
}
