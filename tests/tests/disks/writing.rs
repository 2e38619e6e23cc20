//! Disks that take no more: full ones, and ones that fail to sync.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, cluster::REPLICAS};

use crate::{a_follower, check_the_rest, make_leader, trade, trade_until_it_ends};

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
