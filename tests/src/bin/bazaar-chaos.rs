//! A cluster under traffic that suffers faults for as long as one likes, and what it showed meanwhile, checked.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use bazaar_tests::{
    Cluster,
    chaos::{Chaos, Kind},
    cluster::FRONTENDS_MAX,
};
use clap::Parser;

/// Snapshots as often as a short run needs them, and little log behind them: replicas that were away need one.
const CONFIG: &str = "raft.snapshot_every_entries = 2000\nraft.log_kept_entries = 500";

/// Starts a cluster with each process in a network namespace of its own, lets clients trade and look without a pause, and
/// does to it what happens to clusters, one fault after the other. At the end all that clients saw is checked. It needs
/// Linux, root, ip, nft and a C compiler.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long it goes on, in minutes.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// What draws the faults.
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
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { minutes, seed, faults, frontends } = arguments;
    ensure!(minutes > 0.0 && minutes < 100_000.0, "so many minutes cannot be counted: {minutes}");
    let faults = if faults.is_empty() { Kind::ALL.to_vec() } else { faults };
    println!("seed {seed}, {minutes} minutes, {frontends} frontends, {} kinds of faults", faults.len());
    let cluster = Cluster::prepare(CONFIG)?.with_frontends(frontends);
    let Some(mut chaos) = Chaos::begin_with_everything(cluster, seed).await? else {
        bail!("this machine does not permit it; the line above says what");
    };
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let all = async {
        chaos.suffer_while(&faults, |_| Instant::now() < end).await?;
        println!("all that clients saw is being checked");
        chaos.end().await
    };
    let result = tokio::select! {
        result = all => result,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| bail!("interrupted")),
    };
    println!("{}", chaos.report());
    match &result {
        Ok(()) => println!("nothing was wrong"),
        Err(_) => println!("logs, data and what clients saw are in {}", chaos.keep()?.display()),
    }
    result
}
