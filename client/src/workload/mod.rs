//! `bazaar workload`: the classic client. Several clients look random stocks up, trade now and then, remember every
//! acknowledged order, and at the end fetch each one back and compare.

pub mod record;
pub mod report;
pub mod seen;
pub mod tally;
pub mod trader;
pub mod verify;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use bazaar_domain::StockName;
use clap::Args;
use indicatif::ProgressBar;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use crate::{
    Context,
    api::{Frontend, explained},
    cli::WAIT_S_MAX,
    exit::{Ending, Exit},
    retry::retrying,
    terminal,
};
use record::RecordFile;
use report::WorkloadReport;
use tally::Tally;
use trader::Trader;

/// Most clients at a time; each has a connection of its own.
const CLIENTS_MAX: u64 = 10_000;

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar workload
  bazaar workload --requests 2000 --clients 8 --prob 0.5 --seed 1
  bazaar workload --records acknowledged

It prints latencies for each kind of request, and ends with 'mismatches: 0' if every acknowledged order was found
again as it was acknowledged.

SIGTERM and Ctrl-C end it early, and the orders until then are compared: after SIGTERM the exit code is 0 if all is
well, after Ctrl-C it is 130.";

/// The arguments of `bazaar workload`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct WorkloadArgs {
    /// Iterations of all clients together; each looks a stock up and perhaps trades.
    #[arg(long, default_value_t = 1_000)]
    pub requests: u64,
    /// Clients at a time, each with one request under way.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=CLIENTS_MAX))]
    pub clients: u64,
    /// Probability of a trade after a lookup, 0 to 1.
    #[arg(long, default_value_t = 0.5, value_parser = parse_probability)]
    pub prob: f64,
    /// Seed of the random choices, a whole number.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// No iteration starts later than this, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=WAIT_S_MAX))]
    pub deadline_s: u64,
    /// How long one request is retried, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=WAIT_S_MAX))]
    pub retry_s: u64,
    /// Append each acknowledged order to this file at once, for check --records.
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
}

/// Reads a probability from an argument.
///
/// # Errors
/// If it is no number from 0 to 1.
pub fn parse_probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(probability) if (0.0..=1.0).contains(&probability) => Ok(probability),
        _ => Err("a probability is a number from 0 to 1".into()),
    }
}

/// What all clients of a run share.
#[derive(Debug)]
pub struct Plan {
    /// The stocks to choose from.
    pub stocks: Vec<StockName>,
    /// Probability of a trade.
    pub probability: f64,
    /// How long one request is retried.
    pub retry_budget: Duration,
    /// No iteration starts later.
    pub deadline: Instant,
    /// Set when the run should end early.
    pub stop: Arc<AtomicBool>,
    /// Where acknowledged orders are recorded.
    pub records: Option<RecordFile>,
    /// Shows how far the run is.
    pub progress: ProgressBar,
}

impl Plan {
    /// Whether another iteration may start.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && Instant::now() < self.deadline
    }
}

/// Runs the command.
///
/// # Errors
/// If anything was lost, differed, went back or failed, or the deadline came first.
pub async fn run(context: &Context, args: WorkloadArgs) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let is_interrupted = stop_on_signal(Arc::clone(&stop))?;
    let progress = terminal::progress_bar(context.printer.format, args.requests);
    let report = execute(&context.frontend, &args, stop, progress).await?;
    context.printer.print(&report);
    match report.complaint() {
        Some(complaint) => bail!(complaint),
        // Who sends SIGTERM wants no more of it, and is told by the report; who presses Ctrl-C may stop a script so.
        None if is_interrupted.load(Ordering::Relaxed) => {
            bail!(Ending::new(Exit::Interrupted, "ended by Ctrl-C; the orders until then were compared, and are there"))
        }
        None => Ok(()),
    }
}

/// Runs the workload and compares the orders; prints nothing.
///
/// # Errors
/// If it cannot start: no stocks can be read, or the records' file cannot be written.
pub async fn execute(
    frontend: &Frontend,
    args: &WorkloadArgs,
    stop: Arc<AtomicBool>,
    progress: ProgressBar,
) -> Result<WorkloadReport> {
    let start = Instant::now();
    let retry_budget = Duration::from_secs(args.retry_s);
    let listed = retrying(retry_budget, || frontend.stocks()).await;
    let stocks = listed.result.map_err(|failure| explained(frontend, &failure))?;
    if stocks.is_empty() {
        bail!("no stock is listed; list one at the catalog, or check --url");
    }
    let plan = Arc::new(Plan {
        stocks: stocks.iter().map(|stock| stock.name).collect(),
        probability: args.prob,
        retry_budget,
        deadline: start + Duration::from_secs(args.deadline_s),
        stop: Arc::clone(&stop),
        records: args.records.as_deref().map(RecordFile::open).transpose()?,
        progress,
    });
    // They end with this future: whoever gives it up wants no more trades.
    let mut clients = JoinSet::new();
    for client in 0..args.clients {
        let share = args.requests / args.clients + u64::from(client < args.requests % args.clients);
        let trader = Trader::new(frontend.clone(), Arc::clone(&plan), args.seed, client);
        clients.spawn(trader.run(share));
    }
    let mut tally = Tally::default();
    while let Some(client) = clients.join_next().await {
        tally.merge(&client?);
    }
    plan.progress.finish_and_clear();
    let interrupted = stop.load(Ordering::Relaxed);
    Ok(WorkloadReport::new(&tally, args.requests, interrupted, start.elapsed()))
}

/// The first signal ends the run in good order (orders are still compared), the second one at once. Returns what will
/// tell whether it was Ctrl-C.
///
/// # Errors
/// If the operating system does not hand signals over.
pub fn stop_on_signal(stop: Arc<AtomicBool>) -> Result<Arc<AtomicBool>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_interrupted);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => seen.store(true, Ordering::Relaxed),
                _ = terminate.recv() => {}
            }
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            terminal::print_note("stopping early; the orders so far are compared (once more to stop at once)");
        }
    });
    Ok(is_interrupted)
}
