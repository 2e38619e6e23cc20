//! Disks that fill up, fail, lie or belong elsewhere: the replica stops, or does not start, with one sentence that names
//! what is wrong and what to do; the others trade on, and nothing that was acknowledged is lost.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
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

fn copied(from: &Path, to: &Path) -> Result<()> {
    ensure!(Command::new("cp").arg("-a").args([from, to]).status()?.success(), "{} was not copied", from.display());
    Ok(())
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

async fn make_leader(cluster: &Cluster, id: u64) -> Result<()> {
    wait_until("the leadership is handed over", || async {
        let leader = cluster.leader().await.ok()?;
        if leader != id {
            let transfer = format!("{}/admin/transfer", cluster.admin_url(leader));
            // Refused while an election or another transfer is under way: the next look asks again.
            cluster.client().post(transfer).json(&serde_json::json!({ "to": id })).send().await.ok();
        }
        (leader == id).then_some(())
    })
    .await
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

/// A process that may write no file larger than this gets an error like that of a full disk, from its log or its state.
async fn files_that_may_not_grow(leads: bool) -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    cluster.stop(Name::Replica(id)).await?;
    // Blocks of 512 or 1,024 bytes, as the shell has it. Ignored, the signal leaves the write with an error.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 200; exec \"$@\"", "sh"];
    cluster.launch_under(&limited, Name::Replica(id), false)?;
    cluster.wait_ready(Name::Replica(id)).await?;
    if leads {
        make_leader(&cluster, id).await?;
    }
    let (words, records) = trade_until_it_ends(&mut cluster, id, &[1, 70]).await?;
    let data = cluster.data(Name::Replica(id)).display().to_string();
    ensure!(words.contains(&data) && words.contains("make room on the disk and start the replica again"), "{words}");
    check_the_rest(&cluster, &records).await?;
    cluster.restart(Name::Replica(id)).await?;
    trade(&cluster, "50").await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_follower_that_cannot_write_stops_and_comes_back_when_it_can() -> Result<()> {
    files_that_may_not_grow(false).await
}

#[tokio::test]
async fn a_leader_that_cannot_write_stops_and_comes_back_when_it_can() -> Result<()> {
    files_that_may_not_grow(true).await
}

/// A file system of its own for one replica, gone when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with the reason printed, where that is not allowed.
    fn mount(folder: &Path) -> Result<Option<Self>> {
        fs::create_dir(folder)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder).output()?;
        if mounted.status.success() {
            return Ok(Some(Self(folder.to_owned())));
        }
        println!("skipped: no file system can be mounted: {}", String::from_utf8_lossy(&mounted.stderr).trim());
        Ok(None)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached at once, and gone as soon as its last file is closed.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn a_full_disk(leads: bool) -> Result<()> {
    let mut cluster = Cluster::prepare("")?;
    let id = 1;
    // Dropped before the cluster, whose folder it lies in.
    let Some(disk) = SmallDisk::mount(&cluster.data(Name::Replica(id)))? else { return Ok(()) };
    for name in cluster.names() {
        cluster.launch(name, true)?;
    }
    cluster.wait_all_ready().await?;
    trade(&cluster, "50").await?;
    let elsewhere = REPLICAS.into_iter().find(|other| *other != id).context("there are others")?;
    make_leader(&cluster, if leads { id } else { elsewhere }).await?;
    let ballast = disk.0.join("incoming").join("ballast");
    let mut file = File::create(&ballast)?;
    while file.write_all(&[0; 4_096]).is_ok() {}
    let (words, records) = trade_until_it_ends(&mut cluster, id, &[1, 70]).await?;
    ensure!(words.contains("No space left on device"), "{words}");
    ensure!(words.contains("make room on the disk and start the replica again"), "{words}");
    check_the_rest(&cluster, &records).await?;
    drop(file);
    fs::remove_file(ballast)?;
    cluster.restart(Name::Replica(id)).await?;
    trade(&cluster, "50").await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_follower_whose_disk_is_full_stops_and_comes_back_when_there_is_room() -> Result<()> {
    a_full_disk(false).await
}

#[tokio::test]
async fn a_leader_whose_disk_is_full_stops_and_comes_back_when_there_is_room() -> Result<()> {
    a_full_disk(true).await
}

/// Makes every sync of a file below `$FAILING_FOLDER` fail while there is the file `$FAILING_WHILE`.
const FAILING_SYNCS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int file) {
    const char *folder = getenv("FAILING_FOLDER"), *trigger = getenv("FAILING_WHILE");
    char link[64], path[4096];
    if (!folder || !trigger || access(trigger, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

int fsync(int file) {
    if (fails(file)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file) {
    if (fails(file)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
"#;

/// A library for `LD_PRELOAD`; `None`, with the reason printed, where there is no compiler.
fn failing_syncs(folder: &Path) -> Result<Option<PathBuf>> {
    let (source, library) = (folder.join("failing_syncs.c"), folder.join("failing_syncs.so"));
    fs::write(&source, FAILING_SYNCS)?;
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").output();
    match compiled {
        Ok(output) if output.status.success() => Ok(Some(library)),
        Ok(output) => {
            println!("skipped: cc failed: {}", String::from_utf8_lossy(&output.stderr));
            Ok(None)
        }
        Err(error) => {
            println!("skipped: no C compiler: {error}");
            Ok(None)
        }
    }
}

async fn a_failing_sync(leads: bool) -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let Some(library) = failing_syncs(cluster.folder())? else { return Ok(()) };
    let id = a_follower(&cluster).await?;
    let trigger = cluster.folder().join("syncs-fail");
    let folder = cluster.data(Name::Replica(id)).join("raft");
    cluster.stop(Name::Replica(id)).await?;
    let set = |name: &str, path: &Path| format!("{name}={}", path.display());
    let (preload, below) = (set("LD_PRELOAD", &library), set("FAILING_FOLDER", &folder));
    let prefix = ["env", &preload, &below, &set("FAILING_WHILE", &trigger)];
    cluster.launch_under(&prefix, Name::Replica(id), false)?;
    cluster.wait_ready(Name::Replica(id)).await?;
    if leads {
        make_leader(&cluster, id).await?;
    }
    trade(&cluster, "50").await?;
    File::create(&trigger)?;
    let (words, records) = trade_until_it_ends(&mut cluster, id, &[70]).await?;
    ensure!(words.contains(&format!("the Raft log in {} cannot be made durable", folder.display())), "{words}");
    ensure!(words.contains("look after the disk and start the replica again"), "{words}");
    check_the_rest(&cluster, &records).await?;
    cluster.restart(Name::Replica(id)).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_follower_whose_log_cannot_be_synced_stops_and_comes_back() -> Result<()> {
    a_failing_sync(false).await
}

#[tokio::test]
async fn a_leader_whose_log_cannot_be_synced_stops_and_comes_back() -> Result<()> {
    a_failing_sync(true).await
}

/// What is damaged, where in the file, and what the refusal must name and advise.
struct Flip {
    folder: &'static str,
    begins: &'static str,
    ends: &'static str,
    at: fn(usize) -> usize,
    advice: &'static str,
}

fn middle(bytes: usize) -> usize {
    bytes / 2
}

fn near_the_end(bytes: usize) -> usize {
    bytes - 10
}

const NEEDED_AT_THE_START: [Flip; 10] = [
    Flip { folder: "raft", begins: "0", ends: ".sst", at: near_the_end, advice: REPLACE },
    Flip { folder: "raft", begins: "0", ends: ".log", at: middle, advice: REPLACE },
    Flip { folder: "raft", begins: "MANIFEST", ends: "", at: middle, advice: REPLACE },
    Flip { folder: "raft", begins: "CURRENT", ends: "", at: middle, advice: REPLACE },
    Flip { folder: "state", begins: "0", ends: ".sst", at: near_the_end, advice: REPLACE },
    Flip { folder: "state", begins: "0", ends: ".log", at: middle, advice: REPLACE },
    Flip { folder: "state", begins: "MANIFEST", ends: "", at: middle, advice: REPLACE },
    Flip { folder: "", begins: "identity", ends: ".json", at: middle, advice: REPLACE },
    Flip { folder: "", begins: "BAZAAR", ends: "", at: middle, advice: "this process needs 'order-replica format 2'" },
    Flip {
        folder: "snapshots",
        begins: "MANIFEST",
        ends: "",
        at: middle,
        advice: "remove this folder and start the replica again",
    },
];

#[tokio::test]
async fn a_flipped_byte_in_what_a_start_needs_is_refused() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let data = cluster.data(Name::Replica(id));
    trade(&cluster, "200").await?;
    // A checkpoint, and files of sorted rows: a restart writes them from the write-ahead logs.
    let snapshot = format!("{}/admin/snapshot", cluster.admin_url(id));
    cluster.client().post(snapshot).send().await?.error_for_status()?;
    has_checkpoint(&data).await?;
    cluster.stop(Name::Replica(id)).await?;
    cluster.restart(Name::Replica(id)).await?;
    let records = trade(&cluster, "200").await?;
    cluster.kill(Name::Replica(id));
    let kept = data.with_extension("kept");
    copied(&data, &kept)?;
    for Flip { folder, begins, ends, at, advice } in NEEDED_AT_THE_START {
        let file = largest(&data.join(folder), begins, ends)?;
        flip(&file, at)?;
        let words = refusal(&mut cluster, id).await?;
        let shown = file.strip_prefix(&data)?.display();
        let named = data.join(folder).display().to_string();
        ensure!(words.contains(named.trim_end_matches('/')), "{shown}: {words}");
        ensure!(words.contains(advice), "{shown}: {words}");
        fs::remove_dir_all(&data)?;
        copied(&kept, &data)?;
    }
    flip(&data.join("state").join("CURRENT"), near_the_end_of_a_name)?;
    let words = refusal(&mut cluster, id).await?;
    ensure!(words.contains("CURRENT names") && words.contains(REPLACE), "{words}");
    ensure!(data.join("state").join("generation-1").exists(), "the state itself was not touched");
    check_the_rest(&cluster, &records).await?;
    replace(&mut cluster, id).await?;
    cluster.check(Some(&records)).await.map(drop)
}

/// `generation-1` becomes `generation-0`: a good name of something that is not there.
fn near_the_end_of_a_name(bytes: usize) -> usize {
    bytes - 1
}

#[tokio::test]
async fn a_damaged_checkpoint_can_be_removed_when_the_state_is_whole() -> Result<()> {
    let mut cluster = Cluster::start_with(SMALL_SNAPSHOTS).await?;
    let id = a_follower(&cluster).await?;
    let data = cluster.data(Name::Replica(id));
    let records = trade(&cluster, "200").await?;
    has_checkpoint(&data).await?;
    cluster.kill(Name::Replica(id));
    let folder = checkpoint(&data)?;
    flip(&folder.join("CURRENT"), middle)?;
    let words = refusal(&mut cluster, id).await?;
    ensure!(words.contains(&folder.display().to_string()), "{words}");
    ensure!(words.contains("remove this folder and start the replica again"), "{words}");
    fs::remove_dir_all(folder)?;
    cluster.restart(Name::Replica(id)).await?;
    cluster.check(Some(&records)).await.map(drop)
}

/// A quarter into the largest file there are rows; the indexes that are read when it is opened come at the end.
fn among_the_rows(bytes: usize) -> usize {
    bytes / 4
}

#[tokio::test]
async fn a_leader_that_meets_a_damaged_order_stops_and_nobody_gets_a_wrong_answer() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let data = cluster.data(Name::Replica(id));
    let records = trade(&cluster, "400").await?;
    cluster.stop(Name::Replica(id)).await?;
    cluster.restart(Name::Replica(id)).await?;
    let orders: Vec<serde_json::Value> =
        fs::read_to_string(&records)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    cluster.kill(Name::Replica(id));
    flip(&largest(&data.join("state"), "0", ".sst")?, among_the_rows)?;
    cluster.restart(Name::Replica(id)).await?;
    make_leader(&cluster, id).await?;
    // By number and by key: whichever of the two is damaged is met.
    for order in &orders {
        let number = &order["number"];
        let (status, found) = cluster.get(&format!("{}/orders/{number}", cluster.url())).await?;
        ensure!(status == 200 && found["data"]["number"] == *number, "{order}: {status} {found}");
        let key = order["key"].as_str().context("a record has a key")?;
        let (status, found) = cluster.get(&format!("{}/orders/by-key/{key}", cluster.url())).await?;
        ensure!(status == 200, "{order}: {status} {found}");
    }
    let words = last_words(&mut cluster, id, &[1]).await?;
    ensure!(words.contains("Corruption") && words.contains(&data.display().to_string()), "{words}");
    ensure!(words.contains(REPLACE), "{words}");
    trade(&cluster, "50").await?;
    check_the_rest(&cluster, &records).await?;
    replace(&mut cluster, id).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_replica_that_meets_a_damaged_log_entry_stops() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let data = cluster.data(Name::Replica(id));
    trade(&cluster, "400").await?;
    cluster.stop(Name::Replica(id)).await?;
    cluster.restart(Name::Replica(id)).await?;
    cluster.kill(Name::Replica(id));
    flip(&largest(&data.join("raft"), "0", ".sst")?, among_the_rows)?;
    fs::write(data.with_extension("log"), "")?;
    cluster.launch(Name::Replica(id), false)?;
    // Raft itself may need the damaged entries first; at the latest, whoever looks at all of them meets them.
    let log = format!("{}/admin/log?limit=1000", cluster.admin_url(id));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !cluster.has_ended(Name::Replica(id))? && Instant::now() < deadline {
        let shown = cluster.get(&log).await;
        ensure!(!shown.is_ok_and(|(status, _)| status == 200), "damaged entries were shown");
    }
    let words = last_words(&mut cluster, id, &[70]).await?;
    ensure!(words.contains("Corruption") && words.contains(&data.join("raft").display().to_string()), "{words}");
    ensure!(words.contains(REPLACE), "{words}");
    let records = trade(&cluster, "50").await?;
    check_the_rest(&cluster, &records).await?;
    replace(&mut cluster, id).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_log_with_a_torn_end_goes_on_before_the_tear() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let tears: [fn(&mut Vec<u8>); 2] = [
        |bytes| bytes.truncate(bytes.len() - 5),
        |bytes| {
            // The beginning of a record whose rest was not written any more.
            let begun = bytes[..20].to_vec();
            bytes.extend(begun);
        },
    ];
    for tear in tears {
        trade(&cluster, "100").await?;
        cluster.kill(Name::Replica(id));
        let file = largest(&cluster.data(Name::Replica(id)).join("raft"), "0", ".log")?;
        let mut bytes = fs::read(&file)?;
        tear(&mut bytes);
        fs::write(&file, bytes)?;
        let records = trade(&cluster, "50").await?;
        cluster.restart(Name::Replica(id)).await?;
        cluster.check(Some(&records)).await?;
    }
    Ok(())
}

/// Waits until a replica has a checkpoint and has purged the log before it.
async fn purged(cluster: &Cluster, id: u64) -> Result<()> {
    let url = format!("{}/admin/raft", cluster.admin_url(id));
    wait_until("the log is purged", || async {
        let raft = cluster.get(&url).await.ok()?.1;
        (raft["data"]["log"]["purged"]["index"].as_u64() > Some(20)).then_some(())
    })
    .await
}

#[tokio::test]
async fn a_lost_part_of_the_state_is_made_again_from_the_rest_or_the_replica_refuses() -> Result<()> {
    let mut cluster = Cluster::start_with(SMALL_SNAPSHOTS).await?;
    let id = a_follower(&cluster).await?;
    let data = cluster.data(Name::Replica(id));
    let mut records = PathBuf::new();
    // From the checkpoint and the log behind it; and without a checkpoint, the state is enough.
    for lost in ["state", "snapshots"] {
        records = trade(&cluster, "150").await?;
        purged(&cluster, id).await?;
        cluster.kill(Name::Replica(id));
        fs::remove_dir_all(data.join(lost))?;
        cluster.restart(Name::Replica(id)).await?;
        cluster.check(Some(&records)).await.with_context(|| format!("without {lost}/"))?;
    }
    trade(&cluster, "150").await?;
    cluster.kill(Name::Replica(id));
    for lost in ["state", "snapshots"] {
        fs::remove_dir_all(data.join(lost))?;
    }
    let words = refusal(&mut cluster, id).await?;
    ensure!(words.contains("ends at log entry none, but the log goes on only behind entry"), "{words}");
    ensure!(words.contains(&data.display().to_string()) && words.contains(REPLACE), "{words}");
    check_the_rest(&cluster, &records).await?;
    replace(&mut cluster, id).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_lost_state_is_made_again_from_a_whole_log() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let records = trade(&cluster, "200").await?;
    cluster.kill(Name::Replica(id));
    fs::remove_dir_all(cluster.data(Name::Replica(id)).join("state"))?;
    cluster.restart(Name::Replica(id)).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_replica_without_its_log_or_its_identity_refuses() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let data = cluster.data(Name::Replica(id));
    let records = trade(&cluster, "50").await?;
    cluster.kill(Name::Replica(id));
    let aside = data.with_extension("aside");
    for (lost, sentence) in [("identity.json", "identity.json is missing"), ("raft", "it must not vote")] {
        fs::rename(data.join(lost), &aside)?;
        let words = refusal(&mut cluster, id).await?;
        ensure!(words.contains(sentence) && words.contains(&data.display().to_string()), "{words}");
        ensure!(words.contains(REPLACE), "{words}");
        // The log stays lost.
        if lost != "raft" {
            fs::rename(&aside, data.join(lost))?;
        }
    }
    check_the_rest(&cluster, &records).await?;
    replace(&mut cluster, id).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn the_directory_of_another_cluster_is_refused() -> Result<()> {
    let mut one = Cluster::start().await?;
    let mut other = Cluster::prepare("")?;
    for name in one.names() {
        let named: &[&str] = match name {
            Name::Replica(_) => &["env", "BAZAAR_ORDER_BOOTSTRAP=other-cluster"],
            _ => &[],
        };
        other.launch_under(named, name, false)?;
    }
    other.wait_all_ready().await?;
    let (ours, theirs) = (trade(&one, "50").await?, trade(&other, "50").await?);
    let id = a_follower(&one).await?;
    let name = Name::Replica(id);
    one.kill(name);
    other.kill(name);
    let (here, there, aside) = (one.data(name), other.data(name), one.folder().join("aside"));
    for (from, to) in [(&here, &aside), (&there, &here), (&aside, &there)] {
        copied(from, to)?;
        fs::remove_dir_all(from)?;
    }
    let words = refusal(&mut one, id).await?;
    ensure!(words.contains("belongs to cluster other-cluster"), "{words}");
    ensure!(words.contains("give the configuration of that cluster, or the data directory of this one"), "{words}");
    let words = refusal(&mut other, id).await?;
    ensure!(words.contains("belongs to cluster test-cluster"), "{words}");
    let words = refusal_of(&mut one, id, true).await?;
    ensure!(words.contains("cannot be bootstrapped into test-cluster"), "{words}");
    for (from, to) in [(&here, &aside), (&there, &here), (&aside, &there)] {
        copied(from, to)?;
        fs::remove_dir_all(from)?;
    }
    one.restart(name).await?;
    other.restart(name).await?;
    one.check(Some(&ours)).await?;
    other.check(Some(&theirs)).await.map(drop)
}

/// The members of a cluster that was begun anew turn away a replica of the old one, although the addresses are the same.
#[tokio::test]
async fn a_directory_from_before_a_new_beginning_counts_for_nothing() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    trade(&cluster, "50").await?;
    let id = 1;
    let name = Name::Replica(id);
    let before = cluster.folder().join("before");
    cluster.kill_all()?;
    copied(&cluster.data(name), &before)?;
    for name in cluster.names().filter(|name| !matches!(name, Name::Frontend(_))) {
        fs::remove_dir_all(cluster.data(name))?;
    }
    fs::remove_file(cluster.folder().join("acknowledged"))?;
    for name in cluster.names() {
        cluster.launch_under(&["env", "BAZAAR_ORDER_BOOTSTRAP=begun-anew"], name, false)?;
    }
    cluster.wait_all_ready().await?;
    cluster.kill(name);
    let new = cluster.folder().join("new");
    fs::rename(cluster.data(name), &new)?;
    fs::rename(&before, cluster.data(name))?;
    fs::write(cluster.data(name).with_extension("log"), "")?;
    cluster.launch(name, false)?;
    let health = format!("{}/health", cluster.url_of(name));
    wait_until("it answers", || async { cluster.get(&health).await.ok() }).await?;
    trade(&cluster, "100").await?;
    let (_, found) = cluster.get(&health).await?;
    ensure!(found["data"]["role"] != "leader" && found["data"]["cluster_id"] == "test-cluster", "{found}");
    let log = cluster.process(name)?.output();
    ensure!(log.contains("wrong cluster: this is 'test-cluster', not 'begun-anew'"), "{log}");
    cluster.kill(name);
    fs::remove_dir_all(cluster.data(name))?;
    fs::rename(&new, cluster.data(name))?;
    cluster.restart(name).await?;
    cluster.check(Some(&cluster.folder().join("acknowledged"))).await.map(drop)
}

#[tokio::test]
async fn a_directory_of_a_newer_format_is_refused() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let marker = cluster.data(Name::Replica(id)).join("BAZAAR");
    cluster.kill(Name::Replica(id));
    let found = fs::read_to_string(&marker)?;
    fs::write(&marker, "order-replica format 9999\n")?;
    let words = refusal(&mut cluster, id).await?;
    ensure!(words.contains("'order-replica format 9999', which is newer"), "{words}");
    ensure!(words.contains("start the newer version that wrote it, or give another directory"), "{words}");
    let records = trade(&cluster, "50").await?;
    check_the_rest(&cluster, &records).await?;
    fs::write(&marker, found)?;
    cluster.restart(Name::Replica(id)).await?;
    cluster.check(Some(&records)).await.map(drop)
}

/// A wiped voter cannot lose an acknowledged order.
///
/// S is away. A trade is acknowledged by the leader L and the follower F. L and F die, and F's disk is lost. Now F comes
/// back with an empty directory, and S with a log that lacks the order. Two of three are up, and if F still had the vote
/// of what it was, the two would elect S and trade on without the order. So F must be nobody: it waits to be taken in,
/// which only a leader can do, and no trade is taken. When L is back, L and S have the vote, and the order is there.
#[tokio::test]
async fn a_wiped_voter_cannot_lose_an_acknowledged_order() -> Result<()> {
    const REFUSED_TRADES: usize = 5;
    let mut cluster = Cluster::prepare("")?;
    let config = fs::read_to_string(cluster.config())?;
    fs::write(cluster.config(), config.replace("[frontend]\n", "[frontend]\ntrade_deadline_ms = 1000\n"))?;
    for name in cluster.names() {
        cluster.launch(name, true)?;
    }
    cluster.wait_all_ready().await?;
    let leader = cluster.leader().await?;
    let mut followers = REPLICAS.into_iter().filter(|id| *id != leader);
    let (wiped, without) = (followers.next().context("F")?, followers.next().context("S")?);
    cluster.kill(Name::Replica(without));
    let (status, order) = cluster.trade("acknowledged", "S1", "buy", 7).await?;
    ensure!(status == 200, "two are a quorum: {order}");
    cluster.kill(Name::Replica(leader));
    cluster.kill(Name::Replica(wiped));
    fs::remove_dir_all(cluster.data(Name::Replica(wiped)))?;
    cluster.launch(Name::Replica(wiped), false)?;
    cluster.launch(Name::Replica(without), false)?;
    let health = |id| format!("{}/health", cluster.url_of(Name::Replica(id)));
    for id in [wiped, without] {
        wait_until("the replica answers", || async { cluster.get(&health(id)).await.ok() }).await?;
    }
    let before = cluster.get(&health(without)).await?.1["data"]["last_log_index"].clone();
    // The frontend tries each for a second, which is several times what an election takes.
    for attempt in 0..REFUSED_TRADES {
        let (status, body) = cluster.trade(&format!("refused-{attempt}"), "S1", "buy", 1).await?;
        ensure!(status == 503, "{status} {body}");
        let (_, found) = cluster.get(&health(wiped)).await?;
        ensure!(found["data"]["role"] == "joining", "{found}");
        let (_, found) = cluster.get(&health(without)).await?;
        ensure!(found["data"]["role"] != "leader" && found["data"]["last_log_index"] == before, "{found}");
    }
    cluster.restart(Name::Replica(leader)).await?;
    cluster.wait_ready(Name::Replica(without)).await?;
    let (status, again) = cluster.trade("acknowledged", "S1", "buy", 7).await?;
    ensure!(status == 200 && again["data"]["number"] == order["data"]["number"], "{order} became {again}");
    let (status, body) = cluster.trade("after", "S1", "buy", 1).await?;
    ensure!(status == 200, "{body}");
    replace(&mut cluster, wiped).await?;
    cluster.check(None).await.map(drop)
}
