//! Which path means what.

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Body;
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};

use super::badge::{self, BadgeFormat};
use super::events::{self, EventsQuery};
use super::kubernetes::{LIVEZ, Probe, READYZ};
use super::lifecycle::{self, LifecycleAction, MOST_NAMES, Order};
use super::negotiate::{vocabulary, wants_gzip};
use super::origin::{check_host, check_site};
use super::reply::{HTML, JSON, Reply, With, json, reply, text};
use super::socket::ClientAddress;
use super::web::Visibility;
use super::{App, Scope, api, discovery, page, probe};
use crate::health::{self, Speaker};
use crate::metrics::{self, Handler};
use crate::status::process::ProcessStatus;
use crate::status::{Moment, View};

/// A body below this fits in one packet anyway.
const GZIP_FROM: usize = 1024;
/// Compressing more than this would hold up the pings: it goes to another thread.
const GZIP_ELSEWHERE_FROM: usize = 128 * 1024;

/// A path that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HttpPath<'a> {
    Page,
    Metrics,
    Probe,
    Health(Option<&'a str>),
    Livez(Option<&'a str>),
    Readyz(Option<&'a str>),
    Healthy,
    Ready,
    Lifecycle(Order<'a>),
    Targets,
    Discovery,
    Events,
    Badge(&'a str, BadgeFormat),
}

impl<'a> HttpPath<'a> {
    fn of(path: &'a str, telemetry_path: &str, scope: Scope) -> Option<Self> {
        let under = |root: &str| path.strip_prefix(root)?.strip_prefix('/');
        let route = match path {
            "/health" => HttpPath::Health(None),
            "/livez" => HttpPath::Livez(None),
            "/readyz" => HttpPath::Readyz(None),
            _ if path == telemetry_path => HttpPath::Metrics,
            "/" => HttpPath::Page,
            "/probe" => HttpPath::Probe,
            "/-/healthy" => HttpPath::Healthy,
            "/-/ready" => HttpPath::Ready,
            "/-/reload" => HttpPath::Lifecycle(Order::Reload),
            "/api/v1/targets" => HttpPath::Targets,
            "/api/v1/sd" => HttpPath::Discovery,
            "/api/v1/events" => HttpPath::Events,
            _ => under("/health")
                .map(|name| HttpPath::Health(Some(name)))
                .or_else(|| under("/livez").map(|name| HttpPath::Livez(Some(name))))
                .or_else(|| under("/readyz").map(|name| HttpPath::Readyz(Some(name))))
                .or_else(|| {
                    let (name, format) = BadgeFormat::of(under("/badge")?)?;
                    Some(HttpPath::Badge(name, format))
                })
                .or_else(|| {
                    let (name, action) = under("/-/pools")?.split_once('/')?;
                    Some(HttpPath::Lifecycle(Order::Pool(name, LifecycleAction::of(action)?)))
                })
                .or_else(|| {
                    let (name, action) = under("/-/targets")?.split_once('/')?;
                    let asked = LifecycleAction::of(action)?;
                    (asked == LifecycleAction::Reconnect)
                        .then_some(HttpPath::Lifecycle(Order::Reconnect(name)))
                })?,
        };
        (scope == Scope::All || route.is_for_probes()).then_some(route)
    }

    fn is_for_probes(self) -> bool {
        matches!(self, HttpPath::Health(_) | HttpPath::Livez(_) | HttpPath::Readyz(_))
    }

    /// Whether a request does something, beyond telling what is known.
    fn acts(self) -> bool {
        matches!(self, HttpPath::Probe) || self.is_order()
    }

    /// Whether an operator asks for something to be done.
    fn is_order(self) -> bool {
        matches!(self, HttpPath::Lifecycle(_))
    }

    fn handler(self) -> Handler {
        match self {
            HttpPath::Page => Handler::Page,
            HttpPath::Metrics => Handler::Metrics,
            HttpPath::Probe => Handler::Probe,
            HttpPath::Health(_) => Handler::Health,
            HttpPath::Livez(_) => Handler::Livez,
            HttpPath::Readyz(_) => Handler::Readyz,
            HttpPath::Healthy | HttpPath::Ready | HttpPath::Lifecycle(_) => Handler::Lifecycle,
            HttpPath::Targets | HttpPath::Discovery | HttpPath::Events | HttpPath::Badge(..) => Handler::Api,
        }
    }

    /// The methods that it takes, as `Allow` names them.
    fn allows(self, method: &Method) -> Result<(), &'static str> {
        match self {
            _ if self.is_order() && method == Method::POST => Ok(()),
            _ if self.is_order() => Err("POST"),
            _ if method == Method::GET || method == Method::HEAD => Ok(()),
            _ => Err("GET, HEAD"),
        }
    }
}

/// Answers a request, and counts it. What HEAD must not carry is hyper's to leave out.
pub(super) async fn answer<B>(app: &App, scope: Scope, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let route = HttpPath::of(head.uri.path(), &app.web.telemetry_path, scope);
    let rules = app.web.rules.get();
    let for_probes = route.is_some_and(HttpPath::is_for_probes);
    let admitted = match check_host(head.version, &head.headers) {
        Ok(()) => rules.admit(scope, for_probes, &head.headers, client(&head)).await,
        Err(refused) => Err(refused.into()),
    };
    let mut reply = match admitted {
        Ok(visibility) => respond(app, route, visibility, &head, body).await,
        Err(refusal) => refusal,
    };
    rules.add_headers(&mut reply);
    let handler = route.map_or(Handler::Other, HttpPath::handler);
    app.metrics.request(handler, reply.status().as_u16());
    reply
}

/// Where the request came from.
fn client(head: &Parts) -> Option<IpAddr> {
    head.extensions.get::<ClientAddress>().map(|address| address.0)
}

async fn respond<B>(
    app: &App,
    route: Option<HttpPath<'_>>,
    visibility: Visibility,
    head: &Parts,
    body: B,
) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(route) = route else {
        return text(StatusCode::NOT_FOUND, "no such page\n");
    };
    if let Err(allowed) = route.allows(&head.method) {
        let help = format!("method not allowed, use {allowed}\n");
        return text(StatusCode::METHOD_NOT_ALLOWED, help).with(header::ALLOW, allowed);
    }
    if route.acts()
        && let Err(refused) = check_site(&head.headers)
    {
        return refused.into();
    }
    serve(app, route, visibility, head, body).await
}

async fn serve<B>(app: &App, route: HttpPath<'_>, visibility: Visibility, head: &Parts, body: B) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (query, headers) = (head.uri.query().unwrap_or_default(), &head.headers);
    let (process, now) = (&app.process.read(), Moment::now());
    match route {
        HttpPath::Page => packed(HTML, page::render(app, process, now).into(), headers)
            .await
            .with(header::CONTENT_SECURITY_POLICY, page::policy())
            .with(header::REFERRER_POLICY, "no-referrer")
            .fresh(),
        HttpPath::Metrics => scrape(app, process, now, headers).await,
        HttpPath::Probe => probe::answer(app, query, headers).await,
        HttpPath::Health(name) => health(app, process, now, name, visibility, headers),
        HttpPath::Livez(name) => checked(&LIVEZ, app, process, now, name, visibility, query),
        HttpPath::Readyz(name) => checked(&READYZ, app, process, now, name, visibility, query),
        HttpPath::Healthy => plainly(LIVEZ.passes(app, process, now), "pgtether is Healthy.\n"),
        HttpPath::Ready => plainly(READYZ.passes(app, process, now), "pgtether is Ready.\n"),
        HttpPath::Targets => document(api::render(app, process, now), headers).await,
        HttpPath::Badge(name, format) => badge::answer(app, now, name, format, query),
        HttpPath::Discovery => document(discovery::render(app, now), headers).await,
        HttpPath::Events => match EventsQuery::of(query) {
            Ok(asked) => match events::render(app, &asked, now) {
                Some(rendered) => document(rendered, headers).await,
                None => no_such_target(app, now, true),
            },
            Err(help) => text(StatusCode::BAD_REQUEST, help + "\n"),
        },
        HttpPath::Lifecycle(order) => lifecycle::carry_out(app, order, client(head), body).await,
    }
}

async fn scrape(app: &App, process: &ProcessStatus, now: Moment, headers: &HeaderMap) -> Reply {
    let last = app.scrape_size.load(Ordering::Relaxed);
    let mut body = Vec::with_capacity(last + last / 8);
    let targets = app.board.look(now, |views| {
        metrics::render(views, &mut body);
        views.len()
    });
    if let Err(error) = app.metrics.render(targets, process, &mut body) {
        tracing::error!(%error, "the process's own metrics cannot be written");
        return text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n");
    }
    app.scrape_size.store(body.len(), Ordering::Relaxed);
    packed(metrics::CONTENT_TYPE, body.into(), headers).await
}

async fn document(rendered: serde_json::Result<Vec<u8>>, headers: &HeaderMap) -> Reply {
    match rendered {
        Ok(body) => packed(JSON, body.into(), headers).await.fresh(),
        failed => json(StatusCode::OK, JSON, failed),
    }
}

/// A body that may be large, zipped for those who accept it.
async fn packed(content_type: &'static str, whole: Bytes, headers: &HeaderMap) -> Reply {
    let zipped = match whole.len() {
        _ if !wants_gzip(headers) => None,
        ..GZIP_FROM => None,
        GZIP_FROM..GZIP_ELSEWHERE_FROM => gzip(&whole).ok(),
        GZIP_ELSEWHERE_FROM.. => {
            let whole = whole.clone();
            tokio::task::spawn_blocking(move || gzip(&whole)).await.ok().and_then(Result::ok)
        }
    };
    let ok = |body| reply(StatusCode::OK, content_type, body);
    let reply = match zipped {
        Some(zipped) => ok(zipped.into()).with(header::CONTENT_ENCODING, "gzip"),
        None => ok(whole),
    };
    reply.with(header::VARY, "Accept-Encoding")
}

/// Level 1: higher ones cost ten times the CPU for a sixth less.
fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut zipped = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    zipped.write_all(body)?;
    zipped.finish()
}

fn health(
    app: &App,
    process: &ProcessStatus,
    now: Moment,
    name: Option<&str>,
    visibility: Visibility,
    headers: &HeaderMap,
) -> Reply {
    let details = visibility == Visibility::Everything;
    let speaker = Speaker { service: &process.service, version: app.web.version, details };
    let vocabulary = vocabulary(headers);
    let document = match name {
        None => app.board.look(now, |views| health::of_all(speaker, views, vocabulary)),
        Some(name) => {
            match app.board.look_at_one(name, now, |view| health::of_one(speaker, view, vocabulary)) {
                Some(document) => document,
                None => return no_such_target(app, now, details).with(header::VARY, "Accept"),
            }
        }
    };
    let code = document.as_ref().map_or(500, |document| document.status.code());
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, vocabulary.content_type(), document.map(|document| document.body))
        .with(header::VARY, "Accept")
}

/// Names the targets to those who may see them.
fn no_such_target(app: &App, now: Moment, details: bool) -> Reply {
    let mut body = serde_json::json!({ "error": "no such target" });
    if details {
        let name = |view: &View<'_>| view.status.name.to_string();
        body["targets"] = app.board.look(now, |views| views.iter().take(MOST_NAMES).map(name).collect());
    }
    // A target may be named `healthy`: keyword monitors must not find the word, see `health`.
    let body = body.to_string().replace("healthy", r"h\u0065althy");
    json(StatusCode::NOT_FOUND, JSON, Ok(body.into_bytes()))
}

fn checked(
    probe: &Probe,
    app: &App,
    process: &ProcessStatus,
    now: Moment,
    name: Option<&str>,
    visibility: Visibility,
    query: &str,
) -> Reply {
    match name {
        None => probe.all(app, process, now, query),
        Some(name) => probe
            .one(app, process, now, name, visibility)
            .unwrap_or_else(|| text(StatusCode::NOT_FOUND, "no such check\n")),
    }
}

/// As Prometheus answers `/-/healthy` and `/-/ready`.
fn plainly(passed: bool, well: &'static str) -> Reply {
    let reply = match passed {
        true => text(StatusCode::OK, well),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n"),
    };
    reply.fresh()
}
