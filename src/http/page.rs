//! `/`: what a person sees who opens the address. Rendered here, nothing loaded from elsewhere, no script.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::App;
use crate::health::Status;
use crate::status::{Moment, State, View};

/// Only the page's own style sheet, named by its hash.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-W3Mbsd/T/ydBrL321UUfrt/+GewTRhPou/xGVOnxItE='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("page.css");

/// The page as of `now`. It asks for itself again every few seconds.
pub(super) fn render(app: &App, now: Moment) -> String {
    let service = app.daemon.service();
    let (overall, rows) = app.board.look(now, |views| {
        let rows: String = views.iter().map(row).collect();
        (Status::overall(views), rows)
    });
    let (service, overall) = (Escaped(&service), overall.as_str());
    let (version, telemetry) = (Escaped(app.web.version), Escaped(&app.web.telemetry_path));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n\
         <title>{overall} · {service} · pgtether</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{service}</h1><p class=\"overall {overall}\">{overall}</p></header>\n\
         <main>\n<table>\n<thead><tr><th scope=\"col\">Target</th><th scope=\"col\">State</th>\
         <th scope=\"col\">For</th><th scope=\"col\">Session age</th><th scope=\"col\">Ping</th>\
         <th scope=\"col\">Reconnects</th><th scope=\"col\">Breaker</th><th scope=\"col\">Next attempt</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</main>\n\
         <footer><nav><a href=\"{telemetry}\">Metrics</a> <a href=\"/health\">Health</a> \
         <a href=\"/api/v1/targets\">Targets as JSON</a> <a href=\"/livez?verbose\">Liveness</a> \
         <a href=\"/readyz?verbose\">Readiness</a></nav>\
         <p>pgtether {version}</p></footer>\n</body>\n</html>\n"
    )
}

fn row(view: &View<'_>) -> String {
    let status = view.status;
    let state = view.state();
    let lasted = Span(view.now.since(view.since()));
    let age = Maybe(view.connection_age().map(Span));
    let ping = Maybe(status.last_ping.map(|took| format!("{:.2} ms", took.as_secs_f64() * 1000.0)));
    let wait = view.next_attempt().map(|at| Span(at.since(view.now)));
    let next = Maybe(wait.map(|wait| format!("in {wait}")));
    let mut row = format!(
        "<tr><th scope=\"row\">{}{}</th><td><span class=\"state {state}\">{state}</span></td><td>{lasted}</td>\
         <td>{age}</td><td>{ping}</td><td>{}</td><td>{}</td><td>{next}</td></tr>\n",
        Escaped(status.name.as_str()),
        if status.tuning.required { "" } else { " <small>optional</small>" },
        status.counters.reconnects,
        status.breaker.state().as_str().replace('_', " "),
        state = state.as_str(),
    );
    if let (Some(reason), false) = (view.reason(), state == State::Up) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            row,
            "<tr class=\"why\"><td colspan=\"8\"><strong>{}</strong>: {}</td></tr>",
            Escaped(reason.as_str()),
            Escaped(reason.remedy()),
        );
    }
    row
}

/// Text that means nothing to HTML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// A time span in one unit, the largest that gives two digits where one can.
struct Span(Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..120 => write!(f, "{} s", self.0.as_secs()),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds @ 7200..172_800 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// A dash where there is nothing.
struct Maybe<T>(Option<T>);

impl<T: Display> Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("–"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_hash_of_the_style_sheet() {
        let hash = openssl::base64::encode_block(&openssl::sha::sha256(STYLE.as_bytes()));
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "the hash is now {hash}");
    }

    #[test]
    fn nothing_of_a_name_is_html() {
        let hostile = "<script>'\"&</script>";
        let expected = "&lt;script&gt;&#39;&quot;&amp;&lt;/script&gt;";
        assert_eq!(Escaped(hostile).to_string(), expected);
    }

    #[test]
    fn spans_have_one_unit() {
        let span = |seconds| Span(Duration::from_secs(seconds)).to_string();
        assert_eq!(span(0), "0 s");
        assert_eq!(span(119), "119 s");
        assert_eq!(span(120), "2 min");
        assert_eq!(span(7199), "119 min");
        assert_eq!(span(7200), "2 h");
        assert_eq!(span(200_000), "2 days");
    }
}
