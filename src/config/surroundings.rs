//! What libpq would take from the environment and the home directory, and pgtether does not.

use std::path::Path;

use super::expand::Env;

/// Those that say where to connect, and as whom.
const PLACES: &[&str] = &["PGHOST", "PGPORT", "PGDATABASE", "PGUSER"];
/// Those that lead to a password.
const PASSWORDS: &[&str] = &["PGPASSWORD", "PGPASSFILE"];
/// In the home directory; libpq reads it unless `PGPASSFILE` names another file.
const PASSFILE: &str = ".pgpass";

/// What is there and has no effect, by its name alone; `None` where there is nothing.
pub fn unused(env: Env<'_>, exists: &dyn Fn(&Path) -> bool) -> Option<String> {
    let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
    let mut found: Vec<&str> = PLACES.iter().chain(PASSWORDS).copied().filter(|name| is_set(name)).collect();
    let at_home = || env("HOME").is_some_and(|home| exists(&Path::new(&home).join(PASSFILE)));
    if !is_set("PGPASSFILE") && at_home() {
        found.push("~/.pgpass");
    }
    (!found.is_empty()).then(|| {
        format!(
            "not used, unlike by libpq: {}. Write host and user into the connection string, and the password there or \
             into password_file",
            found.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn told(set: &[(&str, &str)], files: &[&str]) -> Option<String> {
        let env =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        unused(&env, &|path| files.iter().any(|file| path == Path::new(file)))
    }

    #[test]
    fn what_is_set_and_has_no_effect_is_named_without_its_value() {
        let all =
            [("PGPASSWORD", "hunter2"), ("PGHOST", "db.example"), ("PGUSER", "app"), ("HOME", "/home/app")];
        let text = told(&all, &["/home/app/.pgpass"]).unwrap();
        assert!(
            text.starts_with("not used, unlike by libpq: PGHOST, PGUSER, PGPASSWORD, ~/.pgpass. "),
            "{text}"
        );
        for value in ["hunter2", "db.example", "/home/app"] {
            assert!(!text.contains(value), "{text}");
        }
    }

    #[test]
    fn nothing_is_told_of_what_libpq_would_not_take_either() {
        assert_eq!(told(&[("HOME", "/home/app"), ("PGHOST", "")], &["/root/.pgpass"]), None);
        assert_eq!(told(&[], &["/home/app/.pgpass", ".pgpass"]), None, "nobody's home");
        let other = told(&[("HOME", "/home/app"), ("PGPASSFILE", "/pw")], &["/home/app/.pgpass"]).unwrap();
        assert!(other.contains("PGPASSFILE") && !other.contains("~"), "{other}");
    }
}
