//! The connection string that leads an application to a pool in place of its database.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::table::{Handling, Keyword, find};
use super::{Findings, Mistake, Setting, parse, split};
use crate::target::Secret;
use crate::target::pool::Listen;

/// What libpq escapes, and more.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A folder reads better with its slashes, and not all drivers decode them.
const ESCAPED_PATH: &AsciiSet = &ESCAPED.remove(b'/');
/// Words of `options` that say where the database is: the pool knows.
const ROUTES: [&str; 3] = ["endpoint=", "project=", "reference="];

/// The string in libpq's form: SQLAlchemy names its driver in the scheme (`postgresql+asyncpg://`).
pub fn without_driver(text: &str) -> Cow<'_, str> {
    match text.trim_start().split_once("://") {
        Some((scheme, rest)) => match scheme.split_once('+') {
            Some((postgres @ ("postgresql" | "postgres"), _)) => Cow::Owned(format!("{postgres}://{rest}")),
            Some(_) | None => Cow::Borrowed(text),
        },
        None => Cow::Borrowed(text),
    }
}

/// The same string with the pool's address. User, password, database and what drivers read stay. What is about the way to the
/// database goes: its hosts, TLS, and which of several servers is meant. `is_set` tells of variables that libpq reads.
pub fn redirect(text: &str, pool: &Listen, is_set: &dyn Fn(&str) -> bool) -> Result<Secret, Vec<Mistake>> {
    let plain = Zeroizing::new(without_driver(text).into_owned());
    let endpoint = parse(&plain)?.endpoint;
    let mut url = Zeroizing::new(String::with_capacity(2 * text.len() + 128));
    url.push_str(match text.trim().split_once("://") {
        // As it was written: drivers and frameworks go by it.
        Some((scheme, _)) if scheme.starts_with("postgres") => scheme,
        Some(_) | None => "postgresql",
    });
    url.push_str("://");
    url.extend(utf8_percent_encode(&endpoint.user, ESCAPED));
    if let Some(password) = &endpoint.password {
        url.push(':');
        url.extend(percent_encoding::percent_encode(password.expose(), ESCAPED));
    }
    let mut query = Query::of(pool, &mut url).map_err(|mistake| vec![mistake])?;
    url.push('/');
    url.extend(utf8_percent_encode(&endpoint.database, ESCAPED));
    // Parsed above: there is nothing left to find.
    query.keep(split(&plain, &mut Findings::default()).settings, is_set);
    if !query.0.is_empty() {
        write!(url, "?{}", query.0.as_str()).unwrap_or_default();
    }
    Ok(Secret::new(url.as_bytes()))
}

/// What follows the `?`.
struct Query(Zeroizing<String>);

impl Query {
    /// Writes the pool's address, or begins with it where it is no host.
    fn of(pool: &Listen, url: &mut String) -> Result<Query, Mistake> {
        let mut query = Query(Zeroizing::new(String::new()));
        url.push('@');
        match pool {
            Listen::Tcp(address) => url.push_str(&address.to_string()),
            Listen::Unix(path) => {
                let (folder, port) = socket(path).ok_or_else(|| Mistake {
                    keyword: None,
                    message: "clients find only sockets named .s.PGSQL.PORT, such as unix:/run/pgtether/.s.PGSQL.6432"
                        .to_owned(),
                })?;
                query.add("host", &utf8_percent_encode(folder, ESCAPED_PATH).to_string());
                query.add("port", port);
            }
        }
        Ok(query)
    }

    fn keep(&mut self, settings: Vec<Setting>, is_set: &dyn Fn(&str) -> bool) {
        let mut tls = is_set("PGSSLMODE").then_some("sslmode");
        for Setting { name, value } in settings {
            let Some(row) = find(&name) else {
                continue;
            };
            match row.handling {
                // SQLAlchemy gives asyncpg its own word, and knows no other.
                Handling::Used(Keyword::Ssl, _) if value.as_str() != "true" => tls = Some("ssl"),
                Handling::Used(Keyword::SslMode | Keyword::RequireSsl | Keyword::Ssl, _) => {
                    tls = Some("sslmode");
                }
                Handling::Used(Keyword::Options, _) => {
                    let rest = without_routes(&value);
                    if !rest.is_empty() {
                        self.add(&name, &utf8_percent_encode(&rest, ESCAPED).to_string());
                    }
                }
                handling if stays(&name, handling) => {
                    self.add(&name, &utf8_percent_encode(&value, ESCAPED).to_string());
                }
                _ => {}
            }
        }
        // The pool is on this machine. It has TLS for those whose code insists, without a certificate that anybody knows.
        if let Some(keyword) = tls {
            self.add(keyword, "disable");
        }
        if is_set("PGCHANNELBINDING") {
            self.add("channel_binding", "disable");
        }
    }

    fn add(&mut self, name: &str, escaped: &str) {
        let sign = if self.0.is_empty() { "" } else { "&" };
        write!(self.0, "{sign}{name}={escaped}").unwrap_or_default();
    }
}

/// Whether a keyword means the same to a pool.
fn stays(name: &str, handling: Handling) -> bool {
    match handling {
        Handling::Used(keyword, _) => matches!(
            keyword,
            Keyword::ApplicationName
                | Keyword::FallbackApplicationName
                | Keyword::ConnectTimeout
                | Keyword::Keepalives
                | Keyword::KeepalivesIdle
                | Keyword::KeepalivesInterval
                | Keyword::KeepalivesCount
                | Keyword::TcpUserTimeout
        ),
        Handling::Harmless(_) | Handling::Either { .. } => {
            !["ssl", "gss", "krb"].iter().any(|way| name.starts_with(way))
        }
        Handling::Refused(_) => false,
    }
}

/// The words of `options` that are settings. A backslash keeps the blank behind it.
fn without_routes(options: &str) -> String {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend([Some('\\'), characters.next()].into_iter().flatten()),
            (blank, _) if blank.is_ascii_whitespace() => words.push(String::new()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    let is_route = |word: &String| word.is_empty() || ROUTES.iter().any(|route| word.starts_with(route));
    words.retain(|word| !is_route(word));
    words.join(" ")
}

/// A socket's folder and port, as clients name them.
fn socket(path: &Path) -> Option<(&str, &str)> {
    let port = path.file_name()?.to_str()?.strip_prefix(".s.PGSQL.")?;
    port.parse::<u16>().ok()?;
    Some((path.parent()?.to_str()?, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::{Host, SslMode};

    fn tcp() -> Listen {
        Listen::Tcp(([127, 0, 0, 1], 6432).into())
    }

    fn redirected(text: &str) -> String {
        to(text, &tcp(), &[])
    }

    fn to(text: &str, pool: &Listen, variables: &[&str]) -> String {
        let url = redirect(text, pool, &|name| variables.contains(&name))
            .unwrap_or_else(|e| panic!("{text}: {e:?}"));
        String::from_utf8(url.expose().to_vec()).unwrap()
    }

    #[test]
    fn user_password_and_database_stay_and_the_address_is_the_pools() {
        for (from, wanted) in [
            ("postgresql://app:sesame@db.example/shop", "postgresql://app:sesame@127.0.0.1:6432/shop"),
            ("postgres://app:sesame@db.example:5433/shop", "postgres://app:sesame@127.0.0.1:6432/shop"),
            (
                "postgresql://app:se%40s%2Fame@a,b:1/sh%20op",
                "postgresql://app:se%40s%2Fame@127.0.0.1:6432/sh%20op",
            ),
            ("postgresql://app@db.example", "postgresql://app@127.0.0.1:6432/app"),
            (
                "host=db.example user=app password='a b' dbname=shop",
                "postgresql://app:a%20b@127.0.0.1:6432/shop",
            ),
            (
                "postgresql://db.example/shop?user=app&password=sesame",
                "postgresql://app:sesame@127.0.0.1:6432/shop",
            ),
            (
                "postgresql+asyncpg://app:sesame@db.example/shop",
                "postgresql+asyncpg://app:sesame@127.0.0.1:6432/shop",
            ),
            (" postgresql://app@db.example/shop\n", "postgresql://app@127.0.0.1:6432/shop"),
        ] {
            assert_eq!(redirected(from), wanted, "{from}");
        }
    }

    #[test]
    fn what_is_about_the_way_to_the_database_goes_and_the_rest_stays() {
        let at = |query: &str| format!("postgresql://app:sesame@ep-x.neon.tech/shop{query}");
        let pooled = |query: &str| format!("postgresql://app:sesame@127.0.0.1:6432/shop{query}");
        for (from, wanted) in [
            ("?sslmode=require&channel_binding=require", "?sslmode=disable"),
            ("?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c&sslkey=/k&sslsni=0", "?sslmode=disable"),
            ("?sslmode=require&sslnegotiation=direct&ssl_min_protocol_version=TLSv1.3", "?sslmode=disable"),
            ("?ssl=true", "?sslmode=disable"),
            ("?ssl=require&prepared_statement_cache_size=9", "?prepared_statement_cache_size=9&ssl=disable"),
            ("?hostaddr=10.0.0.1&port=1&target_session_attrs=read-write&load_balance_hosts=random", ""),
            ("?gssencmode=disable&sslcompression=0&krbsrvname=x", ""),
            ("?options=endpoint%3Dep-x", ""),
            (
                "?options=endpoint%3Dep-x%20-c%20a%3D1%5C%20endpoint%3Dkept",
                "?options=-c%20a%3D1%5C%20endpoint%3Dkept",
            ),
            ("?application_name=web&connect_timeout=5", "?application_name=web&connect_timeout=5"),
            (
                "?keepalives_idle=9&pgbouncer=true&schema=a%26b",
                "?keepalives_idle=9&pgbouncer=true&schema=a%26b",
            ),
        ] {
            assert_eq!(redirected(&at(from)), pooled(wanted), "{from}");
        }
    }

    #[test]
    fn variables_that_ask_for_tls_are_overruled() {
        let url = "postgresql://app@localhost/shop";
        assert_eq!(to(url, &tcp(), &["PGSSLMODE"]), "postgresql://app@127.0.0.1:6432/shop?sslmode=disable");
        let both = to(url, &tcp(), &["PGSSLMODE", "PGCHANNELBINDING"]);
        assert_eq!(both, "postgresql://app@127.0.0.1:6432/shop?sslmode=disable&channel_binding=disable");
    }

    #[test]
    fn a_unix_socket_is_named_by_its_folder_and_port() {
        let pool = Listen::Unix("/tmp/p q/.s.PGSQL.5432".into());
        let url = to("postgresql://app@db.example/shop?application_name=web", &pool, &[]);
        assert_eq!(url, "postgresql://app@/shop?host=/tmp/p%20q&port=5432&application_name=web");
        let read = parse(&url).unwrap().endpoint;
        assert_eq!(read.hosts, [Host::Unix { dir: "/tmp/p q".into(), port: 5432 }]);
        let odd = redirect("postgresql://app@h/d", &Listen::Unix("/tmp/socket".into()), &|_| false);
        assert!(odd.unwrap_err()[0].message.contains(".s.PGSQL.PORT"));
    }

    #[test]
    fn what_cannot_be_read_is_told_without_its_password() {
        let told = redirect("postgresql://app:hunter2@h/d?sslmod=x", &tcp(), &|_| false).unwrap_err();
        assert!(told[0].message.contains("sslmod") && !format!("{told:?}").contains("hunter2"), "{told:?}");
        assert!(redirect("mysql+pymysql://h/d", &tcp(), &|_| false).is_err());
    }

    #[test]
    fn the_drivers_name_is_taken_out_of_the_scheme() {
        for (text, plain) in [
            ("postgresql+psycopg2://h/d?a=b://c", "postgresql://h/d?a=b://c"),
            ("postgres+asyncpg://h", "postgres://h"),
            ("mysql+pymysql://h", "mysql+pymysql://h"),
            ("postgresql://a+b@h", "postgresql://a+b@h"),
            ("host=a+b", "host=a+b"),
        ] {
            assert_eq!(without_driver(text), plain);
        }
    }

    proptest! {
        #[test]
        fn any_credentials_come_back_as_they_were(user in "[^\0\\p{Cc}]{1,20}", password in "[^\0]{1,20}", name in "[^\0\\p{Cc}]{1,20}") {
            let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let from = format!("postgresql://{}:{}@db.example/{}", escaped(&user), escaped(&password), escaped(&name));
            let before = parse(&from).unwrap().endpoint;
            let after = parse(&redirected(&from)).unwrap().endpoint;
            prop_assert_eq!((&after.user, &after.password, &after.database), (&before.user, &before.password, &before.database));
            prop_assert_eq!(after.tls.mode, SslMode::Prefer);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = redirect(&text, &tcp(), &|_| true);
        }
    }
}
