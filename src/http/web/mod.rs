//! The web config file, in the format of Prometheus' exporter-toolkit: TLS, users, response headers, a rate limit.
//!
//! `file` mirrors it, `assemble` makes [`Rules`] of it and of what it names, [`RulesFile`] reads it anew when it changes. Rules are swapped
//! whole: every connection and every request looks at those in force. Knows nothing of paths but whether probes ask.

mod admit;
mod assemble;
mod file;
mod limit;
mod pem;
mod reload;
#[cfg(test)]
pub(super) mod tests;
mod tls;
mod turns;
mod users;
mod words;

use std::sync::{Arc, PoisonError, RwLock};

use hyper::header::{HeaderName, HeaderValue};

pub use reload::RulesFile;
pub use tls::WebTls;

pub(super) use admit::Visibility;

use crate::config::Problem;
use limit::RateLimit;
use users::KnownUsers;

/// What the file says, valid. The default asks for nothing.
#[derive(Debug, Default)]
pub struct Rules {
    tls: Option<WebTls>,
    /// `None` where everybody may ask.
    users: Option<KnownUsers>,
    headers: Vec<(HeaderName, HeaderValue)>,
    rate: Option<RateLimit>,
    warnings: Vec<Problem>,
}

impl Rules {
    pub const fn tls(&self) -> Option<&WebTls> {
        self.tls.as_ref()
    }

    /// Accepted, but a person should know.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Whether nobody gets in without a certificate.
    pub fn demand_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_auth.demands())
    }

    /// Whether the web port tells some people less than others.
    fn are_protective(&self) -> bool {
        self.users.is_some() || self.demand_certificates()
    }

    /// Takes over what a reload does not change.
    fn succeed(&mut self, before: &Rules) {
        if let (Some(users), Some(before)) = (&mut self.users, &before.users) {
            users.succeed(before);
        }
    }

    /// What these would give up that `before` had.
    fn gives_up(&self, before: &Rules) -> Option<&'static str> {
        match (&before.tls, &self.tls) {
            (Some(_), None) => return Some("TLS"),
            (Some(before), Some(now)) if before.client_auth > now.client_auth => {
                return Some("the demand for client certificates");
            }
            (Some(before), Some(now)) if before.is_choosy && !now.is_choosy => {
                return Some("client_allowed_sans");
            }
            (None | Some(_), _) => {}
        }
        (before.users.is_some() && self.users.is_none()).then_some("all users")
    }
}

/// The rules in force, shared by whoever asks for them.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<RwLock<Arc<Rules>>>);

impl Live {
    pub fn new(rules: Rules) -> Self {
        Live(Arc::new(RwLock::new(Arc::new(rules))))
    }

    pub fn get(&self) -> Arc<Rules> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}
