//! `bazaar bench`: throughput and latency over real connections, each with one request under way.
//!
//! Client and servers often share a machine when this runs, so it costs little itself: requests are made from
//! templates, written at once, and their answers read without a copy; threads share nothing but a tally once a second.

pub mod cpu;
pub mod generator;
pub mod html;
pub mod pace;
pub mod report;
pub mod scene;
pub mod series;
pub mod tally;
pub mod wire;
pub mod worker;

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bazaar_domain::limits::BATCH_TRADES_MAX;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep_until};

use crate::{Context, api::Frontend, terminal};
use cpu::process_cpu;
use pace::Schedule;
use report::BenchReport;
use series::Series;
use wire::Target;
use worker::Work;

/// Most connections; each takes a local port.
const CONNECTIONS_MAX: u64 = 20_000;
/// Most threads.
const THREADS_MAX: u64 = 64;
/// Highest rate that can be asked for.
const RATE_PER_S_MAX: u64 = 10_000_000;
/// Most tallies that wait to be put together; a thread hands one over each second.
const HANDOVERS_MAX: usize = 256;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `POST /orders`.
    Trade,
    /// `GET /stocks/{name}`.
    Lookup,
    /// One trade after four lookups.
    Mixed,
    /// `GET /orders/{number}` of orders that exist.
    Order,
    /// `POST /orders/batch`.
    Batch,
}

impl Kind {
    /// Its name, as the flag takes it.
    pub fn name(self) -> String {
        self.to_possible_value().expect("no kind is hidden").get_name().to_owned()
    }
}

/// Errors by kind.
pub type Errors = BTreeMap<String, u64>;

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar bench                                          trades as fast as 64 connections get answers
  bazaar bench --kind lookup --connections 256          lookups
  bazaar bench --kind batch --batch-size 1000 --connections 4
  bazaar bench --rate 20000 --html report.html          20,000 trades a second, answered or not

Without --rate each connection sends as soon as it has its answer (closed loop): this finds the highest rate, but while
the service stalls nothing is sent, so a stall counts once for each connection. With --rate requests have fixed times
(open loop), and a latency counts from the time at which the request should have been sent: this is what clients
that do not wait for each other see. The exit code is 0 only if no request failed; a rate that was not reached is
said, and is no failure.";

/// The arguments of `bazaar bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// What is measured: one kind of request, or a mixture.
    #[arg(long, value_enum, default_value = "trade")]
    pub kind: Kind,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Requests a second over all connections, on a fixed schedule [default: as fast as answers come].
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u64).range(1..=RATE_PER_S_MAX))]
    pub rate: Option<u64>,
    /// How long is measured, in seconds.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub duration_s: u64,
    /// How long requests are sent before anything counts, in seconds.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub warm_up_s: u64,
    /// Trades in one batch, with --kind batch.
    #[arg(long, default_value_t = 64, value_parser = parse_batch_size)]
    pub batch_size: usize,
    /// Threads of the client. One is enough unless the servers have other processors.
    #[arg(long, default_value_t = 1, value_parser = parse_threads)]
    pub threads: usize,
    /// Also write a report with charts, one HTML file that needs no network.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

fn parse_batch_size(text: &str) -> Result<usize, String> {
    bounded(text, BATCH_TRADES_MAX)
}

fn parse_threads(text: &str) -> Result<usize, String> {
    bounded(text, THREADS_MAX as usize)
}

fn bounded(text: &str, max: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(format!("a whole number from 1 to {max}")),
    }
}

/// Runs the command.
///
/// # Errors
/// If the frontend cannot be reached, nothing was answered, or any request failed.
pub async fn run(context: &Context, args: BenchArgs) -> Result<()> {
    if let Some(path) = &args.html {
        check_writable(path)?;
    }
    let report = measure(&context.frontend, &args, &terminal::live_line(context.printer.format)).await?;
    context.printer.print(&report);
    if let Some(path) = &args.html {
        std::fs::write(path, html::page(&report)).with_context(|| unwritable(path))?;
    }
    if report.operations == 0 {
        bail!("nothing was answered; look at 'bazaar status'");
    }
    if report.errors_total() > 0 {
        bail!("{} requests failed; see the errors by kind", report.errors_total());
    }
    Ok(())
}

/// A path that cannot be written is better known before the measurement; an older report there stays until the end.
fn check_writable(path: &Path) -> Result<()> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| unwritable(path))?;
    Ok(())
}

fn unwritable(path: &Path) -> String {
    format!("the report {} cannot be written, name another file with --html", path.display())
}

/// Measures; prints nothing but the live line.
///
/// # Errors
/// If the measurement cannot start.
pub async fn measure(frontend: &Frontend, args: &BenchArgs, live: &indicatif::ProgressBar) -> Result<BenchReport> {
    let target = Arc::new(Target::resolve(frontend).await?);
    let scene = Arc::new(scene::scene(frontend, &target, args).await?);
    let threads = (args.threads as u64).min(args.connections);
    let begin = Instant::now();
    let start = begin + Duration::from_secs(args.warm_up_s);
    let (taker, mut handovers) = mpsc::channel(HANDOVERS_MAX);
    let work = |thread| Work {
        target: Arc::clone(&target),
        scene: Arc::clone(&scene),
        connections: (thread..args.connections).step_by(threads as usize).collect(),
        schedule: args.rate.map(|rate_per_s| Schedule { begin, rate_per_s, thread, threads }),
        start,
        duration_s: args.duration_s,
        taker: taker.clone(),
    };
    let workers: Vec<_> = (0..threads).map(work).map(|work| spawn_blocking(|| work.run())).collect();
    drop(taker);

    live.set_message("warming up");
    sleep_until(start.into()).await;
    let cpu_before = process_cpu();
    let mut series = Series::new(threads);
    while let Some(part) = handovers.recv().await {
        if let Some(point) = series.add(part) {
            live.set_message(series.live(&point, args.duration_s));
        }
    }
    let cpu = process_cpu() - cpu_before;
    live.finish_and_clear();
    for worker in workers {
        worker.await?.context("the load could not be made")?;
    }
    Ok(BenchReport::new(frontend.url(), args, series, cpu))
}
