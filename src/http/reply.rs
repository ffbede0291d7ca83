//! Answers: a status, a type, a body that is whole.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

pub(super) type Reply = Response<Full<Bytes>>;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// An answer whose type no browser may guess otherwise.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.with(header::CONTENT_TYPE, content_type).with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, TEXT, body)
}

/// A body of JSON, or 500 where serde gave none.
pub(super) fn json(
    status: StatusCode,
    content_type: &'static str,
    body: serde_json::Result<Vec<u8>>,
) -> Reply {
    match body {
        Ok(body) => reply(status, content_type, body).fresh(),
        Err(_) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer could not be written as JSON: a bug in pgtether\n",
        ),
    }
}

pub(super) trait With: Sized {
    fn with(self, name: HeaderName, value: &'static str) -> Self;

    /// Whoever keeps this shows yesterday's state.
    fn fresh(self) -> Self {
        self.with(header::CACHE_CONTROL, "no-store")
    }
}

impl With for Reply {
    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers_mut().insert(name, HeaderValue::from_static(value));
        self
    }
}
