//! Runs seeds, or one seed event by event.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use sim::{
    plan::{Length, Plan},
    shrink::shrink,
    world::{self, Tally},
};

/// Simulates the service under faults, and checks what clients are shown.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Args {
    /// Run only this seed, and tell every event.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many seeds to run.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Ten times as long runs.
    #[arg(long)]
    long: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let length = if args.long { Length::LONG } else { Length::SHORT };
    match args.seed {
        Some(seed) => one(&Plan::draw(seed, length)),
        None => many(args.from..args.from + args.seeds, length),
    }
}

/// Tells a run, event by event.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn one(plan: &Plan) -> ExitCode {
    let result = world::run(plan, Some(&mut |line| println!("{line}")));
    match result {
        Ok(tally) => {
            println!("all promises were kept: {tally:?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("VIOLATION: {}", violation.0);
            ExitCode::FAILURE
        }
    }
}

/// Runs many seeds, and makes the first failing one small.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn many(seeds: std::ops::Range<u64>, length: Length) -> ExitCode {
    let started = Instant::now();
    let mut total = Tally::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let plan = Plan::draw(seed, length);
        match world::run(&plan, None) {
            Ok(tally) => total.add(&tally),
            Err(violation) => {
                println!("seed {seed}: VIOLATION: {}", violation.0);
                tell_smallest(&plan);
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} seeds, {:.0} a second: no promise was broken", count as f64 / seconds);
    println!("{total:?}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn tell_smallest(plan: &Plan) {
    let Some((smallest, violation)) = shrink(plan) else { return };
    println!("the smallest run that was found to fail too: {}", violation.0);
    for fault in &smallest.faults {
        println!("  {:>8} us, for {:>8} us: {}", fault.at, fault.lasts, fault.mishap);
    }
    for op in &smallest.ops {
        println!("  {:>8} us, at frontend {}: {}", op.at, op.frontend + 1, op.action);
    }
    println!("its events:");
    let _ = world::run(&smallest, Some(&mut |line| println!("{line}")));
}
