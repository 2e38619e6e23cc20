//! A cluster under traffic that suffers faults for as long as one likes, and what it showed meanwhile, checked.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use bazaar_service::start::exit_code;
use bazaar_tests::{
    chaos::{Chaos, Kind, Report, prepared},
    cluster::FRONTENDS_MAX,
    process::told_to_stop,
};
use clap::Parser;

/// How long a round is: one cluster, from its start to the check of all that its clients saw.
const ROUND_MAX: Duration = Duration::from_secs(180);
/// A rest of time that is too short for a round.
const ROUND_MIN: Duration = Duration::from_secs(20);

/// Starts a cluster with each process in a network namespace of its own, lets clients trade and look without a pause, and
/// does to it what happens to clusters, one fault after the other. At the end all that clients saw is checked. It needs
/// Linux, root, ip, nft and a C compiler.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long it goes on, in minutes.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// What draws the faults. Each round of three minutes has one more.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kinds of faults, all if none is given.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// How many frontends there are.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=i64::from(FRONTENDS_MAX)))]
    frontends: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { minutes, seed, faults, frontends } = arguments;
    ensure!(minutes > 0.0 && minutes < 100_000.0, "so many minutes cannot be counted: {minutes}");
    let kinds = if faults.is_empty() { Kind::ALL.to_vec() } else { faults };
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut all = Report::default();
    // All that clients see is kept until it is checked, so a long run is one of many rounds.
    for seed in seed.. {
        let end_of_round = end.min(Instant::now() + ROUND_MAX);
        println!("seed {seed}, {frontends} frontends, {} kinds of faults", kinds.len());
        let round = suffer_round(seed, &kinds, frontends, end_of_round);
        tokio::select! {
            report = round => all.merge(report?),
            told = told_to_stop() => return told,
        }
        if Instant::now() + ROUND_MIN > end {
            break;
        }
    }
    println!("{all}nothing was wrong");
    Ok(())
}

async fn suffer_round(seed: u64, kinds: &[Kind], frontends: u16, end: Instant) -> Result<Report> {
    let Some(mut chaos) = Chaos::begin_with_everything(prepared(frontends)?, seed).await? else {
        bail!("this machine does not permit it; the line above says what");
    };
    if let Err(error) = chaos.suffer_until(kinds, end).await {
        println!("{}\n{error:#}", chaos.report());
        bail!("seed {seed} found what is said above; {}", chaos.keep());
    }
    Ok(chaos.report().clone())
}
