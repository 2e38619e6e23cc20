//! Checks recorded histories of stocks.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bazaar_linear::{Bounds, Report, Verdict, by_stock, read};
use clap::Parser;

const VIOLATION: u8 = 1;
const UNKNOWN: u8 = 2;

/// Says for each stock of each history whether one order of the trades and lookups explains all answers.
///
/// A history is a file of JSON objects, one in each line; the crate's documentation describes them. The exit code is 0
/// if all is well, 1 after a violation, and otherwise 2 if something is not known or cannot be read.
#[derive(Debug, Parser)]
#[command(name = "bazaar-linear", version)]
struct Args {
    /// The histories.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The longest time for one stock.
    #[arg(long, default_value_t = Bounds::default().time_max.as_secs(), value_name = "SECONDS")]
    time_max_s: u64,
    /// The most that is remembered at a time; one entry takes 100 to 200 bytes.
    #[arg(long, default_value_t = Bounds::default().entries_max, value_name = "COUNT")]
    entries_max: usize,
}

/// What came out of a part; the largest is what came out of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Ok,
    Unknown,
    Violation,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let bounds = Bounds { time_max: Duration::from_secs(args.time_max_s), entries_max: args.entries_max };
    let outcome = args.files.iter().map(|file| {
        checked(file, &bounds).unwrap_or_else(|error| {
            println!("{}: {error}", file.display());
            Outcome::Unknown
        })
    });
    match outcome.max() {
        Some(Outcome::Violation) => ExitCode::from(VIOLATION),
        Some(Outcome::Unknown) => ExitCode::from(UNKNOWN),
        Some(Outcome::Ok) | None => ExitCode::SUCCESS,
    }
}

fn checked(file: &Path, bounds: &Bounds) -> Result<Outcome, Box<dyn Error>> {
    let records = read(&fs::read_to_string(file)?)?;
    let histories = by_stock(&records)?;
    let mut outcome = Outcome::Ok;
    for history in histories {
        let report = Report::on(history, bounds);
        println!("{report}");
        outcome = outcome.max(match report.verdict {
            Verdict::Ok => Outcome::Ok,
            Verdict::Unknown(_) => Outcome::Unknown,
            Verdict::Violation(_) => Outcome::Violation,
        });
    }
    Ok(outcome)
}
