//! `/probe?target=NAME`: prove a login now, and tell in the names that blackbox_exporter made common.

use std::fmt::Write;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::time::Instant;

use super::App;
use super::lifecycle::no_such_target;
use super::reply::{Reply, With, reply, text};
use crate::metrics;
use crate::reason::Reason;
use crate::status::{Moment, Phases};
use crate::supervisor::{ProofReply, ProofResult};

/// Prometheus says how long it waits.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// What is taken off it, for the way back.
const MARGIN: f64 = 0.5;
/// Prometheus's default scrape timeout, for clients that do not say theirs.
const DEFAULT_TIMEOUT: f64 = 10.0;
/// No client makes us wait longer.
pub(super) const LONGEST: Duration = Duration::from_secs(120);

/// Answers 200 whether or not the login was proven: that is the metric's to say.
pub(super) async fn answer(app: &App, query: &str, headers: &HeaderMap) -> Reply {
    let mut targets = form_urlencoded::parse(query.as_bytes())
        .filter(|(key, value)| key == "target" && !value.is_empty())
        .map(|(_, value)| value);
    let (Some(target), None) = (targets.next(), targets.next()) else {
        let help = "name one target: /probe?target=NAME\n";
        return text(StatusCode::BAD_REQUEST, help);
    };
    let began = Instant::now();
    let proof = app.process.requests.prove(&target, patience(headers)).await;
    let known =
        app.board.look_at_one(&target, Moment::now(), |view| (view.status.last_phases, view.reason()));
    let (Some(proof), Some((phases, reason))) = (proof, known) else {
        return no_such_target(app);
    };
    let body = render(proof, phases.unwrap_or_default(), reason, began.elapsed());
    reply(StatusCode::OK, metrics::CONTENT_TYPE, body).fresh()
}

/// How long this client lets us take.
fn patience(headers: &HeaderMap) -> Duration {
    let told = headers
        .get(SCRAPE_TIMEOUT)
        .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok())
        .filter(|seconds| seconds.is_finite() && *seconds > 0.0)
        .unwrap_or(DEFAULT_TIMEOUT);
    let seconds = (told - MARGIN).max(told / 2.0);
    Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64()))
}

/// `phases` are those of the login that was proven; `known` is why the target is not well, where no login was tried.
fn render(proof: ProofReply, phases: Phases, known: Option<Reason>, took: Duration) -> String {
    let success = u8::from(proof == ProofReply::Ended(ProofResult::Proven));
    let took = took.as_secs_f64();
    let mut out = format!(
        "# HELP probe_success Whether a login succeeded.\n\
         # TYPE probe_success gauge\n\
         probe_success {success}\n\
         # HELP probe_duration_seconds How long the answer took.\n\
         # TYPE probe_duration_seconds gauge\n\
         probe_duration_seconds {took}\n"
    );
    // Writing to a String cannot fail.
    let _ = match proof {
        ProofReply::Ended(ProofResult::Proven) => {
            out.push_str(
                "# HELP pgtether_probe_phase_seconds How long each phase of the login took.\n\
                 # TYPE pgtether_probe_phase_seconds gauge\n",
            );
            phases.named().try_for_each(|(phase, took)| {
                let (phase, took) = (phase.as_str(), took.as_secs_f64());
                writeln!(out, "pgtether_probe_phase_seconds{{phase=\"{phase}\"}} {took}")
            })
        }
        ProofReply::Ended(ProofResult::Failed(reason)) => failure(&mut out, reason.as_str()),
        ProofReply::Late => failure(&mut out, "timeout"),
        ProofReply::Ended(ProofResult::Refused(because)) => write!(
            out,
            "# HELP pgtether_probe_held_info Why no login was tried; always 1.\n\
             # TYPE pgtether_probe_held_info gauge\n\
             pgtether_probe_held_info{{because=\"{}\"}} 1\n",
            because.as_str()
        )
        .and_then(|()| known.map_or(Ok(()), |reason| failure(&mut out, reason.as_str()))),
    };
    out
}

fn failure(out: &mut String, reason: &str) -> std::fmt::Result {
    write!(
        out,
        "# HELP pgtether_probe_failure_info Why the login failed, or the last one where none was tried; always 1.\n\
         # TYPE pgtether_probe_failure_info gauge\n\
         pgtether_probe_failure_info{{reason=\"{reason}\"}} 1\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Because;

    fn told(value: &str) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert(SCRAPE_TIMEOUT, value.parse().unwrap());
        patience(&headers)
    }

    #[test]
    fn it_answers_before_the_scraper_gives_up() {
        assert_eq!(patience(&HeaderMap::new()), Duration::from_millis(9500));
        assert_eq!(told("30"), Duration::from_millis(29_500));
        assert_eq!(told("0.4"), Duration::from_millis(200));
        assert_eq!(told("1e300"), LONGEST);
        for nonsense in ["-3", "0", "NaN", "inf", "soon"] {
            assert_eq!(told(nonsense), Duration::from_millis(9500), "{nonsense}");
        }
    }

    #[test]
    fn the_docs_say_what_each_word_means_by_which_a_probe_is_held() {
        const PAGE: &str = include_str!("../../docs/recipes.md");
        for because in Because::ALL {
            assert!(PAGE.contains(&format!("\n| `{}` | ", because.as_str())), "{}", because.as_str());
        }
    }

    #[test]
    fn each_outcome_says_why() {
        let at = Duration::from_millis(1500);
        let proven = render(ProofReply::Ended(ProofResult::Proven), Phases::default(), None, at);
        assert!(proven.contains("\nprobe_success 1\n"));
        assert!(proven.contains("\nprobe_duration_seconds 1.5\n"));
        assert!(proven.contains("{phase=\"startup\"} 0\n"));
        assert!(!proven.contains("phase=\"tls\""));
        for (proof, known, line) in [
            (ProofReply::Ended(ProofResult::Failed(Reason::Auth)), None, "failure_info{reason=\"auth\"} 1\n"),
            (ProofReply::Late, None, "failure_info{reason=\"timeout\"} 1\n"),
            (
                ProofReply::Ended(ProofResult::Refused(Because::SlowLane)),
                None,
                "held_info{because=\"slow_lane\"} 1\n",
            ),
            (
                ProofReply::Ended(ProofResult::Refused(Because::SlowLane)),
                Some(Reason::Auth),
                "failure_info{reason=\"auth\"} 1\n",
            ),
        ] {
            let text = render(proof, Phases::default(), known, at);
            assert!(text.contains("\nprobe_success 0\n") && text.ends_with(line), "{text}");
        }
    }
}
