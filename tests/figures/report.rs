//! Figures, and the table that they are printed in: Markdown, so that it can be kept as it is.

use std::time::Duration;

use crate::plan::Plan;

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Figure {
    what: String,
    measured: String,
    bound: String,
    /// What an echo took meanwhile: the machine's own share.
    machine: String,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Missed,
    /// The experiment did not come to its end: what it was to show is not shown.
    Broken,
}

impl Verdict {
    pub fn of(holds: bool) -> Verdict {
        if holds { Verdict::Holds } else { Verdict::Missed }
    }
}

impl Figure {
    /// A fact that is as it should be, or is not.
    pub fn fact(what: &str, measured: impl ToString, bound: &str, holds: bool) -> Figure {
        Figure {
            what: what.to_owned(),
            measured: measured.to_string(),
            bound: bound.to_owned(),
            machine: String::new(),
            verdict: Verdict::of(holds),
        }
    }

    /// Times whose median has a bound.
    pub fn median(what: &str, times: &[Duration], bound: Duration) -> Figure {
        let median = quantile(times, 0.5);
        let worst = quantile(times, 1.0);
        let measured = format!("{}, worst {} of {}", length(median), length(worst), times.len());
        Figure::fact(what, measured, &format!("≤ {}", length(bound)), !times.is_empty() && median <= bound)
    }

    /// Times of which each has to keep the bound.
    pub fn each(what: &str, times: &[Duration], bound: Duration) -> Figure {
        let mut figure = Figure::median(what, times, bound);
        figure.bound = format!("each ≤ {}", length(bound));
        figure.verdict = Verdict::of(!times.is_empty() && quantile(times, 1.0) <= bound);
        figure
    }

    /// Times of which 99 in 100 have to keep the bound.
    pub fn p99(what: &str, times: &[Duration], bound: Duration) -> Figure {
        let p99 = quantile(times, 0.99);
        let measured =
            format!("p99 {}, worst {} of {}", length(p99), length(quantile(times, 1.0)), times.len());
        Figure::fact(what, measured, &format!("p99 ≤ {}", length(bound)), times.len() >= 100 && p99 <= bound)
    }

    /// A count that must not be higher.
    pub fn at_most(what: &str, count: u64, bound: u64) -> Figure {
        let bounds = if bound == 0 { "none".to_owned() } else { format!("≤ {bound}") };
        Figure::fact(what, count, &bounds, count <= bound)
    }

    pub fn broken(section: &str) -> Figure {
        let mut figure = Figure::fact(section, "the experiment failed, see above", "", false);
        figure.verdict = Verdict::Broken;
        figure
    }

    /// Adds what the echo took in the same run.
    pub fn beside(mut self, echo: &[Duration]) -> Figure {
        if !echo.is_empty() {
            let (p99, worst) = (quantile(echo, 0.99), quantile(echo, 1.0));
            self.machine = format!("p99 {}, worst {}", length(p99), length(worst));
        }
        self
    }

    pub fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Holds => "ok",
            Verdict::Missed => "**MISSED**",
            Verdict::Broken => "**BROKEN**",
        };
        row([&self.what, &self.measured, &self.bound, &self.machine, verdict])
    }
}

pub fn heading() -> String {
    let titles = row(["what", "measured", "bound", "echo meanwhile", ""]);
    let rule: String = titles.chars().map(|c| if c == '|' { '|' } else { '-' }).collect();
    format!("{titles}\n{rule}")
}

pub fn closing(figures: usize, missed: usize, plan: &Plan, took: Duration) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let quick =
        if plan.quick { "; a quick run shows that it works, its figures count for nothing" } else { "" };
    format!("{figures} figures, {missed} missed; {took:.0?}, {cores} cores, load {load} at the end{quick}")
}

/// The value below which that share of the times lies; 1.0 is the worst. Zero where there are none.
pub fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    if sorted.is_empty() {
        return Duration::ZERO;
    }
    if share == 0.5 && sorted.len().is_multiple_of(2) {
        let middle = sorted.len() / 2;
        return (sorted[middle - 1] + sorted[middle]) / 2;
    }
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

/// A duration as people say it.
pub fn length(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 0.995 => format!("{:.0} µs", ms * 1e3),
        ms if ms < 9.95 => format!("{ms:.1} ms").replace(".0 ", " "),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1e3).replace(".00 ", " "),
    }
}

fn row(cells: [&str; 5]) -> String {
    let widths = [66, 36, 16, 26, 2];
    let cells: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    format!("| {} |", cells.join(" | "))
}
