//! How a server may ask who we are: as `require_auth` says, and not in a weaker way than it did before.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::scanner::Observed;
use crate::reason::SCRAM_BEFORE;
use crate::target::{AuthMethod, AuthMethods, Endpoint, Host, PasswordSource, SslMode, Target};

/// What one login holds its server to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthDemand {
    #[default]
    Any,
    /// `require_auth`.
    Listed(AuthMethods),
    /// It asked for SCRAM before.
    ScramAgain,
}

impl AuthDemand {
    /// Why the login must not go on, if so: called before what the server said is answered.
    pub fn objection(self, observed: &Observed) -> Option<String> {
        let method = match (observed.first_request, observed.authentication) {
            (Some(code), _) => AuthMethod::of_request(code)?,
            (None, Some(0)) => AuthMethod::None,
            (None, _) => return None,
        };
        let deed = method.deed();
        match self {
            AuthDemand::Listed(methods) if !methods.has(method) => {
                Some(format!("the server {deed}, and require_auth allows only: {}", methods.list()))
            }
            AuthDemand::ScramAgain if method != AuthMethod::ScramSha256 => Some(format!(
                "the server {deed}, {SCRAM_BEFORE}: somebody may pretend to be the server. If \
                 the change is meant, write require_auth with the new method into the connection string, or restart pgtether"
            )),
            AuthDemand::Any | AuthDemand::Listed(_) | AuthDemand::ScramAgain => None,
        }
    }
}

/// The servers that have asked for SCRAM, which proves that they know the password, too. One that asks for less afterwards
/// may be somebody else. Remembered while the process runs, by target.
#[derive(Debug, Default)]
pub struct ScramMemory(Mutex<HashMap<String, KnownServers>>);

/// Of one target, while who logs in there is the same.
#[derive(Debug)]
struct KnownServers {
    user: String,
    database: String,
    password: PasswordSource,
    hosts: HashSet<(String, u16)>,
}

impl KnownServers {
    fn is_of(&self, target: &Target, endpoint: &Endpoint) -> bool {
        self.user == endpoint.user && self.database == endpoint.database && self.password == target.password
    }
}

impl ScramMemory {
    /// What a login at that host of the connection string holds its server to.
    pub fn demand(&self, target: &Target, endpoint: &Endpoint, host: usize) -> AuthDemand {
        if let Some(methods) = endpoint.require_auth {
            return AuthDemand::Listed(methods);
        }
        let seen = self.known();
        let known = seen.get(target.name.as_str()).filter(|known| known.is_of(target, endpoint));
        match (known, place(endpoint, host)) {
            (Some(known), Some(place)) if known.hosts.contains(&place) => AuthDemand::ScramAgain,
            _ => AuthDemand::Any,
        }
    }

    /// A login there has succeeded.
    pub fn logged_in(&self, target: &Target, endpoint: &Endpoint, host: usize, observed: &Observed) {
        let Some(place) = place(endpoint, host) else { return };
        if observed.first_request.and_then(AuthMethod::of_request) != Some(AuthMethod::ScramSha256) {
            return;
        }
        let mut seen = self.known();
        let fresh = || KnownServers {
            user: endpoint.user.clone(),
            database: endpoint.database.clone(),
            password: target.password.clone(),
            hosts: HashSet::new(),
        };
        let known = seen.entry(target.name.to_string()).or_insert_with(fresh);
        if !known.is_of(target, endpoint) {
            *known = fresh();
        }
        known.hosts.insert(place);
    }

    /// Forgets what is known for other targets than these.
    pub fn keep(&self, targets: &[Arc<Target>]) {
        self.known().retain(|name, _| targets.iter().any(|target| target.name.as_str() == name));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, KnownServers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server is known by, where somebody could pretend to be it: not on a Unix socket, and not with a certificate that
/// is verified.
fn place(endpoint: &Endpoint, host: usize) -> Option<(String, u16)> {
    let is_verified = matches!(endpoint.tls.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    match endpoint.hosts.get(host)? {
        host @ Host::Tcp { .. } if !is_verified => Some((host.name(), host.port())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Source, sample};

    fn asked(code: u32) -> Observed {
        Observed { first_request: Some(code), ..Observed::default() }
    }

    fn scram() -> Observed {
        asked(10)
    }

    fn target(url: &str) -> (Target, Endpoint) {
        let target = sample::target("primary", url);
        match &target.source {
            Source::Inline(endpoint) => (target.clone(), endpoint.as_ref().clone()),
            Source::File(_) => panic!("there is none"),
        }
    }

    fn objection(demand: AuthDemand, observed: &Observed) -> String {
        demand.objection(observed).unwrap_or_default()
    }

    #[test]
    fn a_server_that_asks_in_a_way_that_is_not_listed_gets_no_answer() {
        let only = |list| AuthDemand::Listed(AuthMethods::parse(list).unwrap());
        let trusts = Observed { authentication: Some(0), ..Observed::default() };
        assert_eq!(objection(only("scram-sha-256"), &scram()), "");
        assert!(objection(only("scram-sha-256"), &asked(3)).contains("in clear text"));
        assert!(objection(only("!password"), &asked(3)).contains("allows only: md5,"));
        assert!(objection(only("!none"), &trusts).contains("without asking"));
        assert_eq!(objection(only("none"), &trusts), "");
        assert!(objection(only("none"), &asked(5)).contains("MD5"));
        let logged_in = Observed { authentication: Some(0), ..asked(10) };
        assert_eq!(objection(only("scram-sha-256"), &logged_in), "", "it has asked before it let us in");
        assert_eq!(objection(only("md5"), &Observed::default()), "", "it has said nothing yet");
        for demand in [AuthDemand::Any, only("!oauth")] {
            assert_eq!(objection(demand, &trusts), "");
        }
    }

    #[test]
    fn scram_once_seen_is_demanded_of_that_server_for_that_user_afterwards() {
        let memory = ScramMemory::default();
        let (target_, endpoint) = target("postgresql://app@a.example,b.example/shop?sslmode=require");
        let demand = |endpoint: &Endpoint, host| memory.demand(&target_, endpoint, host);
        assert_eq!(demand(&endpoint, 0), AuthDemand::Any);
        memory.logged_in(&target_, &endpoint, 0, &asked(3));
        assert_eq!(demand(&endpoint, 0), AuthDemand::Any, "it never asked for SCRAM");
        memory.logged_in(&target_, &endpoint, 0, &scram());
        assert_eq!(demand(&endpoint, 0), AuthDemand::ScramAgain);
        assert_eq!(demand(&endpoint, 1), AuthDemand::Any, "another server");
        assert!(objection(demand(&endpoint, 0), &asked(3)).contains("before"));
        let other = Endpoint { user: "other".to_owned(), ..endpoint.clone() };
        assert_eq!(demand(&other, 0), AuthDemand::Any);
        let methods = AuthMethods::parse("password").unwrap();
        let told = Endpoint { require_auth: Some(methods), ..endpoint.clone() };
        assert_eq!(demand(&told, 0), AuthDemand::Listed(methods), "who says what is right is believed");
        let file = Target { password: PasswordSource::File("/pw".into()), ..target_.clone() };
        assert_eq!(memory.demand(&file, &endpoint, 0), AuthDemand::Any, "another way to the password");
        memory.keep(&[]);
        assert_eq!(demand(&endpoint, 0), AuthDemand::Any);
    }

    #[test]
    fn a_server_that_has_proven_who_it_is_may_ask_as_it_likes() {
        let memory = ScramMemory::default();
        for url in
            ["postgresql://app@a.example/shop?sslmode=verify-full", "postgresql://app@/shop?host=/run/pg"]
        {
            let (target, endpoint) = target(url);
            memory.logged_in(&target, &endpoint, 0, &scram());
            assert_eq!(memory.demand(&target, &endpoint, 0), AuthDemand::Any, "{url}");
        }
    }
}
