//! The figures that pgtether is measured by, each beside its bound: `make figures`.
//!
//! Everything is real: the optimised program as a child process, PostgreSQL clusters of our own, their logs, HTTP on
//! loopback. A section is one experiment; it says what it found and knows nothing of the others. What the machine itself
//! stalls is told by an echo that is polled at the same pace ([`echo`]).
//!
//! Arguments: `--only=a,b` runs these sections, `--quick` shortens all waits and takes two samples of each: good to see
//! that everything works, no figures. Exit code 1 where a bound is missed or an experiment could not be ended.

// Helpers offer what an experiment would expect of them, whether or not one asks for it today.
#![allow(dead_code)]
// A helper may panic: the experiment then counts as failed.
#![allow(clippy::unwrap_used)]

#[path = "../it/page/browser.rs"]
mod browser;
#[path = "../it/process.rs"]
mod process;
#[path = "../it/scrape.rs"]
mod scrape;
#[path = "../it/servers.rs"]
mod servers;

mod ask;
mod drain;
mod echo;
mod fleet;
mod hang;
mod journal;
mod outage;
mod page;
mod password;
mod plan;
mod pool;
mod program;
mod refresh;
mod render;
mod report;
mod rig;
mod scrapes;
mod sleep;
mod terminate;
mod usage;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use plan::Plan;
use report::{Figure, Verdict};
use tokio::task::{LocalSet, spawn_local};

type Section = fn(Plan) -> Pin<Box<dyn Future<Output = Vec<Figure>>>>;

/// All experiments, by the name that `--only` takes.
const SECTIONS: [(&str, Section); 17] = [
    ("program", |plan| Box::pin(program::run(plan))),
    ("terminate", |plan| Box::pin(terminate::run(plan))),
    ("outage", |plan| Box::pin(outage::run(plan))),
    ("hang", |plan| Box::pin(hang::run(plan))),
    ("password", |plan| Box::pin(password::run(plan))),
    ("refresh", |plan| Box::pin(refresh::run(plan))),
    ("sleep", |plan| Box::pin(sleep::run(plan))),
    ("fleet", |plan| Box::pin(fleet::run(plan))),
    ("drain", |plan| Box::pin(drain::run(plan))),
    ("scrapes", |plan| Box::pin(scrapes::run(plan))),
    ("render", |plan| Box::pin(render::run(plan))),
    ("page", |plan| Box::pin(page::run(plan))),
    ("pool_speed", |plan| Box::pin(pool::speed::run(plan))),
    ("pool_instructions", |plan| Box::pin(pool::instructions::run(plan))),
    ("pool_pipeline", |plan| Box::pin(pool::pipeline::run(plan))),
    ("pool_idle", |plan| Box::pin(pool::idle::run(plan))),
    ("pool_outage", |plan| Box::pin(pool::outage::run(plan))),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == echo::ARGUMENT) {
        echo::serve();
    }
    let names = SECTIONS.map(|(name, _)| name);
    let plan = match Plan::parse(&args, &names) {
        Ok(plan) => plan,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(64);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let figures = LocalSet::new().block_on(&runtime, all(plan));
    if figures.iter().all(|figure| figure.verdict == Verdict::Holds) {
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// One experiment after the other: they would disturb each other.
async fn all(plan: Plan) -> Vec<Figure> {
    let begun = Instant::now();
    let mut figures = Vec::new();
    println!("{}", report::heading());
    for (name, section) in SECTIONS.iter().filter(|(name, _)| plan.wants(name)) {
        eprintln!("{:>5.0} s  {name}", begun.elapsed().as_secs_f64());
        // A task of its own: a panic in there ends this experiment, not the others.
        let found = match spawn_local(section(plan.clone())).await {
            Ok(found) => found,
            Err(_) => vec![Figure::broken(name)],
        };
        for figure in &found {
            println!("{}", figure.line());
        }
        figures.extend(found);
    }
    let missed = figures.iter().filter(|figure| figure.verdict != Verdict::Holds).count();
    println!("\n{}", report::closing(figures.len(), missed, &plan, begun.elapsed()));
    figures
}
