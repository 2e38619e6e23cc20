//! `bazaar bench`: throughput and latency of a closed loop over real connections, each with one request under way.
//!
//! Client and servers often share a machine when this runs, so it costs little itself: requests are made from
//! templates, answers are read without a copy, and one thread does it all unless told otherwise.

pub mod generator;
pub mod report;
pub mod tally;
pub mod wire;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Result, bail};
use bazaar_domain::{StockName, limits::BATCH_TRADES_MAX};
use clap::{Args, ValueEnum};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::{
    Context,
    api::{Failure, Frontend, explained},
    latency::ms,
    terminal,
};
use generator::{Generator, Scene};
use report::BenchReport;
use tally::Tally;
use wire::{Connection, Target};

/// Most connections; each takes a local port.
const CONNECTIONS_MAX: u64 = 20_000;
/// Most threads.
const THREADS_MAX: u64 = 64;
/// Pause after an error, so that a refusing server is not asked in a tight loop.
const ERROR_PAUSE: Duration = Duration::from_millis(20);
/// How often the live line is brought up to date.
const LIVE_PERIOD: Duration = Duration::from_millis(250);

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

/// The arguments of `bazaar bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// How long is measured.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub duration_s: u64,
    /// How long requests are sent before anything counts.
    #[arg(long, default_value_t = 2, value_name = "SECONDS")]
    pub warm_up_s: u64,
    /// What is measured.
    #[arg(long, value_enum, default_value = "trade")]
    pub kind: Kind,
    /// Trades in one batch.
    #[arg(long, default_value_t = 64, value_parser = parse_batch_size)]
    pub batch_size: usize,
    /// Threads of the client.
    #[arg(long, default_value_t = 1, value_parser = parse_threads)]
    pub threads: usize,
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
    let report = measure(&context.frontend, &args, &terminal::live_line(context.printer.format)).await?;
    context.printer.print(&report);
    if report.operations == 0 {
        bail!("nothing was answered; look at 'bazaar status'");
    }
    if report.errors_total() > 0 {
        bail!("{} requests failed; see the errors by kind", report.errors_total());
    }
    Ok(())
}

/// Measures; prints nothing but the live line.
///
/// # Errors
/// If the measurement cannot start.
pub async fn measure(frontend: &Frontend, args: &BenchArgs, live: &indicatif::ProgressBar) -> Result<BenchReport> {
    let target = Arc::new(Target::resolve(frontend.url()).await?);
    let scene = Arc::new(scene(frontend, &target, args).await?);
    let start = Instant::now() + Duration::from_secs(args.warm_up_s);
    let end = start + Duration::from_secs(args.duration_s);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let loops = (0..args.connections).map(|number| {
        let generator = Generator::new(Arc::clone(&scene), number);
        let one = drive(Arc::clone(&target), generator, Arc::clone(&tally), start);
        tokio::spawn(timeout_at(end, one))
    });
    let loops: Vec<_> = loops.collect();
    tokio::select! {
        () = show_live(live, &tally, start) => {}
        () = sleep_until(end) => {}
    }
    join_all(loops).await;
    live.finish_and_clear();
    let tally = tally.lock().expect("nobody panics with the lock");
    Ok(BenchReport::new(args, &tally))
}

/// What requests are made of: the stocks, and for order reads how many orders there are.
async fn scene(frontend: &Frontend, target: &Target, args: &BenchArgs) -> Result<Scene> {
    let explain = |failure: Failure| explained(frontend, &failure);
    let stocks: Vec<StockName> = frontend.stocks().await.map_err(explain)?.iter().map(|stock| stock.name).collect();
    if stocks.is_empty() {
        bail!("no stock is listed; list one at the catalog, or check --url");
    }
    let orders = match args.kind {
        Kind::Order => last_order(frontend).await.map_err(explain)?,
        _ => 0,
    };
    if args.kind == Kind::Order && orders == 0 {
        bail!("there are no orders to read yet; run 'bazaar bench --kind trade' first");
    }
    let run = rand::random();
    Ok(Scene { kind: args.kind, authority: target.authority.clone(), stocks, orders, batch_size: args.batch_size, run })
}

/// The number of the newest order: doubled until there is none behind, then halved.
async fn last_order(frontend: &Frontend) -> Result<u64, Failure> {
    let (mut below, mut above) = (0, 1);
    while has_order_after(frontend, above - 1).await? {
        below = above;
        above *= 2;
    }
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if has_order_after(frontend, middle - 1).await? { below = middle } else { above = middle }
    }
    Ok(below)
}

async fn has_order_after(frontend: &Frontend, number: u64) -> Result<bool, Failure> {
    Ok(!frontend.orders(number, 1).await?.data.is_empty())
}

/// One connection's closed loop; ends only by being dropped.
async fn drive(target: Arc<Target>, mut generator: Generator, tally: Arc<Mutex<Tally>>, start: Instant) {
    let mut connection: Option<Connection> = None;
    loop {
        let open = match connection.as_mut() {
            Some(open) => open,
            None => match Connection::open(&target).await {
                Ok(open) => connection.insert(open),
                Err(error) => {
                    fail(&tally, start, wire::error_kind(&error)).await;
                    continue;
                }
            },
        };
        let request = generator.next_request();
        let sent = Instant::now();
        let answer = open.exchange(request).await;
        let now = Instant::now();
        match answer {
            Ok(answer) => {
                let outcome = generator.judge(answer.status, answer.body);
                let (failed, keep) = (outcome.error.is_some(), answer.keep_alive);
                if sent >= start {
                    tally.lock().expect("nobody panics with the lock").count(&outcome, now - sent);
                }
                if !keep {
                    connection = None;
                }
                if failed {
                    sleep(ERROR_PAUSE).await;
                }
            }
            Err(error) => {
                connection = None;
                fail(&tally, start, wire::error_kind(&error)).await;
            }
        }
    }
}

async fn fail(tally: &Mutex<Tally>, start: Instant, kind: String) {
    if Instant::now() >= start {
        tally.lock().expect("nobody panics with the lock").error(kind, 1);
    }
    sleep(ERROR_PAUSE).await;
}

async fn show_live(live: &indicatif::ProgressBar, tally: &Mutex<Tally>, start: Instant) {
    loop {
        sleep(LIVE_PERIOD).await;
        let now = Instant::now();
        let text = if now < start {
            "warming up".to_owned()
        } else {
            let tally = tally.lock().expect("nobody panics with the lock");
            let rate = tally.operations as f64 / (now - start).as_secs_f64().max(0.001);
            let errors: u64 = tally.errors.values().sum();
            format!("{rate:.0}/s, p99 {} ms, {errors} errors", ms(tally.latencies.summary().p99_ms))
        };
        live.set_message(text);
    }
}

/// Errors by kind.
pub type Errors = BTreeMap<String, u64>;
