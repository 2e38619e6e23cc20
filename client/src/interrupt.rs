//! Ctrl-C and SIGTERM, for commands that go on until somebody ends them.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for Ctrl-C or SIGTERM. From the first call on, neither ends the process by itself.
///
/// # Errors
/// If the system does not let signals be handled.
pub async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Runs something that has no end of its own until Ctrl-C or SIGTERM, which end it well.
///
/// # Errors
/// As it says.
pub async fn until_interrupted(endless: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        result = endless => result,
        result = interrupted() => result,
    }
}
