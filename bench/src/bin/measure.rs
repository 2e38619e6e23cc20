//! `measure`: the driver behind `scripts/bench`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use bazaar_bench::{args::Args, progress::say, run::run};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// One thread: children die with the thread that started them, so that must be the one that lives longest.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run_or_stop(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A signal drops the run, and with it everything that it started.
async fn run_or_stop(args: Args) -> Result<()> {
    let [mut interrupt, mut terminate, mut hang_up] =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    tokio::select! {
        result = run(args) => result,
        _ = interrupt.recv() => bail!("interrupted; everything that was started is stopped"),
        _ = terminate.recv() => bail!("told to end; everything that was started is stopped"),
        _ = hang_up.recv() => bail!("the terminal is gone; everything that was started is stopped"),
    }
}
