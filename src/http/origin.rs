//! Whom a request is for and where it comes from: what its headers say of that, before it is answered.

use std::net::Ipv4Addr;

use hyper::header::{self, HeaderMap};
use hyper::http::uri::Authority;
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

/// For paths that do something: a page of another site must not make its visitor's browser ask for it. Browsers tell of
/// such a page by `Sec-Fetch-Site`, but only to https and loopback addresses, and by `Origin`, but not with a plain GET.
/// Who sends neither is no browser, or cannot be told from one.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), RequestRefusal> {
    let refuse = |why| Err(RequestRefusal(StatusCode::FORBIDDEN, why));
    let cross_site = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"cross-site");
    if headers.get_all(SEC_FETCH_SITE).iter().any(cross_site) {
        return refuse(
            "refused: a page of another site made the browser send this request (Sec-Fetch-Site: cross-site); open \
             the address directly, or use a client that is not a browser\n",
        );
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (origin, host) = match (origins.next(), origins.next(), headers.get(header::HOST)) {
        (None, ..) => return Ok(()),
        (Some(origin), None, Some(host)) => (origin.to_str(), host.to_str()),
        _ => (Ok(""), Ok("")),
    };
    match OriginCheck::of(origin.unwrap_or_default(), host.unwrap_or_default()) {
        OriginCheck::Same => Ok(()),
        OriginCheck::Other => refuse(
            "refused: a page of another address made the browser send this request (Origin is not Host); open the \
             address directly, let a reverse proxy pass Host on unchanged, or use a client that is not a browser\n",
        ),
        OriginCheck::Rebindable => refuse(
            "refused: over plain http a browser may only send this request to an IP address, localhost or a host name \
             without a dot, because anybody can point another name here (DNS rebinding); use https, such an address, or \
             a client that is not a browser\n",
        ),
    }
}

/// Whether the page that made a browser ask was served from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OriginCheck {
    Same,
    Other,
    /// It has the same name, but a name that its owner may have made lead here. Over https a certificate says no.
    Rebindable,
}

impl OriginCheck {
    fn of(origin: &str, host: &str) -> Self {
        let (scheme, port) = match origin.split_once("://") {
            Some(("http", _)) => ("http://", 80),
            Some(("https", _)) => ("https://", 443),
            _ => return OriginCheck::Other,
        };
        let from = HostPort::of(&origin[scheme.len()..], port);
        match (from, HostPort::of(host, port)) {
            (Some(from), Some(to)) if from == to => match scheme == "https://" || to.is_nobodys_to_give() {
                true => OriginCheck::Same,
                false => OriginCheck::Rebindable,
            },
            _ => OriginCheck::Other,
        }
    }
}

/// Where a page is from, or a request for.
#[derive(Debug, PartialEq, Eq)]
struct HostPort {
    /// In lower case; an IPv6 address in its brackets.
    host: String,
    port: u16,
}

impl HostPort {
    /// Of `host` or `host:port`, nothing else.
    fn of(text: &str, default_port: u16) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let host = authority.host().to_ascii_lowercase();
        let rest = authority.as_str().get(host.len()..)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if rest.is_empty() => default_port,
            None => return None,
        };
        (!host.is_empty()).then_some(HostPort { host, port })
    }

    /// No public name server can say that this name is ours.
    fn is_nobodys_to_give(&self) -> bool {
        let name = self.host.strip_suffix('.').unwrap_or(&self.host);
        name.starts_with('[')
            || !name.contains('.')
            || name.ends_with(".localhost")
            || name.parse::<Ipv4Addr>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_ask_only_where_it_is_from_and_not_by_a_name_that_anybody_may_point_here() {
        use OriginCheck::{Other, Rebindable, Same};
        for (origin, host, expected) in [
            ("http://127.0.0.1:10432", "127.0.0.1:10432", Same),
            ("http://10.0.0.5", "10.0.0.5", Same),
            ("http://10.0.0.5", "10.0.0.5:80", Same),
            ("http://[fd00::1]:10432", "[fd00::1]:10432", Same),
            ("http://localhost:10432", "LocalHost:10432", Same),
            ("http://pg.localhost:1", "pg.localhost:1", Same),
            ("http://pgtether:10432", "pgtether:10432", Same),
            ("https://pgtether.example.com", "pgtether.example.com", Same),
            ("https://pgtether.example.com", "pgtether.example.com:443", Same),
            // Another port, host or default port.
            ("http://10.0.0.5:8000", "10.0.0.5:10432", Other),
            ("http://10.0.0.6:10432", "10.0.0.5:10432", Other),
            ("https://10.0.0.5", "10.0.0.5:80", Other),
            ("http://10.0.0.5", "10.0.0.5:443", Other),
            ("http://evil.example", "10.0.0.5:10432", Other),
            ("http://localhost.evil.example:1", "localhost:1", Other),
            // What no page has, or is not said as browsers do.
            ("null", "10.0.0.5:10432", Other),
            ("null", "null", Other),
            ("", "", Other),
            ("http://", "", Other),
            ("file://", "", Other),
            ("file://10.0.0.5", "10.0.0.5", Other),
            ("10.0.0.5:1", "10.0.0.5:1", Other),
            ("HTTP://10.0.0.5:1", "10.0.0.5:1", Other),
            ("http://10.0.0.5:1/", "10.0.0.5:1", Other),
            ("http://u@10.0.0.5:1", "u@10.0.0.5:1", Other),
            ("http://10.0.0.5:", "10.0.0.5:", Other),
            ("http://10.0.0.5:70000", "10.0.0.5:70000", Other),
            ("http://a:1 http://b:1", "a:1", Other),
            // A page that has made its own name lead here.
            ("http://evil.example:10432", "evil.example:10432", Rebindable),
            ("http://evil.example.:10432", "evil.example.:10432", Rebindable),
            ("http://10.0.0.5.evil.example", "10.0.0.5.evil.example", Rebindable),
            ("http://localhost.evil.example", "localhost.evil.example", Rebindable),
            ("http://evillocalhost.example", "evillocalhost.example", Rebindable),
        ] {
            assert_eq!(OriginCheck::of(origin, host), expected, "{origin} {host}");
        }
    }
}
