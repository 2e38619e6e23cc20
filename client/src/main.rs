//! The binary `bazaar`: reads the arguments, runs one command, and says with its exit code whether all went well.

use std::process::ExitCode;

use anyhow::Context;
use bazaar_client::{Cli, run, terminal};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = cli.runtime().context("the runtime cannot start").and_then(|runtime| runtime.block_on(run(cli)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::print_error(&error);
            ExitCode::FAILURE
        }
    }
}
