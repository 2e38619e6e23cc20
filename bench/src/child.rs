//! Programs that are run to their end, and what all children have in common.

use std::{ffi::OsStr, path::Path, process::Output, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{process::Command, time::timeout};

/// What every child is started under: it dies with this process, however that ends, and sees none of the variables by
/// which the user may have set up something else.
pub const UNDER: [&str; 5] = ["setpriv", "--pdeathsig", "KILL", "env", "-i"];

/// Runs a program to its end, for at most `limit`.
///
/// # Errors
/// If it cannot be started or takes too long; it is killed then.
pub async fn output<A: AsRef<OsStr>>(
    prefix: &[&str],
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<Output> {
    let (first, rest) = prefix.split_first().context("a prefix has a word at least")?;
    let mut command = Command::new(first);
    // The current folder may be one that the child's user must not enter.
    command.args(rest).arg(program).args(arguments).current_dir("/").kill_on_drop(true);
    let name = program.display();
    let ended =
        timeout(limit, command.output()).await.with_context(|| format!("{name} takes longer than {limit:?}"))?;
    ended.with_context(|| format!("{name} cannot be started"))
}

/// As [`output`], for a program that must succeed; returns what it printed.
///
/// # Errors
/// As there, and if it fails; the message holds what it said.
pub async fn succeeds<A: AsRef<OsStr>>(
    prefix: &[&str],
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<String> {
    let ended = output(prefix, program, arguments, limit).await?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{} ended with {}: {}", program.display(), ended.status, said.trim());
    Ok(String::from_utf8(ended.stdout)?)
}
