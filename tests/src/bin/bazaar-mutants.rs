//! Rules that processes break on purpose, and which check notices it, after how long.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use bazaar_service::start::exit_code;
use bazaar_tests::{
    chaos::{BROKEN, Broken, Caught},
    process::told_to_stop,
};
use clap::Parser;

/// Starts clusters whose processes break a rule, lets them suffer the faults that must show it, and says which check
/// noticed it, after how long. Ends with 0 only if every broken rule was noticed. It needs what bazaar-chaos needs.
#[derive(Debug, Parser)]
struct Arguments {
    /// The rules to break, all if none is given.
    mutants: Vec<String>,
    /// How long each may go unnoticed, in minutes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What draws the faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(run(Arguments::parse()).await)
}

async fn run(Arguments { mutants, minutes, seed }: Arguments) -> Result<()> {
    ensure!(minutes > 0.0 && minutes < 100_000.0, "so many minutes cannot be counted: {minutes}");
    let limit = Duration::from_secs_f64(minutes * 60.0);
    let wanted: Vec<Broken> = match &mutants[..] {
        [] => BROKEN.to_vec(),
        names => names.iter().map(|name| named(name)).collect::<Result<_>>()?,
    };
    let (mut rows, mut unnoticed) = (Vec::new(), Vec::new());
    for broken in wanted {
        println!("{}: {}", broken.mutant, broken.what);
        let caught = tokio::select! {
            caught = broken.caught_within(limit, seed) => caught,
            told = told_to_stop() => return told,
        };
        match caught {
            Ok(caught) => {
                let caught = caught.context("this machine does not permit it; the line above says what")?;
                println!("{:#}", caught.error);
                rows.push(row(&broken, &caught));
            }
            Err(error) => {
                println!("{error:#}");
                unnoticed.push(broken.mutant);
            }
        }
    }
    println!("| mutant | what is wrong | faults | caught by | after |\n|---|---|---|---|---|\n{}", rows.join("\n"));
    ensure!(unnoticed.is_empty(), "not noticed: {}", unnoticed.join(", "));
    Ok(())
}

fn named(name: &str) -> Result<Broken> {
    let names = || BROKEN.iter().map(|broken| broken.mutant).collect::<Vec<_>>().join(", ");
    let found = BROKEN.iter().copied().find(|broken| broken.mutant == name);
    found.with_context(|| format!("there is no mutant '{name}' here; there are: {}", names()))
}

fn row(broken: &Broken, caught: &Caught) -> String {
    let faults: Vec<_> = broken.faults.iter().map(|kind| format!("`{kind}`")).collect();
    let Caught { check, after, .. } = caught;
    let (mutant, what) = (broken.mutant, broken.what);
    format!("| `{mutant}` | {what} | {} | {check} | {:.0} s |", faults.join(", "), after.as_secs_f64())
}
