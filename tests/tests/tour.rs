//! `bazaar tour` on a cluster of `scripts/cluster`, and what it leaves behind.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, process::binary, wait_until};
use serde_json::Value;

/// A cluster that the script runs; everything is stopped when it is dropped.
struct Scripted {
    /// Folder, ports and configuration.
    prepared: Cluster,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster")
}

/// The target folder of this build, in which the script looks for the binaries.
fn target() -> Result<PathBuf> {
    let release = binary("bazaar").parent().map(Path::to_owned).context("a folder of binaries")?;
    Ok(release.parent().context("a target folder")?.to_owned())
}

impl Scripted {
    fn start() -> Result<Self> {
        let this = Self { prepared: Cluster::prepare("")? };
        let output = this.script(&["start", "--no-build"])?.output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(this)
    }

    fn data(&self) -> PathBuf {
        self.prepared.folder().join("data")
    }

    fn script(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(script());
        command.args(words).arg("--data").arg(self.data()).arg("--config").arg(self.prepared.config());
        command.env("CARGO_TARGET_DIR", target()?).stdin(Stdio::null());
        Ok(command)
    }

    fn tour(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("bazaar"));
        command.arg("tour").args(words).arg("--script").arg(script()).arg("--data").arg(self.data());
        command.arg("--config").arg(self.prepared.config()).args(["--url", &self.prepared.url()]);
        command.env("CARGO_TARGET_DIR", target()?).stdin(Stdio::null());
        Ok(command)
    }

    /// Whether all replicas lead or follow, and nobody lacks anything for long.
    fn is_whole(&self) -> Result<bool> {
        let output = self.script(&["status"])?.output()?;
        Ok(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("\nHealthy: "))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // Whatever it says: nothing more can be done here.
        let _ = self.script(&["stop"]).map(|mut command| command.output());
    }
}

fn text(output: &Output) -> (String, String) {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (out, err)
}

#[test]
fn the_tour_keeps_every_promise_and_leaves_a_whole_cluster() -> Result<()> {
    let cluster = Scripted::start()?;
    let output = cluster.tour(&["--yes", "--output", "json"])?.output()?;
    let (out, story) = text(&output);
    ensure!(output.status.success(), "{}\n{story}\n{out}", output.status);
    let report: Value = serde_json::from_str(&out)?;
    let promises = report["promises"].as_array().context("promises")?;
    ensure!(report["ok"] == true && promises.len() == 8, "{report}");
    ensure!(promises.iter().all(|promise| promise["passed"] == true), "{report}");
    for expected in [
        "1 of 6",
        "6 of 6",
        "killed replica-",
        "restarted replica-",
        "$ bazaar trade buy",
        "REPLAYED",
        "acknowledged orders",
    ] {
        ensure!(story.contains(expected), "'{expected}' is not told:\n{story}");
    }
    ensure!(cluster.is_whole()?, "something is still broken");
    Ok(())
}

#[tokio::test]
async fn a_tour_that_is_ended_in_the_middle_brings_back_what_it_killed() -> Result<()> {
    let cluster = Scripted::start()?;
    let mut tour = cluster.tour(&["--yes"])?.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let pids = || std::fs::read_dir(cluster.data().join("run")).map_or(0, Iterator::count);
    // The script removes the file of a process that it killed.
    wait_until("a replica is killed", || async { (pids() < 5).then_some(()) }).await?;
    let status = Command::new("kill").args(["-INT", &tour.id().to_string()]).status()?;
    ensure!(status.success(), "no signal could be sent");
    wait_until("the tour ends", || {
        let ended = tour.try_wait().ok().flatten();
        async move { ended }
    })
    .await?;
    let output = tour.wait_with_output()?;
    let (_, said) = text(&output);
    ensure!(output.status.code() == Some(130), "{}: {said}", output.status);
    ensure!(said.contains("is back") && said.contains("ended before its end"), "{said}");
    wait_until("the cluster is whole", || {
        let is_whole = cluster.is_whole();
        async move { is_whole.ok().filter(|is_whole| *is_whole) }
    })
    .await?;
    Ok(())
}

#[test]
fn without_a_cluster_the_tour_says_how_to_start_one() -> Result<()> {
    let cluster = Scripted { prepared: Cluster::prepare("")? };
    let output = cluster.tour(&["--yes"])?.output()?;
    let (_, said) = text(&output);
    ensure!(output.status.code() == Some(3), "{}: {said}", output.status);
    ensure!(said.contains("scripts/cluster start --data"), "{said}");
    Ok(())
}
