//! Programs that are run to their end, and what all children have in common.

use std::{ffi::OsStr, path::Path, process::Output, time::Duration};

use anyhow::{Context, Result, ensure};
use bazaar_tests::process::Process;
use tokio::{process::Command, time::timeout};

/// Ends a child whose parent was gone before the child asked to die with it; else becomes the program, with no variables
/// by which the user may have set up something else.
const BECOME: &str = r#"[ "$PPID" = "$0" ] && exec env -i "$@""#;

/// The words under which every child is started: it dies with this process, however that ends. Root can start one as
/// another user.
pub fn under(user: Option<&str>) -> Vec<String> {
    let own = std::process::id().to_string();
    let switch = user.map_or(vec![], |user| vec!["--reuid", user, "--regid", user, "--clear-groups"]);
    let words = ["setpriv"].into_iter().chain(switch).chain(["--pdeathsig", "KILL", "sh", "-c", BECOME, &own]);
    words.map(str::to_owned).collect()
}

/// Starts a program that runs on, with its output in a file.
///
/// # Errors
/// If it cannot be started.
pub fn start<A: AsRef<OsStr>>(
    under: &[String],
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    log: &Path,
) -> Result<Process> {
    let under: Vec<&str> = under.iter().map(String::as_str).collect();
    Process::start_under(&under, &program.to_string_lossy(), arguments, log)
}

/// Runs a program to its end, for at most `limit`.
///
/// # Errors
/// If it cannot be started or takes too long; it is killed then.
pub async fn output<A: AsRef<OsStr>>(
    under: &[String],
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<Output> {
    let (first, rest) = under.split_first().context("nothing to start a child with")?;
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
    under: &[String],
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<String> {
    let ended = output(under, program, arguments, limit).await?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{} ended with {}: {}", program.display(), ended.status, said.trim());
    Ok(String::from_utf8(ended.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_child_sees_no_variables_but_those_that_it_is_given() {
        let printed = succeeds(&under(None), Path::new("A=b"), ["/usr/bin/env"], LIMIT).await.unwrap();
        assert_eq!(printed, "A=b\n");
    }

    #[tokio::test]
    async fn a_child_of_somebody_else_ends_at_once() {
        let mut words = under(None);
        *words.last_mut().unwrap() = "1".into();
        assert!(!output(&words, Path::new("/bin/true"), [""; 0], LIMIT).await.unwrap().status.success());
    }

    #[tokio::test]
    async fn what_a_failing_program_says_is_in_the_error() {
        let error = succeeds(&under(None), Path::new("/bin/sh"), ["-c", "echo no luck >&2; exit 3"], LIMIT).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no luck") && error.contains("exit status: 3"), "{error}");
    }
}
