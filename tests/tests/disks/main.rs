//! Disks that fill up, fail, lie or belong elsewhere: the replica stops, or does not start, with one sentence that names
//! what is wrong and what to do; the others trade on, and nothing that was acknowledged is lost.

mod damage;
mod lost;
mod writing;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Cluster, Name,
    cluster::{REPLICAS, finished},
    disk::files,
    wait_until,
};

/// What a replica says whose files are damaged or missing.
const REPLACE: &str = "empty the replica's whole directory and replace the replica (bazaar members replace N)";
/// Snapshots as often as a short story needs them, and next to no log behind them.
const SMALL_SNAPSHOTS: &str = "raft.snapshot_every_entries = 40\nraft.log_kept_entries = 5";

/// Trades through the frontend to the end; no request may fail. Returns the file of all that was acknowledged so far.
async fn trade(cluster: &Cluster, requests: &str) -> Result<PathBuf> {
    let records = cluster.folder().join("acknowledged");
    let path = records.to_str().context("a folder that is no text")?;
    let arguments = ["workload", "--requests", requests, "--clients", "4", "--prob", "1", "--records", path];
    let report = finished(cluster.bazaar("workload", &arguments)?).await?;
    ensure!(report.contains("mismatches: 0"), "{report}");
    Ok(records)
}

async fn a_follower(cluster: &Cluster) -> Result<u64> {
    let leader = cluster.leader().await?;
    REPLICAS.into_iter().find(|id| *id != leader).context("there are followers")
}

/// Checks everything but the replicas that do not answer.
async fn check_the_rest(cluster: &Cluster, records: &Path) -> Result<()> {
    let records = records.to_str().context("a folder that is no text")?;
    cluster.bazaar_succeeds("check", &["check", "--allow-unreachable", "--records", records]).await.map(drop)
}

/// The largest file below a folder whose name has this beginning and end.
fn largest(folder: &Path, begins: &str, ends: &str) -> Result<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(begins) && name.ends_with(ends)
    };
    let found =
        files(folder)?.into_iter().filter(named).max_by_key(|path| path.metadata().map_or(0, |file| file.len()));
    found.with_context(|| format!("no {begins}*{ends} in {}", folder.display()))
}

/// Flips a bit at this place of a file, and of whatever else is a link to it.
fn flip(file: &Path, at: fn(usize) -> usize) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let position = at(bytes.len());
    bytes[position] ^= 1;
    fs::write(file, bytes)?;
    Ok(())
}

/// The newest checkpoint that a replica has finished.
fn checkpoint(data: &Path) -> Result<PathBuf> {
    let folders = fs::read_dir(data.join("snapshots"))?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let finished =
        folders.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-")));
    finished.max().context("no checkpoint")
}

/// Waits until a replica has a checkpoint.
async fn has_checkpoint(data: &Path) -> Result<()> {
    wait_until("there is a checkpoint", || async { checkpoint(data).ok() }).await.map(drop)
}

/// Starts a replica that must refuse to; returns its one sentence.
async fn refusal(cluster: &mut Cluster, id: u64) -> Result<String> {
    refusal_of(cluster, id, false).await
}

async fn refusal_of(cluster: &mut Cluster, id: u64, bootstrap: bool) -> Result<String> {
    let name = Name::Replica(id);
    // Only the words of this start count.
    fs::write(cluster.data(name).with_extension("log"), "")?;
    cluster.launch(name, bootstrap)?;
    last_words(cluster, id, &[1]).await
}

/// Waits until a replica has stopped by itself with one of these exit codes; returns its one sentence.
async fn last_words(cluster: &mut Cluster, id: u64, codes: &[i32]) -> Result<String> {
    let (code, mut words) = cluster.ended(Name::Replica(id)).await?;
    ensure!(codes.contains(&code) && words.len() == 1, "exit code {code}, {words:?}");
    words.pop().context("a sentence")
}

/// Trades until a replica ends by itself.
async fn trade_until_it_ends(cluster: &mut Cluster, id: u64, codes: &[i32]) -> Result<(String, PathBuf)> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let records = trade(cluster, "200").await?;
        if cluster.has_ended(Name::Replica(id))? {
            return Ok((last_words(cluster, id, codes).await?, records));
        }
        ensure!(Instant::now() < deadline, "replica {id} does not end");
    }
}
