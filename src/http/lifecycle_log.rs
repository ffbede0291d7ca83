//! What the log tells of operators' requests: each with what came of it, and fewer where they never end.

use std::collections::HashMap;
use std::mem::Discriminant;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt;
use http_body_util::BodyExt;
use tracing::{info, warn};

use super::lifecycle::{LifecycleAction, Order};
use super::reply::Reply;
use crate::policy::pace::PacedLines;
use crate::printable;

/// Requests of one kind that ended alike: a flood of one takes no line from another.
type LineKind = (Discriminant<Order<'static>>, Option<LifecycleAction>, bool);

/// What was logged of each kind.
#[derive(Debug, Default)]
pub(super) struct LifecycleLog(Mutex<HashMap<LineKind, PacedLines>>);

/// A request that is not answered yet. Dropped, it has no answer: its client hung up.
pub(super) struct Unanswered<'a> {
    log: &'a LifecycleLog,
    order: Order<'a>,
    client: Option<IpAddr>,
    is_answered: bool,
}

impl LifecycleLog {
    pub(super) fn begin<'a>(&'a self, order: Order<'a>, client: Option<IpAddr>) -> Unanswered<'a> {
        Unanswered { log: self, order, client, is_answered: false }
    }

    /// How many were left out before this line; `None` where it is left out, too.
    fn next(&self, order: Order<'_>, is_success: bool, now: Instant) -> Option<u64> {
        let kind = match order {
            Order::Reload => (Order::Reload, None),
            Order::Pool(_, action) => (Order::Pool("", action), Some(action)),
            Order::Reconnect(_) => (Order::Reconnect(""), None),
        };
        let kind = (std::mem::discriminant(&kind.0), kind.1, is_success);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default().next(now)
    }
}

impl Unanswered<'_> {
    pub(super) fn answered(mut self, reply: &Reply) {
        self.is_answered = true;
        let body = reply.body().clone().collect().now_or_never().and_then(Result::ok);
        let body = body.map(|whole| whole.to_bytes()).unwrap_or_default();
        let answer = printable::message(&String::from_utf8_lossy(&body));
        let answer = Some(answer).filter(|answer| !answer.is_empty());
        self.log(Some(reply.status().as_u16()), answer.as_deref());
    }

    fn log(&self, code: Option<u16>, answer: Option<&str>) {
        let is_success = code.is_some_and(|code| code < 400);
        let now = tokio::time::Instant::now().into_std();
        let Some(left_out) = self.log.next(self.order, is_success, now) else { return };
        let unlogged_requests = Some(left_out).filter(|left_out| *left_out > 0);
        let (request, client) =
            (format!("POST /-/{}", self.order), self.client.map(|client| client.to_string()));
        match (is_success, code) {
            (true, _) => {
                info!(
                    request,
                    client, code, answer, unlogged_requests, "an operator's request was carried out"
                )
            }
            (false, Some(_)) => {
                warn!(request, client, code, answer, unlogged_requests, "an operator's request failed")
            }
            (false, None) => {
                warn!(
                    request,
                    client, unlogged_requests, "an operator's request has begun, and its client hung up"
                )
            }
        }
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.log(None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_bounded_and_takes_no_line_from_another() {
        let (log, start) = (LifecycleLog::default(), Instant::now());
        let names: Vec<String> = (0..10_000).map(|n| format!("target-{n}")).collect();
        let flood = |name: &String| log.next(Order::Reconnect(name), false, start).is_some();
        assert_eq!(names.iter().filter(|name| flood(name)).count(), 12);
        for order in [Order::Reload, Order::Pool("a", LifecycleAction::Pause), Order::Reconnect("a")] {
            assert_eq!(log.next(order, true, start), Some(0), "{order}");
        }
        assert_eq!(log.next(Order::Pool("b", LifecycleAction::Resume), true, start), Some(0));
        let later = start + Duration::from_secs(61);
        assert_eq!(log.next(Order::Reconnect("a"), false, later), Some(9_988));
        assert!(log.0.lock().unwrap().len() <= 10);
    }
}
