//! One request to an app, without a connection.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, Version, header};
use serde_json::Value;

use super::*;
use crate::http::routes::answer;
use crate::status::sample::up;

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: header::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(super) async fn ask(
    app: &App,
    scope: Scope,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let headers = [("host", "localhost")].iter().chain(headers);
    ask_with(app, scope, Version::HTTP_11, method, uri, headers, body).await
}

/// With no more headers than these.
pub(super) async fn ask_with<'a>(
    app: &App,
    scope: Scope,
    version: Version,
    method: &str,
    uri: &str,
    headers: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
    body: &str,
) -> Answer {
    let mut request = Request::builder().version(version).method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let reply = answer(app, scope, request).await;
    let (head, body) = reply.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

pub(super) async fn get(app: &App, uri: &str) -> Answer {
    ask(app, Scope::All, "GET", uri, &[], "").await
}

pub(super) async fn get_as(app: &App, uri: &str, name: &str, value: &str) -> Answer {
    ask(app, Scope::All, "GET", uri, &[(name, value)], "").await
}

pub(super) async fn post(app: &App, uri: &str, body: &str) -> Answer {
    ask(app, Scope::All, "POST", uri, &[], body).await
}

pub(super) fn one_up() -> (Arc<App>, Arc<Outside>) {
    Plan::new(vec![up("primary", Moment::now())]).build()
}
