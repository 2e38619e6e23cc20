//! The binary `bazaar`: reads the arguments, runs one command, and says with its exit code whether all went well.

use std::process::ExitCode;

use anyhow::Context;
use bazaar_client::{arguments, exit::Exit, run, terminal};

fn main() -> ExitCode {
    let cli = arguments::parse();
    let result = cli.runtime().context("the runtime cannot start").and_then(|runtime| runtime.block_on(run(cli)));
    let exit = match result {
        Ok(()) => Exit::Success,
        Err(error) => {
            terminal::print_error(&error);
            Exit::of(&error)
        }
    };
    exit.into()
}
