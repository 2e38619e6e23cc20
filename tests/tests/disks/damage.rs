//! Files that are damaged: in what a start needs, and in what is met later.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, disk::copied, wait::LOOK_EVERY};

use crate::{
    REPLACE, SMALL_SNAPSHOTS, a_follower, check_the_rest, checkpoint, flip, has_checkpoint, largest, last_words,
    refusal, trade,
};

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
    cluster.replace(id).await?;
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
    cluster.transfer(id).await?;
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
    cluster.replace(id).await?;
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
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let words = last_words(&mut cluster, id, &[70]).await?;
    ensure!(words.contains("Corruption") && words.contains(&data.join("raft").display().to_string()), "{words}");
    ensure!(words.contains(REPLACE), "{words}");
    let records = trade(&cluster, "50").await?;
    check_the_rest(&cluster, &records).await?;
    cluster.replace(id).await?;
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
