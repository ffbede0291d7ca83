//! Whom a request is for and where it comes from: what its headers say of that, before it is answered.

use hyper::header::{self, HeaderMap};
use hyper::{StatusCode, Version};

use super::reply::{Reply, text};

/// How a request is refused: status and text.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestRefusal(StatusCode, &'static str);

impl From<RequestRefusal> for Reply {
    fn from(RequestRefusal(status, body): RequestRefusal) -> Reply {
        text(status, body)
    }
}

/// What browsers say of the page that made them ask.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// RFC 9112, section 3.2: one `Host`, which only HTTP/1.0 may leave out. A proxy that takes another one of two than
/// pgtether does would guard another address than the one that is served.
pub(super) fn check_host(version: Version, headers: &HeaderMap) -> Result<(), RequestRefusal> {
    let problem = match headers.get_all(header::HOST).iter().count() {
        1 => return Ok(()),
        0 if version < Version::HTTP_11 => return Ok(()),
        0 => "the request has no Host header; HTTP/1.1 requires one\n",
        _ => "the request has more than one Host header; send one\n",
    };
    Err(RequestRefusal(StatusCode::BAD_REQUEST, problem))
}

/// For paths that do something: a page of another site must not make its visitor's browser ask for it.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), RequestRefusal> {
    let cross_site = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"cross-site");
    if !headers.get_all(SEC_FETCH_SITE).iter().any(cross_site) {
        return Ok(());
    }
    Err(RequestRefusal(
        StatusCode::FORBIDDEN,
        "refused: a page of another site made the browser send this request (Sec-Fetch-Site: cross-site); \
         open the address directly, or use a client that is not a browser\n",
    ))
}
