//! `bazaar sweep`: the classic experiment. Clients look stocks up and trade now and then; the probability of a trade
//! goes from 0 to 80 %, with the frontend's cache on and off, and each type of request is timed.
//!
//! The cache is switched off at a frontend of its own, best of a cluster of its own: a frontend without a cache takes
//! no lease, so trades need not wait for it, and that is part of what a cache costs.

pub mod figures;
pub mod files;
pub mod markdown;
pub mod report;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use indicatif::ProgressBar;

use crate::{
    Context,
    api::Frontend,
    exit::{Ending, Exit},
    output::make_folder,
    terminal,
    workload::{self, WorkloadArgs, report::WorkloadReport},
};
use report::{Cache, Point, SweepReport};

/// Most clients; the experiment is about latencies, not about load.
const CLIENTS_MAX: u64 = 1_000;
/// Most iterations of one measurement.
const REQUESTS_MAX: u64 = 10_000_000;
/// Most repeats.
const REPEATS_MAX: u64 = 100;
/// Iterations of each client before the first measurement: connections are made, and the cache fills.
const WARM_UP_ITERATIONS: u64 = 100;
/// No measurement may take longer.
const MEASUREMENT_S_MAX: u64 = 600;
/// How long one request is retried.
const RETRY_S: u64 = 10;

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar sweep                                                with the cache of one frontend
  bazaar sweep --url-uncached http://127.0.0.1:9080 --out plots   and without, from a second cluster; with charts
  bazaar sweep --probs 0,50,100 --requests 1000 --repeats 1   a quick look

The frontend of --url-uncached must have been started with --cache-size 0; 'scripts/evaluation' starts two clusters and
does all of it. The exit code is 0 only if no request failed and every acknowledged order was found.";

/// The arguments of `bazaar sweep`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct SweepArgs {
    /// A second frontend whose cache is off; it is measured in turn with that of --url.
    #[arg(long, value_name = "URL")]
    pub url_uncached: Option<String>,
    /// Clients at a time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=CLIENTS_MAX))]
    pub clients: u64,
    /// Iterations of all clients together in one measurement; each looks a stock up and perhaps trades.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=REQUESTS_MAX))]
    pub requests: u64,
    /// Probabilities of a trade after a lookup, in percent.
    #[arg(long, default_value = "0,20,40,60,80", value_name = "PERCENT,...", value_delimiter = ',',
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub probs: Vec<u8>,
    /// Measurements of each point; their median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=REPEATS_MAX))]
    pub repeats: u64,
    /// Seed of the random choices; each repeat takes the next one.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Also write the figures as JSON and Markdown, and charts as SVG and PNG, to this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    probability_percent: u8,
    cache: Cache,
    repeat: u64,
}

/// Runs the command.
///
/// # Errors
/// If a request failed, an order was lost, a frontend's cache is not as it should be, or a file cannot be written.
pub async fn run(context: &Context, args: SweepArgs) -> Result<()> {
    args.out.as_deref().map_or(Ok(()), make_folder)?;
    let stop = Arc::new(AtomicBool::new(false));
    workload::stop_on_signal(Arc::clone(&stop))?;
    let live = terminal::live_line(context.printer.format);
    let report = measure(&context.frontend, &args, &stop, &live).await?;
    live.finish_and_clear();
    context.printer.print(&report);
    args.out.as_deref().map_or(Ok(()), |folder| files::write(folder, &report))
}

/// Measures all points; prints nothing but the live line.
///
/// # Errors
/// As [`run`] says, files aside.
pub async fn measure(
    cached: &Frontend,
    args: &SweepArgs,
    stop: &Arc<AtomicBool>,
    live: &ProgressBar,
) -> Result<SweepReport> {
    let uncached =
        args.url_uncached.as_deref().map(|url| Frontend::reached_by(cached.access().clone(), url)).transpose()?;
    let frontend = |cache| if cache == Cache::Off { uncached.as_ref().unwrap_or(cached) } else { cached };
    let caches = if uncached.is_some() { &[Cache::On, Cache::Off][..] } else { &[Cache::On] };
    for cache in caches {
        live.set_message(format!("warming up, {cache}"));
        let warm_up = WorkloadArgs { requests: WARM_UP_ITERATIONS * args.clients, ..workload(args, 50, 0) };
        one(frontend(*cache), &warm_up, stop).await?;
    }
    let mut points: Vec<(Step, WorkloadReport)> = Vec::new();
    for step in steps(args, caches) {
        let Step { probability_percent, cache, repeat } = step;
        live.set_message(format!("{probability_percent} % trades, {cache}, repeat {repeat} of {}", args.repeats));
        let flags = workload(args, probability_percent, args.seed.wrapping_add(repeat));
        let found = one(frontend(cache), &flags, stop).await;
        let found = found.with_context(|| format!("{probability_percent} % trades, {cache}, repeat {repeat}"))?;
        check_cache(&found, cache)?;
        points.push((step, found));
    }
    Ok(SweepReport::new(args, collect(points)))
}

/// All measurements in their order. Points that are compared are measured one after the other, and the repeats of one
/// point lie far apart: what else the machine does meanwhile meets all points alike.
fn steps(args: &SweepArgs, caches: &[Cache]) -> Vec<Step> {
    let mut percents = args.probs.clone();
    percents.sort_unstable();
    percents.dedup();
    let of_repeat = |repeat| {
        let percents = percents.iter();
        percents.flat_map(move |&probability_percent| {
            caches.iter().map(move |&cache| Step { probability_percent, cache, repeat })
        })
    };
    (1..=args.repeats).flat_map(of_repeat).collect()
}

fn workload(args: &SweepArgs, percent: u8, seed: u64) -> WorkloadArgs {
    WorkloadArgs {
        requests: args.requests,
        clients: args.clients,
        prob: f64::from(percent) / 100.0,
        seed,
        deadline_s: MEASUREMENT_S_MAX,
        retry_s: RETRY_S,
        records: None,
    }
}

async fn one(frontend: &Frontend, flags: &WorkloadArgs, stop: &Arc<AtomicBool>) -> Result<WorkloadReport> {
    let report = workload::execute(frontend, flags, Arc::clone(stop), ProgressBar::hidden()).await?;
    ensure!(
        !stop.load(Ordering::Relaxed),
        Ending::new(Exit::Interrupted, "ended before its end; nothing was measured to its end, and nothing is written")
    );
    match report.complaint() {
        Some(complaint) => bail!(complaint),
        None => Ok(report),
    }
}

/// A frontend with the wrong cache would give figures with the wrong name.
fn check_cache(report: &WorkloadReport, cache: Cache) -> Result<()> {
    let used = report.cache.hit + report.cache.miss;
    match cache {
        Cache::On => {
            ensure!(used > 0, "the frontend of --url has its cache switched off; start it with --cache-size 5")
        }
        Cache::Off => {
            ensure!(used == 0, "the frontend of --url-uncached has a cache; start it with --cache-size 0");
        }
    }
    Ok(())
}

/// Puts the repeats of each point together.
fn collect(measured: Vec<(Step, WorkloadReport)>) -> Vec<Point> {
    let first = measured.iter().filter(|(step, _)| step.repeat == 1);
    let point = |wanted: &Step| {
        let same = |step: &Step| Step { repeat: 1, ..*step } == *wanted;
        let repeats: Vec<&WorkloadReport> =
            measured.iter().filter(|(step, _)| same(step)).map(|(_, report)| report).collect();
        Point::new(wanted.probability_percent, wanted.cache, &repeats)
    };
    first.map(|(step, _)| point(step)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SweepArgs,
    }

    #[test]
    fn points_that_are_compared_are_measured_one_after_the_other() {
        let args = Line::parse_from(["sweep", "--probs", "40,0,40", "--repeats", "2"]).args;
        let steps: Vec<_> = steps(&args, &[Cache::On, Cache::Off])
            .iter()
            .map(|step| (step.repeat, step.probability_percent, step.cache))
            .collect();
        let of_repeat = |repeat| {
            [(repeat, 0, Cache::On), (repeat, 0, Cache::Off), (repeat, 40, Cache::On), (repeat, 40, Cache::Off)]
        };
        assert_eq!(steps, [of_repeat(1), of_repeat(2)].concat());
    }

    #[test]
    fn the_classic_experiment_is_the_default() {
        let args = Line::parse_from(["sweep"]).args;
        assert_eq!((args.clients, args.probs), (5, vec![0, 20, 40, 60, 80]));
        assert!(Line::try_parse_from(["sweep", "--probs", "101"]).is_err());
    }
}
