//! `bazaar tour` on a cluster of `scripts/cluster`, and what it leaves behind.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Cluster,
    process::binary,
    wait::{LOOK_EVERY, WAIT_MAX},
    wait_until,
};
use serde_json::Value;
use tempfile::TempDir;

/// How long a tour, or a word of the script, may take: far longer than it does.
const FINISH_MAX: Duration = Duration::from_secs(300);

/// A child with what it printed; it does not outlive the test.
struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let folder = TempDir::new()?;
        let file = |name: &str| File::create(folder.path().join(name));
        let child = command.stdin(Stdio::null()).stdout(file("out")?).stderr(file("err")?).spawn()?;
        Ok(Self { child, folder })
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn finish(mut self) -> Result<Finished> {
        let deadline = Instant::now() + FINISH_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Finished { status, out: self.said("out"), err: self.said("err") });
            }
            ensure!(Instant::now() < deadline, "it does not end:\n{}{}", self.said("out"), self.said("err"));
            sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Finished {
    status: ExitStatus,
    out: String,
    err: String,
}

fn finished(mut command: Command) -> Result<Finished> {
    Running::start(&mut command)?.finish()
}

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
        let started = finished(this.script(&["start", "--no-build"])?)?;
        ensure!(started.status.success(), "{started:?}");
        Ok(this)
    }

    fn data(&self) -> PathBuf {
        self.prepared.folder().join("data")
    }

    fn script(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(script());
        command.args(words).arg("--data").arg(self.data()).arg("--config").arg(self.prepared.config());
        command.env("CARGO_TARGET_DIR", target()?);
        Ok(command)
    }

    fn tour(&self, words: &[&str]) -> Result<Command> {
        self.tour_with(&script(), words)
    }

    fn tour_with(&self, script: &Path, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("bazaar"));
        command.arg("tour").args(words).arg("--script").arg(script).arg("--data").arg(self.data());
        command.arg("--config").arg(self.prepared.config()).args(["--url", &self.prepared.url()]);
        command.env("CARGO_TARGET_DIR", target()?);
        Ok(command)
    }

    /// Whether all replicas lead or follow, and nobody lacks anything for long.
    fn is_whole(&self) -> Result<bool> {
        let shown = finished(self.script(&["status"])?)?;
        Ok(shown.status.success() && shown.out.contains("\nHealthy: "))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // Whatever it says: nothing more can be done here.
        let _ = self.script(&["stop"]).and_then(finished);
    }
}

#[test]
fn the_tour_keeps_every_promise_and_leaves_a_whole_cluster() -> Result<()> {
    let cluster = Scripted::start()?;
    let Finished { status, out, err: story } = finished(cluster.tour(&["--yes", "--output", "json"])?)?;
    ensure!(status.success(), "{status}\n{story}\n{out}");
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

/// A script like the cluster's, but nothing is restarted before there is a file of the name `go`.
fn holding_script(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("holding-cluster");
    let (go, real) = (folder.join("go"), script());
    let text = format!(
        "#!/bin/bash\nfor _ in {{1..3000}}; do\n  [ \"$1\" = restart ] && [ ! -e '{}' ] || break\n  sleep 0.05\ndone\n\
         exec '{}' \"$@\"\n",
        go.display(),
        real.display()
    );
    // By a child: as long as a process has it open for writing, a script cannot be started.
    let write = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
    let written = Command::new("sh").args(["-c", write, "sh", &text]).arg(&path).status()?;
    ensure!(written.success(), "the script cannot be written");
    Ok(path)
}

#[tokio::test]
async fn a_tour_that_is_ended_in_the_middle_brings_back_what_it_killed() -> Result<()> {
    let cluster = Scripted::start()?;
    let folder = cluster.prepared.folder();
    let tour = Running::start(&mut cluster.tour_with(&holding_script(folder)?, &["--yes"])?)?;
    let pids = || fs::read_dir(cluster.data().join("run")).map_or(0, Iterator::count);
    // The script removes the file of a process that it killed.
    wait_until("a replica is killed", || async { (pids() < 5).then_some(()) }).await?;
    let status = Command::new("kill").args(["-INT", &tour.child.id().to_string()]).status()?;
    ensure!(status.success(), "no signal could be sent");
    wait_until("the tour notices", || async { tour.said("err").contains("bringing replica").then_some(()) }).await?;
    File::create(folder.join("go"))?;
    let Finished { status, err: said, .. } = tour.finish()?;
    ensure!(status.code() == Some(130), "{status}: {said}");
    ensure!(said.contains("ended before its end"), "{said}");
    let deadline = Instant::now() + WAIT_MAX;
    while !cluster.is_whole()? {
        ensure!(Instant::now() < deadline, "the cluster is not whole again");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

#[test]
fn without_a_cluster_the_tour_says_how_to_start_one() -> Result<()> {
    let cluster = Scripted { prepared: Cluster::prepare("")? };
    let Finished { status, err: said, .. } = finished(cluster.tour(&["--yes"])?)?;
    ensure!(status.code() == Some(3), "{status}: {said}");
    ensure!(said.contains("scripts/cluster start --data"), "{said}");
    Ok(())
}
