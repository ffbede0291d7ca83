//! Who gets an answer, and how much of one.

use std::net::IpAddr;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};

use super::Rules;
use super::users::Credibility;
use crate::http::Scope;
use crate::http::reply::{Reply, With, text};

/// How much a client may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Everything,
    /// Whether all is well, and no more: names of targets and what is wrong with them are for those who are known.
    Outline,
}

impl Rules {
    /// Lets a request in, or answers in our stead. `for_probes` are the paths that stay open to those who have no
    /// credentials; credentials that are given must be right everywhere.
    pub async fn admit(
        &self,
        scope: Scope,
        for_probes: bool,
        headers: &HeaderMap,
        from: Option<IpAddr>,
    ) -> Result<Visibility, Reply> {
        if scope == Scope::Health {
            return Ok(if self.are_protective() { Visibility::Outline } else { Visibility::Everything });
        }
        if let Some(rate) = self.rate.as_ref().filter(|_| !for_probes)
            && let Err(wait) = rate.take(Instant::now())
        {
            let wait = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            return Err(too_many("the rate limit of the web config file is reached\n", wait));
        }
        let Some(users) = &self.users else {
            return Ok(Visibility::Everything);
        };
        match users.judge(headers, from).await {
            Credibility::Known => Ok(Visibility::Everything),
            Credibility::Nobody if for_probes => Ok(Visibility::Outline),
            Credibility::Nobody | Credibility::Wrong => Err(text(StatusCode::UNAUTHORIZED, "Unauthorized\n")
                .with(header::WWW_AUTHENTICATE, r#"Basic realm="pgtether", charset="UTF-8""#)
                .fresh()),
            Credibility::Busy => Err(too_many("too many passwords are being checked\n", 1)),
        }
    }

    /// Adds the headers that the file has. They beat ours: whoever wrote them knows why.
    pub fn add_headers(&self, reply: &mut Reply) {
        for (name, value) in &self.headers {
            reply.headers_mut().insert(name.clone(), value.clone());
        }
    }
}

fn too_many(why: &'static str, seconds: u64) -> Reply {
    let mut reply = text(StatusCode::TOO_MANY_REQUESTS, why).fresh();
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    reply
}
