//! Disks that fill up, fail, lie or belong elsewhere: the replica stops, or does not start, with one sentence that names
//! what is wrong and what to do; the others trade on, and nothing that was acknowledged is lost.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Cluster, Name,
    cluster::{REPLICAS, finished},
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

/// Trades until the file of records has grown by so many lines, whatever the requests meet.
struct Traders {
    process: bazaar_tests::process::Process,
    records: PathBuf,
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

/// Empties a replica's directory and takes it in again, as its last words say.
async fn replace(cluster: &mut Cluster, id: u64) -> Result<()> {
    cluster.kill(Name::Replica(id));
    fs::remove_dir_all(cluster.data(Name::Replica(id)))?;
    cluster.launch(Name::Replica(id), false)?;
    let health = format!("{}/health", cluster.url_of(Name::Replica(id)));
    wait_until("it waits to be taken in", || async {
        cluster.get(&health).await.ok().filter(|(_, health)| health["data"]["role"] == "joining")
    })
    .await?;
    cluster.bazaar_succeeds("replace", &["members", "replace", &id.to_string()]).await?;
    cluster.wait_ready(Name::Replica(id)).await
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { files.extend(self::files(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

/// The largest file below a folder whose name has this beginning and end.
fn largest(folder: &Path, begins: &str, ends: &str) -> Result<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(begins) && name.ends_with(ends)
    };
    let found = files(folder)?.into_iter().filter(named).max_by_key(|path| path.metadata().map_or(0, |file| file.len()));
    found.with_context(|| format!("no {begins}*{ends} in {}", folder.display()))
}

fn flip(file: &Path, at: impl Fn(usize) -> usize) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let position = at(bytes.len());
    bytes[position] ^= 1;
    fs::write(file, bytes)?;
    Ok(())
}

#[tokio::test]
async fn explore() -> Result<()> {
    let mut cluster = Cluster::start_with(SMALL_SNAPSHOTS).await?;
    let id = a_follower(&cluster).await?;
    let name = Name::Replica(id);
    let data = cluster.data(name);
    trade(&cluster, "300").await?;
    cluster.stop(name).await?;
    cluster.restart(name).await?;
    trade(&cluster, "300").await?;
    cluster.kill(name);
    for file in files(&data)? { println!("{} {}", file.display(), file.metadata()?.len()); }
    let middle = |bytes: usize| bytes / 2;
    let last = |bytes: usize| bytes - 10;
    let cases: Vec<(&str, &str, &str, &dyn Fn(usize) -> usize)> = vec![
        ("raft", "0", ".sst", &middle),
        ("raft", "0", ".sst", &last),
        ("raft", "0", ".log", &middle),
        ("raft", "MANIFEST", "", &middle),
        ("raft", "CURRENT", "", &middle),
        ("raft", "OPTIONS", "", &middle),
        ("state", "0", ".sst", &middle),
        ("state", "0", ".sst", &last),
        ("state", "0", ".log", &middle),
        ("state", "MANIFEST", "", &middle),
        ("", "identity", "json", &middle),
        ("", "BAZAAR", "", &middle),
        ("snapshots", "MANIFEST", "", &middle),
        ("snapshots", "0", ".sst", &middle),
        ("snapshots", "0", ".sst", &last),
        ("snapshots", "CURRENT", "", &middle),
    ];
    let kept = data.with_extension("kept");
    let copy = |from: &Path, to: &Path| -> Result<()> {
        ensure!(std::process::Command::new("cp").args(["-a"]).arg(from).arg(to).status()?.success());
        Ok(())
    };
    copy(&data, &kept)?;
    for (folder, begins, ends, at) in cases {
        fs::remove_dir_all(&data)?;
        copy(&kept, &data)?;
        let Ok(file) = largest(&data.join(folder), begins, ends) else { println!("NONE {folder} {begins}"); continue };
        flip(&file, at)?;
        let log = data.with_extension("log");
        fs::write(&log, "")?;
        println!("=== {} of {}", file.strip_prefix(&data)?.display(), fs::metadata(&file)?.len());
        match cluster.restart(name).await {
            Ok(()) => { println!("STARTED");
                let mut after = 0;
                loop {
                    let r = cluster.get(&format!("{}/admin/log?after={after}&limit=1000", cluster.admin_url(id))).await;
                    let Ok((s, v)) = r else { println!("log: gone"); break };
                    let Some(l) = v["data"].as_array().and_then(|a| a.last()) else { println!("log {s} {v}"); break };
                    after = l["index"].as_u64().unwrap();
                }
                println!("{:?}", cluster.get(&format!("{}/admin/digest?number=400", cluster.admin_url(id))).await.map(|(s,v)| format!("{s} {v}")));
                println!("{:?}", cluster.get(&format!("{}/admin/digest", cluster.admin_url(id))).await.map(|(s,v)| format!("{s} {v}")));
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            Err(e) => println!("{}", e.to_string().lines().filter(|l| l.contains("error:") || l.contains("ended")).collect::<Vec<_>>().join("\n")),
        }
        cluster.kill(name);
        println!("LOG:{}", fs::read_to_string(&log)?.lines().filter(|l| !l.contains("INFO")).collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}
