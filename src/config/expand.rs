//! `${NAME}` and `${NAME:-default}` in a value that is already parsed, so that no variable can change the structure
//! of the file around it. Messages name variables and never show what they hold.

use std::ffi::OsString;

/// The process's environment, as an argument: `&|name| std::env::var_os(name)`.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A value after expansion. It may be a secret: there is no Debug.
pub struct Expanded {
    pub text: String,
    /// The variables that it came from.
    pub names: Vec<String>,
}

/// Expands every variable; all that is wrong at once. `$${` stands for a literal `${`.
pub fn expand(text: &str, env: Env<'_>) -> Result<Expanded, Vec<String>> {
    let mut out = String::with_capacity(text.len());
    let mut names = Vec::new();
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((inside, tail)) = rest[at + 2..].split_once('}') else {
            wrong.push("`${` is not closed by `}`; write `$${` for a literal `${`".to_owned());
            rest = "";
            break;
        };
        match variable(inside, env) {
            Ok((name, value)) => {
                out.push_str(&value);
                names.push(name.to_owned());
            }
            Err(message) => wrong.push(message),
        }
        rest = tail;
    }
    out.push_str(rest);
    if wrong.is_empty() { Ok(Expanded { text: out, names }) } else { Err(wrong) }
}

/// What stands between the braces. As in a shell, `:-` also replaces a variable that is set to nothing.
fn variable<'a>(inside: &'a str, env: Env<'_>) -> Result<(&'a str, String), String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    if !name.bytes().next().is_some_and(starts) || !name.bytes().all(|b| starts(b) || b.is_ascii_digit()) {
        return Err(
            "`${…}` does not hold the name of an environment variable; write `$${` for a literal `${`".into(),
        );
    }
    if default.is_some_and(|d| d.contains("${")) {
        return Err(format!("the default of ${{{name}}} holds another variable, which is not supported"));
    }
    let value = env(name)
        .map(|value| value.into_string().map_err(|_| format!("environment variable {name} is not UTF-8")))
        .transpose()?;
    match (value, default) {
        (Some(value), None) => Ok((name, value)),
        (Some(value), Some(_)) if !value.is_empty() => Ok((name, value)),
        (_, Some(default)) => Ok((name, default.to_owned())),
        (None, None) => {
            Err(format!("environment variable {name} is not set: set it, or write ${{{name}:-default}}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<OsString> {
        match name {
            "HOST" => Some("db".into()),
            "EMPTY" => Some("".into()),
            "TRICK" => Some("${HOST}\n- name: evil".into()),
            _ => None,
        }
    }

    fn text(source: &str) -> Result<String, Vec<String>> {
        expand(source, &env).map(|e| e.text)
    }

    #[test]
    fn variables_defaults_and_escapes_expand() {
        let cases = [
            ("plain", "plain"),
            ("$HOST and $ and $$", "$HOST and $ and $$"),
            ("a-${HOST}-b", "a-db-b"),
            ("${HOST}${HOST}", "dbdb"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${NONE:-x:-y}", "x:-y"),
            ("${NONE:-}", ""),
            ("$${HOST}", "${HOST}"),
            ("p$$${HOST}", "p$${HOST}"),
        ];
        for (source, expected) in cases {
            assert_eq!(text(source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(text("${TRICK}").as_deref(), Ok("${HOST}\n- name: evil"));
    }

    #[test]
    fn every_unset_variable_is_named_at_once() {
        let wrong = text("${ONE} ${HOST} ${TWO}").unwrap_err();
        assert_eq!(
            wrong,
            [
                "environment variable ONE is not set: set it, or write ${ONE:-default}",
                "environment variable TWO is not set: set it, or write ${TWO:-default}",
            ]
        );
    }

    #[test]
    fn what_is_no_variable_is_refused_without_showing_it() {
        for source in ["${}", "${1A}", "${A B}", "${a.b}", "${HOST", "${A:-${B}}", "${p@ss}"] {
            let wrong = text(source).unwrap_err().join(" ");
            assert!(!wrong.contains("p@ss"), "{wrong}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf8_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let env = |_: &str| Some(OsString::from_vec(vec![0xff]));
        assert_eq!(expand("${X}", &env).err(), Some(vec!["environment variable X is not UTF-8".to_owned()]));
    }
}
