//! The URI syntax: `postgresql://user:password@host:port,host:port/database?keyword=value&…`.
//!
//! Splits as libpq does, which is not as RFC 3986 does: several hosts, no fragment, `+` is no space. Knows nothing of
//! what the keywords mean.

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::{Findings, Mistake, Setting, Split, table};

/// What follows the scheme, if the text is a URI.
pub(super) fn after_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// The remedy for strings that are neither a URI nor keywords, but a known tool's form.
pub(super) fn foreign(text: &str) -> Option<&'static str> {
    let lower = text.get(..text.len().min(64)).unwrap_or(text).to_ascii_lowercase();
    if text.starts_with(['"', '\'']) {
        return Some(
            "the connection string begins with a quotation mark: write it without the quotes around it",
        );
    }
    if lower.starts_with("psql ") {
        return Some("this is a command line: leave out `psql` and the quotes, keep the connection string");
    }
    if lower.starts_with("jdbc:") {
        return Some(
            "this is JDBC's form: write postgresql://user:password@host:port/database, without `jdbc:`",
        );
    }
    let first = lower.split_ascii_whitespace().next().unwrap_or_default();
    if first.starts_with("host=") && first.contains(';') || first.starts_with("server=") {
        return Some("this is ADO.NET's form: write postgresql://user:password@host:port/database");
    }
    let scheme = lower.split_once("://")?.0;
    match scheme {
        "postgresql" | "postgres" => Some("write the scheme in lower case: postgresql://"),
        _ if scheme.starts_with("postgresql+") || scheme.starts_with("postgres+") => {
            Some("this is SQLAlchemy's form: write postgresql:// without `+` and the driver's name")
        }
        _ if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
            Some("the scheme is not PostgreSQL's: a URI begins with postgresql:// or postgres://")
        }
        _ => None,
    }
}

/// Said in place of everything else when the string is probably mis-split.
pub(super) fn stray_at() -> Mistake {
    Mistake {
        keyword: None,
        message: "an `@` is not percent-encoded: where it belongs to the user name or the password, write `@` as \
                  `%40`, `/` as `%2F` and `?` as `%3F`; what else may be wrong is not shown, because it may be a \
                  piece of the password"
            .to_owned(),
    }
}

/// Splits what follows the scheme.
pub(super) fn split(rest: &str, findings: &mut Findings) -> Split {
    let (userinfo, rest) = userinfo(rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let mut reader = UriReader { settings: Vec::new(), findings };
    if let Some(userinfo) = userinfo {
        reader.userinfo(userinfo);
    }
    reader.hosts(authority);
    reader.store("dbname", path.strip_prefix('/').unwrap_or_default());
    if let Some(query) = query {
        reader.query(query);
    }
    if authority.contains('@') || path.contains('@') || userinfo.is_some_and(holds_query) {
        let Mistake { keyword, message } = stray_at();
        reader.findings.problem(keyword.as_deref(), message);
    }
    let stray_at = rest.contains('@') || authority.contains('@') || userinfo.is_some_and(holds_query);
    Split { stray_at, ..Split::new(reader.settings) }
}

/// User and password, up to the first `@`, which must come before any `/`.
fn userinfo(rest: &str) -> (Option<&str>, &str) {
    match rest.find(['@', '/']) {
        Some(at) if rest[at..].starts_with('@') => (Some(&rest[..at]), &rest[at + 1..]),
        _ => (None, rest),
    }
}

/// Whether it is rather `host?keyword=value` whose value holds an `@`.
fn holds_query(userinfo: &str) -> bool {
    let user = userinfo.split(':').next().unwrap_or_default();
    let Some((_, query)) = userinfo.split_once('?') else {
        return false;
    };
    let known = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| table::find(name).is_some());
    user.contains('?') || query.split('&').any(known)
}

struct UriReader<'r> {
    settings: Vec<Setting>,
    findings: &'r mut Findings,
}

impl UriReader<'_> {
    fn userinfo(&mut self, userinfo: &str) {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        self.store("user", user);
        self.store("password", password);
    }

    /// `host:port,[v6]:port`: the two lists that libpq makes of it.
    fn hosts(&mut self, authority: &str) {
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for one in authority.split(',') {
            let (host, port) = match one.strip_prefix('[') {
                Some(bracketed) => self.bracketed(bracketed),
                None => one.split_once(':').unwrap_or((one, "")),
            };
            hosts.push(host);
            ports.push(port);
        }
        self.store("host", &hosts.join(","));
        self.store("port", &ports.join(","));
    }

    fn bracketed<'t>(&mut self, text: &'t str) -> (&'t str, &'t str) {
        let Some((host, rest)) = text.split_once(']') else {
            self.findings.problem(Some("host"), "a `[` of an IPv6 address has no `]`");
            return ("", "");
        };
        if host.is_empty() {
            self.findings.problem(Some("host"), "the IPv6 address between `[` and `]` is empty");
        }
        if !rest.is_empty() && !rest.starts_with(':') {
            self.findings.problem(Some("host"), "after the `]` of an IPv6 address only `:port` may follow");
        }
        (host, rest.strip_prefix(':').unwrap_or_default())
    }

    fn query(&mut self, query: &str) {
        // libpq forgives one `&` at the end, and so copies of its strings may have it.
        let query = query.strip_suffix('&').filter(|q| !q.is_empty()).unwrap_or(query);
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                self.findings.problem(
                    None,
                    "a parameter after the `?` has no `=`: write keyword=value, and an `&` inside of a value as `%26`",
                );
                continue;
            };
            let Some(name) = self.decode("a keyword after the `?`", None, name) else {
                continue;
            };
            let known = table::find(&name).map(|row| row.keyword);
            let what = known.map_or("a parameter's value".to_owned(), |k| format!("`{k}`"));
            if value.contains('=') {
                self.findings.problem(known, format!("{what} holds a second `=`: write it as `%3D`"));
                continue;
            }
            if let Some(value) = self.decode(&what, known, value) {
                self.settings.push(Setting { name, value });
            }
        }
    }

    /// A part of the URI itself; an empty one counts as not written.
    fn store(&mut self, keyword: &'static str, raw: &str) {
        if raw.is_empty() {
            return;
        }
        if let Some(value) = self.decode(&format!("`{keyword}`"), Some(keyword), raw) {
            self.settings.push(Setting { name: Zeroizing::new(keyword.to_owned()), value });
        }
    }

    fn decode(&mut self, what: &str, keyword: Option<&str>, raw: &str) -> Option<Zeroizing<String>> {
        let fault = match decode(raw) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        self.findings.problem(keyword, format!("{what} {fault}"));
        None
    }
}

fn decode(raw: &str) -> Result<Zeroizing<String>, &'static str> {
    // libpq 17 and newer cut or refuse blanks, older ones keep them: only the encoded form means one thing.
    if raw.contains(|c: char| c.is_ascii_whitespace()) {
        return Err("holds white space: write a blank as `%20`");
    }
    let is_escape = |tail: &str| tail.len() >= 2 && tail.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if !raw.split('%').skip(1).all(is_escape) {
        return Err("holds a `%` that two hexadecimal digits must follow: write a `%` itself as `%25`");
    }
    // Wiped wherever it is dropped: this may be the password.
    let mut bytes = Zeroizing::new(Vec::with_capacity(raw.len()));
    bytes.extend(percent_decode_str(raw));
    if bytes.contains(&0) {
        return Err("holds `%00`, which PostgreSQL cannot carry");
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err("is not UTF-8 once its percent escapes are decoded"),
    }
}
