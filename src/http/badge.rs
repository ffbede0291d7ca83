//! `/badge/NAME.svg` and `.json`: a target's state, or how much of a time it was up, to show elsewhere.
//!
//! The JSON is the schema of shields.io's endpoint badge, which draws it in its own style.

use std::fmt::Write;

use hyper::header;
use hyper::{Response, StatusCode};
use serde_json::json;

use super::App;
use super::lifecycle::no_such_target;
use super::page::{Escaped, ShareUp};
use super::reply::{JSON, Reply, With, reply, text};
use crate::status::history::WINDOWS;
use crate::status::{Moment, State, View};

const SVG: &str = "image/svg+xml; charset=utf-8";
/// Of the pictures on a page, most are asked for again at each visit.
const KEEP: &str = "max-age=60";
const MARGIN: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadgeFormat {
    Svg,
    Json,
}

/// What a badge shows: the target's name, and this.
#[derive(Debug, PartialEq, Eq)]
struct Badge {
    message: String,
    color: &'static str,
}

/// White can be read on each of them.
const GREEN: &str = "2e7d32";
const AMBER: &str = "a65300";
const RED: &str = "c62828";
const BLUE: &str = "1565c0";
const GREY: &str = "616161";

impl BadgeFormat {
    /// The target's name, and the format that its badge is asked for in.
    pub(super) fn of(file: &str) -> Option<(&str, Self)> {
        let svg = file.strip_suffix(".svg").map(|name| (name, BadgeFormat::Svg));
        svg.or_else(|| Some((file.strip_suffix(".json")?, BadgeFormat::Json)))
    }
}

impl Badge {
    fn of_state(state: State) -> Self {
        let color = match state {
            State::Up => GREEN,
            State::Degraded => AMBER,
            State::Sleeping => BLUE,
            State::Starting => GREY,
            State::Down => RED,
        };
        Badge { message: state.as_str().to_owned(), color }
    }

    /// `share` is of the time that is known; rounded down, so that an outage is never rounded away.
    fn of_uptime(share: Option<f64>) -> Self {
        let Some(share) = share else {
            return Badge { message: "unknown".to_owned(), color: GREY };
        };
        let color = match share {
            0.999.. => GREEN,
            0.99.. => AMBER,
            _ => RED,
        };
        let message = if share < 1.0 { ShareUp(share).to_string() } else { "100 %".to_owned() };
        Badge { message, color }
    }

    fn svg(&self, label: &str) -> String {
        let Badge { message, color } = self;
        let width = |text: &str| text.chars().map(pixels).sum::<usize>();
        let (left, right) = (width(label) + 2 * MARGIN, width(message) + 2 * MARGIN);
        let (label, message) = (Escaped(label), Escaped(message));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"20\" role=\"img\" aria-label=\"{label}: \
             {message}\"><title>{label}: {message}</title><rect width=\"{0}\" height=\"20\" rx=\"4\" fill=\"#424242\"/>\
             <path d=\"M{left} 0h{1}a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4h-{1}z\" fill=\"#{color}\"/>\
             <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">",
            left + right,
            right - 4,
        );
        for (start, wide, text) in [(0, left, &label), (left, right, &message)] {
            let (x, length) = (start + MARGIN, wide - 2 * MARGIN);
            // Writing to a String cannot fail.
            let _ = write!(out, "<text x=\"{x}\" y=\"14\" textLength=\"{length}\">{text}</text>");
        }
        out + "</g></svg>\n"
    }

    fn json(&self, label: &str) -> String {
        let Badge { message, color } = self;
        let wrong = matches!(*color, RED);
        json!({ "schemaVersion": 1, "label": label, "message": message, "color": color, "isError": wrong })
            .to_string()
            + "\n"
    }
}

pub(super) fn answer(app: &App, now: Moment, name: &str, format: BadgeFormat, query: &str) -> Reply {
    let window = match window(query) {
        Ok(window) => window,
        Err(help) => return text(StatusCode::BAD_REQUEST, help + "\n"),
    };
    let badge = |view: &View<'_>| match window {
        None => Badge::of_state(view.state()),
        Some(at) => {
            let uptime = app.board.uptime(view);
            Badge::of_uptime(uptime.get(at).and_then(|span| span.ratio()))
        }
    };
    let Some(badge) = app.board.look_at_one(name, now, badge) else {
        return no_such_target(app);
    };
    let label = match window.and_then(|at| WINDOWS.get(at)) {
        Some((window, _)) => format!("{name} {window}"),
        None => name.to_owned(),
    };
    let answer: Response<_> = match format {
        BadgeFormat::Svg => reply(StatusCode::OK, SVG, badge.svg(&label)),
        BadgeFormat::Json => reply(StatusCode::OK, JSON, badge.json(&label)),
    };
    answer.with(header::CACHE_CONTROL, KEEP)
}

/// Which of [`WINDOWS`] is asked for; the state, where none is. The error is a sentence for the client.
fn window(query: &str) -> Result<Option<usize>, String> {
    let mut asked = None;
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let known = WINDOWS.iter().position(|(window, _)| *window == value);
        match (&*key, known) {
            ("uptime", Some(window)) if asked.is_none() => asked = Some(window),
            _ => {
                let names = WINDOWS.map(|(window, _)| window).join(", ");
                return Err(format!(
                    "there is the parameter uptime, once, with one of {names}; without it the state is shown"
                ));
            }
        }
    }
    Ok(asked)
}

/// About as wide as Verdana has it; `textLength` makes every font so.
const fn pixels(character: char) -> usize {
    match character {
        'i' | 'j' | 'l' | ' ' | '.' => 4,
        'f' | 'r' | 't' | '-' => 5,
        'm' | 'w' | 'M' | 'W' | '%' => 10,
        'A'..='Z' => 8,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_rounded_away() {
        for (share, message, color) in [
            (Some(1.0), "100 %", GREEN),
            (Some(0.999_999_9), "99.99 %", GREEN),
            (Some(0.998_999), "99.89 %", AMBER),
            (Some(0.989_999), "98.99 %", RED),
            (Some(0.0), "0.00 %", RED),
            (None, "unknown", GREY),
        ] {
            assert_eq!(Badge::of_uptime(share), Badge { message: message.to_owned(), color }, "{share:?}");
        }
    }

    #[test]
    fn each_state_has_a_color_of_its_own_and_only_down_is_an_error() {
        let badges = State::ALL.map(Badge::of_state);
        let colors: std::collections::BTreeSet<_> = badges.iter().map(|badge| badge.color).collect();
        assert_eq!(colors.len(), State::ALL.len());
        for badge in badges {
            let is_down = badge.message == "down";
            assert!(badge.json("a").contains(&format!("\"isError\":{is_down}")), "{}", badge.json("a"));
        }
    }

    #[test]
    fn the_picture_says_in_words_what_it_shows_and_is_xml() {
        let svg = Badge { message: "<&\"".to_owned(), color: RED }.svg("a");
        assert!(
            svg.contains("aria-label=\"a: &lt;&amp;&quot;\"") && svg.contains(">&lt;&amp;&quot;</text>"),
            "{svg}"
        );
        assert!(svg.contains("<title>a: ") && svg.contains("#c62828"), "{svg}");
    }

    #[test]
    fn a_name_may_end_like_a_format() {
        assert_eq!(BadgeFormat::of("a.svg"), Some(("a", BadgeFormat::Svg)));
        assert_eq!(BadgeFormat::of("a.json.svg"), Some(("a.json", BadgeFormat::Svg)));
        assert_eq!(BadgeFormat::of("a.svg.json"), Some(("a.svg", BadgeFormat::Json)));
        assert_eq!(BadgeFormat::of("a"), None);
    }

    #[test]
    fn what_is_asked_for_is_understood_or_refused() {
        assert_eq!(window(""), Ok(None));
        assert_eq!(window("uptime=24h"), Ok(Some(1)));
        for wrong in ["uptime=2h", "uptime=", "uptime=1h&uptime=7d", "style=flat"] {
            assert!(window(wrong).is_err_and(|help| help.contains("1h, 24h, 7d, 30d")), "{wrong}");
        }
    }
}
