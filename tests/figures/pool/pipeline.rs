//! A long statement that is prepared once and then executed many times, without waiting for an answer in between: through
//! the pool it is prepared once, too.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use pgtether::demo::postgres::Setup;
use tokio_postgres::{Client, Error, NoTls};

use super::{Poolers, Whose};
use crate::plan::Plan;
use crate::report::{Figure, length, quantile};
use crate::servers::{PoolMode, Version, postgres};

/// Bind, Execute and Sync, so often.
const EXECUTIONS: usize = 2000;
/// The length of the statement.
const LENGTH: usize = 20_000;
/// To what it costs directly.
const BOUND: f64 = 1.5;

pub async fn run(plan: Plan) -> Vec<Figure> {
    let cluster = postgres(Version::V15, Setup::default());
    let pool = Poolers::open(&cluster, PoolMode::Transaction, 10, "", &[]).await;
    let through_pool = pool.url(Whose::Ours);
    let direct = cluster.superuser_url();
    let mut rounds = Vec::new();
    // The first round only warms up.
    for round in 0..=plan.samples() {
        let mut times = [Duration::ZERO; 2];
        let mut turns = [0, 1];
        turns.rotate_left(round % 2);
        for turn in turns {
            let url: &str = [&through_pool, &direct][turn];
            times[turn] = pipeline(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        if round > 0 {
            rounds.push(times);
        }
    }
    vec![compared(&rounds)]
}

/// The median of the rounds' own ratios: what slows a round slows both in it.
fn compared(rounds: &[[Duration; 2]]) -> Figure {
    let mut ratios: Vec<f64> =
        rounds.iter().map(|[pool, direct]| pool.as_secs_f64() / direct.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let [pool, direct] =
        [0, 1].map(|side| length(quantile(&rounds.iter().map(|times| times[side]).collect::<Vec<_>>(), 0.5)));
    Figure::fact(
        &format!(
            "{EXECUTIONS} pipelined executions of one statement of {} KB, through the pool to directly",
            LENGTH / 1000
        ),
        format!("{ratio:.2} ({pool} to {direct})"),
        &format!("≤ {BOUND}"),
        ratio <= BOUND,
    )
}

/// How long all of them took, of a client of its own.
async fn pipeline(url: &str) -> Result<Duration, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let took = execute_all(&client).await?;
    drop(client);
    connection.await.unwrap()?;
    Ok(took)
}

async fn execute_all(client: &Client) -> Result<Duration, Error> {
    let comment = "x".repeat(LENGTH);
    let statement = client.prepare(&format!("SELECT $1::int4 /* {comment} */")).await?;
    client.query(&statement, &[&0]).await?;
    let values: Vec<i32> = (0..).take(EXECUTIONS).collect();
    let begun = Instant::now();
    // Each is sent when it is first polled, in this order.
    let answers =
        try_join_all(values.iter().map(async |value| client.query(&statement, &[value]).await)).await?;
    let took = begun.elapsed();
    let answered: Vec<i32> = answers.iter().map(|rows| rows[0].get(0)).collect();
    assert_eq!(answered, values);
    Ok(took)
}
