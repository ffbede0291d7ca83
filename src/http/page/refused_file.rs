//! What stands above the targets as long as a changed file is refused. `refusal.js` writes the same.

use std::fmt::{self, Display, Write};

use super::Escaped;
use crate::health::rfc3339;
use crate::status::process::LastRead;

/// So many problems are shown at once, the others when one asks.
const AT_ONCE: usize = 3;

/// How a file was last read, where that is something to be told.
#[derive(Debug)]
pub(super) struct RefusedFile {
    id: &'static str,
    what: &'static str,
    since: String,
    /// None where the file was taken, or there is none.
    problems: Vec<String>,
}

impl RefusedFile {
    pub(super) fn of(id: &'static str, what: &'static str, last: Option<&LastRead>) -> Self {
        let (since, problems) = match last {
            Some(LastRead::Refused { since, problems, .. }) => {
                (rfc3339(*since).unwrap_or_default(), problems.lines().map(str::to_owned).collect())
            }
            Some(LastRead::Taken { .. }) | None => (String::new(), Vec::new()),
        };
        RefusedFile { id, what, since, problems }
    }
}

impl Display for RefusedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.problems.split_at(self.problems.len().min(AT_ONCE));
        let hidden = |hidden: bool| if hidden { " hidden" } else { "" };
        write!(
            f,
            include_str!("refusal.html"),
            id = self.id,
            what = self.what,
            quiet = hidden(self.problems.is_empty()),
            since = self.since,
            first = items(first),
            folded = hidden(rest.is_empty()),
            more = format_args!("and {} more", rest.len()),
            rest = items(rest),
        )
    }
}

fn items(problems: &[String]) -> String {
    let mut items = String::new();
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = write!(items, "<li>{}</li>", Escaped(problem));
    }
    items
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn shown(last: Option<LastRead>) -> String {
        RefusedFile::of("config", "configuration", last.as_ref()).to_string()
    }

    fn refused(at: SystemTime, problems: &str) -> LastRead {
        let mut last = LastRead::Taken { at: SystemTime::UNIX_EPOCH };
        last.refuse(at, problems.to_owned());
        last
    }

    #[test]
    fn a_file_that_was_taken_or_is_not_there_is_not_spoken_of() {
        for last in [None, Some(LastRead::Taken { at: SystemTime::UNIX_EPOCH })] {
            let html = shown(last);
            assert!(
                html.starts_with("<section id=\"config\" class=\"refused\" role=\"alert\" hidden>"),
                "{html}"
            );
        }
    }

    #[test]
    fn the_first_problems_are_shown_the_others_folded_and_none_is_html() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        let html = shown(Some(refused(at, "one\n<b>two</b>\nthree\nfour\nfive")));
        assert!(html.contains("role=\"alert\">"), "{html}");
        assert!(
            html.contains("<ul><li>one</li><li>&lt;b&gt;two&lt;/b&gt;</li><li>three</li></ul>"),
            "{html}"
        );
        assert!(html.contains("<details><summary>and 2 more</summary><ul><li>four</li>"), "{html}");
        assert!(html.contains("1970-01-01T00:01:00"), "{html}");
        let few = shown(Some(refused(at, "one")));
        assert!(few.contains("<details hidden>"), "{few}");
    }
}
