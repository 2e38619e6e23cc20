//! Ctrl-C, SIGTERM and a terminal that is closed, for commands that go on until somebody ends them.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::print_hint;

/// Waits for Ctrl-C, SIGTERM or SIGHUP. From the first call on, none of them ends the process by itself.
///
/// # Errors
/// If the system does not let signals be handled.
pub async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let hung_up = async {
        if ignores_hangup() {
            return std::future::pending().await;
        }
        signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?.recv().await;
        Ok(())
    };
    tokio::select! {
        _ = interrupt.recv() => {
            // The terminal shows ^C, and what comes next is not to stand behind it.
            print_hint("");
            Ok(())
        }
        _ = terminate.recv() => Ok(()),
        result = hung_up => result,
    }
}

/// Whether this process was started to outlive its terminal (nohup): it must not end by what it was told to ignore.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is the first signal, which is SIGHUP.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Runs something that has no end of its own until Ctrl-C, SIGTERM or SIGHUP, which end it well.
///
/// # Errors
/// As it says.
pub async fn until_interrupted(endless: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        result = endless => result,
        result = interrupted() => result,
    }
}
