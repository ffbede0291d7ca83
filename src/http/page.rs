//! `/`: what a person sees who opens the address. One document with its style, script and all targets in it; nothing is
//! loaded from elsewhere. The script then follows `/api/v1/targets`; without scripts the page asks for itself again.
//!
//! [`Cells`] and `page/row.js` write the same cells: the first paint needs no script, what follows no server.

mod refused_file;

use std::fmt::{self, Display, Write};
use std::sync::LazyLock;
use std::time::Duration;

use openssl::base64::encode_block;
use openssl::sha::sha256;

use self::refused_file::RefusedFile;
use super::App;
use crate::health::Status;
use crate::reason::Reason;
use crate::status::pool::{ClientState, PoolStatus, ServerState};
use crate::status::process::ProcessStatus;
use crate::status::{Moment, State, TargetStatus, View};

const STYLE: &str = include_str!("page/page.css");

/// So many rows fill a tall screen. The script makes the rest faster than a browser reads them, and only those without
/// scripts are shown what the server wrote.
const FIRST: usize = 30;

/// In the order of its parts. It runs where it stands, in the head: a module would wait for all of the page before it
/// asks its first question.
const SCRIPT: &str = concat!(
    "(async () => {\n\"use strict\";\n",
    include_str!("page/format.js"),
    include_str!("page/chart.js"),
    include_str!("page/history.js"),
    include_str!("page/row.js"),
    include_str!("page/refusal.js"),
    include_str!("page/fleet.js"),
    include_str!("page/controls.js"),
    include_str!("page/page.js"),
    "})();\n",
);

/// Only the page's own style and script, named by their hashes, and its own server to ask.
pub(super) fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = |text: &str| encode_block(&sha256(text.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT),
        )
    });
    &POLICY
}

/// The page as of `now`, problems first.
pub(super) fn render(app: &App, process: &ProcessStatus, now: Moment) -> String {
    let (overall, first, rest) = app.board.look(now, |views| {
        let overall = Status::overall(views);
        let mut views: Vec<_> = views.iter().collect();
        // Stable: targets of one kind stay in the order of their names.
        views.sort_by_key(|view| rank(view));
        let (first, rest) = views.split_at(views.len().min(FIRST));
        (overall, rows(app, first), rows(app, rest))
    });
    format!(
        include_str!("page/page.html"),
        overall = overall.as_str(),
        service = Escaped(&process.service),
        style = STYLE,
        script = SCRIPT,
        first = first,
        rest = rest,
        blank = Cells::default(),
        telemetry = Escaped(app.web.telemetry_path.trim_start_matches('/')),
        version = Escaped(app.web.version),
        refused_config = RefusedFile::of("config", "configuration", Some(&process.config)),
        refused_web_config = RefusedFile::of("web-config", "web configuration", process.web_config.as_ref()),
    )
}

fn rows(app: &App, views: &[&View<'_>]) -> String {
    let mut rows = String::new();
    for view in views {
        // Writing to a String cannot fail.
        let _ = write!(rows, "{}", Cells::of(app, view, app.reconnect_path(view)));
    }
    rows
}

/// What comes first: what fails, then what is wrong with the rest.
fn rank(view: &View<'_>) -> (bool, u8) {
    let failing = Status::of(view, view.status.tuning.required) == Status::Failing;
    let state = match view.state() {
        State::Down => 0,
        State::Degraded => 1,
        State::Starting => 2,
        State::Sleeping => 3,
        State::Up => 4,
    };
    (!failing, state)
}

/// The texts of a target's row. Without any it is the pattern that the script fills in for targets that are new.
#[derive(Default)]
struct Cells {
    name: String,
    optional: &'static str,
    location: String,
    used: String,
    waiting: String,
    state: &'static str,
    since: String,
    uptime: String,
    age: String,
    reconnects: String,
    ping: String,
    login: String,
    breaker: &'static str,
    next: String,
    reason: &'static str,
    remedy: &'static str,
    detail: String,
    order: String,
}

impl Cells {
    fn of(app: &App, view: &View<'_>, reconnect_path: Option<String>) -> Self {
        let status = view.status;
        let reason = view.reason();
        let location = status.location.as_ref();
        let wait = view.next_attempt().map(|at| format!("in {}", InOneUnit(at.since(view.now))));
        Cells {
            name: status.name.as_str().to_owned(),
            optional: if status.tuning.required { "" } else { "optional" },
            location: location.map(|p| format!("{}:{}/{}", p.host, p.port, p.database)).unwrap_or_default(),
            used: view.pool.map(used).unwrap_or_default(),
            waiting: view.pool.map(waiting).unwrap_or_default(),
            state: view.state().as_str(),
            since: format!("for {}", InOneUnit(view.now.since(view.since()))),
            uptime: outages(app, view),
            age: Maybe(view.connection_age().map(InOneUnit)).to_string(),
            reconnects: status.counters.reconnects.to_string(),
            ping: Maybe(last_ping(status)).to_string(),
            login: Maybe(status.last_phases.map(|phases| Millis(phases.total()))).to_string(),
            breaker: status.breaker.state().as_str(),
            next: Maybe(wait).to_string(),
            reason: reason.map(Reason::as_str).unwrap_or_default(),
            remedy: view.remedy().unwrap_or_default(),
            detail: view.detail().unwrap_or_default().to_owned(),
            order: reconnect_path.map(|path| format!("try now: POST {path}")).unwrap_or_default(),
        }
    }
}

/// How much of the last day the target was up, or of what is known of that, where it is not all.
fn outages(app: &App, view: &View<'_>) -> String {
    let [_, day, ..] = app.board.uptime(view);
    let length = match day.known() {
        known @ ..0.99 => format!("of {}", InOneUnit(Duration::from_secs_f64(known * 86_400.0))),
        _ => "in 24 h".to_owned(),
    };
    match day.ratio() {
        Some(ratio) if ratio < 1.0 => format!("{} {length}", ShareUp(ratio)),
        _ => String::new(),
    }
}

/// A share in percent, rounded down: what was not all is not shown as all.
pub(super) struct ShareUp(pub f64);

impl Display for ShareUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} %", ((self.0 * 1e6).floor() / 100.0).floor() / 100.0)
    }
}

/// How much of the pool is taken.
fn used(pool: &PoolStatus) -> String {
    let paused = if pool.paused { ", paused" } else { "" };
    format!("pool: {} of {} in use{paused}", pool.servers(ServerState::Active), pool.size)
}

/// Who needs a session and has none.
fn waiting(pool: &PoolStatus) -> String {
    match pool.clients(ClientState::Waiting) {
        0 => String::new(),
        some => format!("{some} {}", ClientState::Waiting.as_str()),
    }
}

/// The last ping of the session in hand.
fn last_ping(status: &TargetStatus) -> Option<String> {
    status.held()?;
    match status.pings.iter().last() {
        Some(None) => Some("failed".to_owned()),
        _ => status.last_ping.map(|took| Millis(took).to_string()),
    }
}

impl Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            include_str!("page/row.html"),
            name = Escaped(&self.name),
            optional = self.optional,
            location = Escaped(&self.location),
            used = self.used,
            waiting = self.waiting,
            state = self.state,
            since = self.since,
            uptime = self.uptime,
            age = self.age,
            reconnects = self.reconnects,
            ping = self.ping,
            login = self.login,
            breaker_class = self.breaker,
            breaker = self.breaker.replace('_', " "),
            next = self.next,
            quiet = if self.reason.is_empty() { " hidden" } else { "" },
            reason = self.reason.replace('_', " "),
            remedy = Escaped(self.remedy),
            detail = Escaped(&self.detail),
            order = Escaped(&self.order),
        )
    }
}

/// Text that means nothing to HTML.
pub(super) struct Escaped<'a>(pub &'a str);

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
struct InOneUnit(Duration);

impl Display for InOneUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..120 => write!(f, "{} s", self.0.as_secs()),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds @ 7200..172_800 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// A time in milliseconds with three digits that count.
struct Millis(Duration);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs_f64() * 1000.0 {
            ms @ ..10.0 => write!(f, "{ms:.2} ms"),
            ms @ ..100.0 => write!(f, "{ms:.1} ms"),
            ms @ ..1000.0 => write!(f, "{ms:.0} ms"),
            ms => write!(f, "{:.2} s", ms / 1000.0),
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
    fn style_and_script_end_where_the_page_says_so() {
        for (text, end) in [(STYLE, "</style"), (SCRIPT, "</script"), (SCRIPT, "<!--")] {
            assert!(!text.contains(end), "{end}");
        }
    }

    #[test]
    fn the_script_makes_no_html_and_asks_nobody_else() {
        for word in
            ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "://"]
        {
            assert!(!SCRIPT.contains(word), "{word}");
        }
    }

    #[test]
    fn nothing_of_a_name_is_html() {
        let hostile = "<script>'\"&</script>";
        let expected = "&lt;script&gt;&#39;&quot;&amp;&lt;/script&gt;";
        assert_eq!(Escaped(hostile).to_string(), expected);
    }

    #[test]
    fn spans_have_one_unit() {
        let span = |seconds| InOneUnit(Duration::from_secs(seconds)).to_string();
        assert_eq!(span(0), "0 s");
        assert_eq!(span(119), "119 s");
        assert_eq!(span(120), "2 min");
        assert_eq!(span(7199), "119 min");
        assert_eq!(span(7200), "2 h");
        assert_eq!(span(200_000), "2 days");
    }

    #[test]
    fn shares_are_rounded_down() {
        let shown = [1.0, 0.999_999, 0.123_456, 0.0].map(|share| ShareUp(share).to_string());
        assert_eq!(shown, ["100.00 %", "99.99 %", "12.34 %", "0.00 %"]);
    }

    #[test]
    fn milliseconds_have_three_digits() {
        let millis = |micros| Millis(Duration::from_micros(micros)).to_string();
        assert_eq!(millis(412), "0.41 ms");
        assert_eq!(millis(3_456), "3.46 ms");
        assert_eq!(millis(34_560), "34.6 ms");
        assert_eq!(millis(345_600), "346 ms");
        assert_eq!(millis(1_234_000), "1.23 s");
    }
}
