//! What the command finds in its environment. Pure.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;

use super::Reached;
use crate::config::DATABASE_URL;
use crate::target::conninfo;

/// The database's own connection string, for those who need a session of their own (migrations, LISTEN).
const ORIGINAL_URL: &str = "PGTETHER_DATABASE_URL";
/// Where pgtether's `/health` and `/metrics` are.
const WEB_URL: &str = "PGTETHER_WEB_URL";

/// What each variable is that the command finds.
pub const VARIABLES: [(&str, &str); 3] = [
    (DATABASE_URL, "The connection string of the database; the command finds the one of the pool there."),
    (ORIGINAL_URL, "For the command: the database's own connection string, for sessions of its own."),
    (WEB_URL, "For the command: where pgtether's status page, /health and /metrics are."),
];

/// Variables that the command finds changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment(Vec<(&'static str, OsString)>);

impl Environment {
    /// For a command beside this pgtether. `is_set` tells of further variables that are there.
    pub fn beside(url: &str, at: &Reached, is_set: &dyn Fn(&str) -> bool) -> Result<Environment, String> {
        let pooled = conninfo::redirect(url, &at.pool, is_set).map_err(|mistakes| {
            let told = mistakes.iter().map(|mistake| format!("{DATABASE_URL}: {mistake}"));
            told.collect::<Vec<_>>().join("\n")
        })?;
        let Environment(mut changes) = Environment::alone(url);
        changes.push((DATABASE_URL, OsString::from_vec(pooled.expose().to_vec())));
        changes.extend(at.web.as_ref().map(|web| (WEB_URL, OsString::from(web))));
        Ok(Environment(changes))
    }

    /// For a command without one.
    pub fn alone(url: &str) -> Environment {
        Environment(vec![(ORIGINAL_URL, OsString::from(url))])
    }

    pub fn changes(&self) -> impl Iterator<Item = (&'static str, &OsString)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

/// The values hold a password.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::pool::Listen;

    const URL: &str = "postgresql://app:hunter2@ep-x.neon.tech/shop?sslmode=require&channel_binding=require";

    fn reached() -> Reached {
        let web = Some("http://127.0.0.1:10432".to_owned());
        Reached { pool: Listen::Tcp(([127, 0, 0, 1], 6432).into()), web }
    }

    fn given(environment: &Environment) -> Vec<(&'static str, &str)> {
        environment.changes().map(|(name, value)| (name, value.to_str().unwrap())).collect()
    }

    #[test]
    fn the_command_finds_the_pool_the_original_and_the_web_port() {
        let environment = Environment::beside(URL, &reached(), &|_| false).unwrap();
        assert_eq!(
            given(&environment),
            [
                ("PGTETHER_DATABASE_URL", URL),
                ("DATABASE_URL", "postgresql://app:hunter2@127.0.0.1:6432/shop?sslmode=disable"),
                ("PGTETHER_WEB_URL", "http://127.0.0.1:10432"),
            ]
        );
        assert!(!format!("{environment:?}").contains("hunter2"));
    }

    #[test]
    fn without_pgtether_the_command_keeps_its_url() {
        let environment = Environment::alone(URL);
        assert_eq!(given(&environment), [("PGTETHER_DATABASE_URL", URL)]);
    }

    #[test]
    fn a_url_that_cannot_be_changed_is_told_without_its_password() {
        let url = "postgresql://app:hunter2@h/d?sslmod=x";
        let told = Environment::beside(url, &reached(), &|_| false).unwrap_err();
        assert!(told.starts_with("DATABASE_URL: ") && !told.contains("hunter2"), "{told}");
    }
}
