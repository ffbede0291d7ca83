//! An endpoint in one line without its secrets: for people, and as a connection string.

use std::fmt::Write as _;

use super::words::{self, Choices, SSL_MODES};
use crate::target::{Endpoint, Host, RootCerts, SslMode};

impl Endpoint {
    /// `user@host:5432/database sslmode=require`; a `hostaddr` stands in parentheses behind its name.
    pub fn describe(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(address).collect();
        let mut line = format!("{}@{}/{}", self.user, hosts.join(","), self.database);
        if self.may_speak_tls() {
            // Writing to a String cannot fail.
            let _ = write!(line, " sslmode={}", self.tls.mode.as_str());
        }
        line
    }

    /// The connection string that means the same, keyword by keyword, but for what may be secret: password and `options`
    /// are left out. So are keywords at their defaults, and timings, which are keys of a target.
    pub fn conninfo(&self) -> String {
        let mut line = String::new();
        let mut add = |keyword: &str, value: String| {
            let blank = if line.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(line, "{blank}{keyword}={}", quoted(&value));
        };
        let list = |of: &dyn Fn(&Host) -> String| self.hosts.iter().map(of).collect::<Vec<_>>().join(",");
        add("host", list(&Host::name));
        if self.hosts.iter().any(|host| hostaddr(host).is_some()) {
            add("hostaddr", list(&|host| hostaddr(host).unwrap_or_default()));
        }
        add("port", list(&|host| host.port().to_string()));
        add("user", self.user.clone());
        add("dbname", self.database.clone());
        if self.may_speak_tls() {
            add("sslmode", self.tls.mode.as_str().to_owned());
        }
        if let RootCerts::File(path) = &self.tls.roots {
            add("sslrootcert", path.display().to_string());
        }
        if let Some(identity) = &self.tls.identity {
            add("sslcert", identity.cert.display().to_string());
            add("sslkey", identity.key.display().to_string());
        }
        if !self.tls.sni {
            add("sslsni", "0".to_owned());
        }
        let choices = [
            ("ssl_min_protocol_version", changed(self.tls.min_version, words::TLS_VERSIONS)),
            ("ssl_max_protocol_version", self.tls.max_version.and_then(|max| word(max, words::TLS_VERSIONS))),
            ("sslnegotiation", changed(self.tls.negotiation, words::NEGOTIATIONS)),
            ("channel_binding", changed(self.channel_binding, words::BINDINGS)),
            ("target_session_attrs", changed(self.session, words::SESSION_ATTRS)),
            ("load_balance_hosts", changed(self.load_balance, words::BALANCES)),
        ];
        for (keyword, word) in choices {
            if let Some(word) = word {
                add(keyword, word.to_owned());
            }
        }
        if let Some(methods) = self.require_auth {
            add("require_auth", methods.list());
        }
        if let Some(name) = &self.application_name {
            add("application_name", name.clone());
        }
        line
    }

    /// On a Unix socket TLS is never spoken, whatever the mode.
    fn may_speak_tls(&self) -> bool {
        self.hosts.iter().any(|host| matches!(host, Host::Tcp { .. }))
    }
}

fn word<T: PartialEq>(of: T, set: &Choices<T>) -> Option<&'static str> {
    set.iter().find(|(_, meaning)| *meaning == of).map(|(word, _)| *word)
}

/// The word of what is not the default.
fn changed<T: PartialEq + Default>(of: T, set: &Choices<T>) -> Option<&'static str> {
    (of != T::default()).then(|| word(of, set)).flatten()
}

/// Where it is dialled, if that is not its name.
fn hostaddr(host: &Host) -> Option<String> {
    let Host::Tcp { name, hostaddr, .. } = host else { return None };
    hostaddr.map(|address| address.to_string()).filter(|address| address != name)
}

/// As libpq's keyword strings have it.
fn quoted(value: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || "-_.,:/@+%[]".contains(c) || !c.is_ascii() && c.is_alphanumeric()
    };
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

impl SslMode {
    /// libpq's word for it.
    pub fn as_str(self) -> &'static str {
        word(self, SSL_MODES).unwrap_or_default()
    }
}

fn address(host: &Host) -> String {
    match host {
        Host::Unix { dir, port } => format!("{}:{port}", dir.display()),
        Host::Tcp { name, port, .. } => {
            let shown = if name.contains(':') { format!("[{name}]") } else { name.clone() };
            match hostaddr(host) {
                Some(address) => format!("{shown}({address}):{port}"),
                None => format!("{shown}:{port}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::target::conninfo::parse;

    #[test]
    fn what_is_shown_can_be_used_again_and_has_no_secret() {
        for (text, shown) in [
            (
                "postgresql://app:hunter2@db.example/shop",
                "host=db.example port=5432 user=app dbname=shop sslmode=require",
            ),
            (
                "postgresql://a@h1:1,[::1]:2/d?sslmode=verify-full&sslrootcert=/c/a%20b.pem&sslcert=c&sslkey=k&sslsni=0\
                 &target_session_attrs=read-write&load_balance_hosts=random&channel_binding=require\
                 &ssl_max_protocol_version=TLSv1.3&sslnegotiation=direct&application_name=it's&require_auth=!password&options=-c%20x.y%3Dhunter2",
                "host=h1,::1 port=1,2 user=a dbname=d sslmode=verify-full sslrootcert='/c/a b.pem' sslcert=c sslkey=k sslsni=0 \
                 ssl_max_protocol_version=TLSv1.3 sslnegotiation=direct channel_binding=require \
                 target_session_attrs=read-write load_balance_hosts=random \
                 require_auth=md5,gss,sspi,scram-sha-256,oauth,none application_name='it\\'s'",
            ),
            (
                "host=db,other hostaddr=10.0.0.1,10.0.0.2 user='a b' dbname='\\\\\\'' password=hunter2",
                "host=db,other hostaddr=10.0.0.1,10.0.0.2 port=5432,5432 user='a b' dbname='\\\\\\'' sslmode=require",
            ),
            ("postgresql://u@%2Frun%2Fpg:5433/d", "host=/run/pg port=5433 user=u dbname=d"),
        ] {
            let endpoint = parse(text).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}")).endpoint;
            assert_eq!(endpoint.conninfo(), shown, "{text}");
            assert!(!shown.contains("hunter2"));
            let mut again = parse(shown).unwrap_or_else(|mistakes| panic!("{shown}: {mistakes:?}")).endpoint;
            (again.password, again.options) = (endpoint.password.clone(), endpoint.options.clone());
            assert_eq!(again, endpoint, "{shown}");
        }
    }
}
