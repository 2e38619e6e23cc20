//! Disks that take no more: full ones, and ones that fail to sync.

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, cluster::REPLICAS, disk::SmallDisk};

use crate::{a_follower, check_the_rest, trade, trade_until_it_ends};

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
        cluster.transfer(id).await?;
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

async fn a_full_disk(leads: bool) -> Result<()> {
    let mut cluster = Cluster::prepare("")?;
    let id = 1;
    // Dropped before the cluster, whose folder it lies in.
    let Some(disk) = SmallDisk::mount(&cluster.data(Name::Replica(id)), 16)? else { return Ok(()) };
    cluster.launch_all().await?;
    trade(&cluster, "50").await?;
    let elsewhere = REPLICAS.into_iter().find(|other| *other != id).context("there are others")?;
    cluster.transfer(if leads { id } else { elsewhere }).await?;
    let ballast = disk.fill()?;
    let (words, records) = trade_until_it_ends(&mut cluster, id, &[1, 70]).await?;
    ensure!(words.contains("No space left on device"), "{words}");
    ensure!(words.contains("make room on the disk and start the replica again"), "{words}");
    check_the_rest(&cluster, &records).await?;
    drop(ballast);
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

async fn a_failing_sync(leads: bool) -> Result<()> {
    let mut cluster = Cluster::prepare("")?;
    if !cluster.load_shim()? {
        return Ok(());
    }
    cluster.launch_all().await?;
    let id = a_follower(&cluster).await?;
    let name = Name::Replica(id);
    if leads {
        cluster.transfer(id).await?;
    }
    trade(&cluster, "50").await?;
    cluster.shim()?.fail_syncs(name, true)?;
    let (words, records) = trade_until_it_ends(&mut cluster, id, &[70]).await?;
    let folder = cluster.data(name).join("raft");
    ensure!(words.contains(&format!("the Raft log in {} cannot be made durable", folder.display())), "{words}");
    ensure!(words.contains("look after the disk and start the replica again"), "{words}");
    check_the_rest(&cluster, &records).await?;
    cluster.shim()?.fail_syncs(name, false)?;
    cluster.restart(name).await?;
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
