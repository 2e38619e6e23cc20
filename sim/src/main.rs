//! Runs seeds, or one seed event by event.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use sim::{
    plan::{Length, Plan},
    seen::Tally,
    shrink::shrink,
    world::{self, Teller},
};

/// Simulates the service under faults, and checks what clients are shown.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Args {
    /// Run only this seed, and tell every event.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// With --seed: leave messages and timers out.
    #[arg(long, requires = "seed")]
    brief: bool,
    /// How many seeds to run.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Ten times as long runs.
    #[arg(long)]
    long: bool,
    /// The rule to break.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(feature = "mutants")]
    if let Some(name) = &args.mutant {
        let found = bazaar_domain::mutants::Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        bazaar_domain::mutants::break_only(Some(*found.expect("a mutant of that name")));
    }
    let length = if args.long { Length::LONG } else { Length::SHORT };
    match args.seed {
        Some(seed) => one(&Plan::draw(seed, length), !args.brief),
        None => many(args.from..args.from.saturating_add(args.seeds), length),
    }
}

/// Tells a run.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn one(plan: &Plan, tells_all: bool) -> ExitCode {
    println!("{plan}");
    match world::run(plan, Some(Teller { line: &mut |line| println!("{line}"), tells_all })) {
        Ok(tally) => {
            println!("no promise was broken\n{tally}");
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
            Ok(tally) => total.add_all(&tally),
            Err(violation) => {
                println!("seed {seed}: VIOLATION: {}", violation.0);
                if let Some((smallest, _)) = shrink(&plan) {
                    println!("a smaller run that fails:");
                    one(&smallest, false);
                }
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} seeds in {seconds:.1} s, {:.0} a second: no promise was broken\n{total}", count as f64 / seconds);
    ExitCode::SUCCESS
}
