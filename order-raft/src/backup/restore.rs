//! A new cluster from a backup: the data directories of its replicas, made before any of them runs.
//!
//! All is made in a folder beside the wanted one, named `….partial`, and moved into place by one rename at the end.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use bazaar_domain::{ReplicaId, config::ClusterConfig};
use bazaar_service::data_dir::DataDir;
use futures::executor::block_on;

use super::format::{Manifest, Verified, read_archive};
use crate::{
    identity::{Identity, LOG_FOLDER, new_cluster_id},
    log_store::{LogOwner, LogStore},
    raft_types::{LogId, RaftId, StoredMembership},
    run::{DATA_FORMAT, DATA_KIND, founding_members},
    snapshot_dir::SnapshotDir,
    state_machine::{
        snapshot::found_from,
        store::{Faults, Position, StateDb},
    },
};

/// `scripts/cluster` keeps the name of the cluster here.
const CLUSTER_ID_FILE: &str = "cluster-id";
/// With this file `scripts/cluster` starts the replicas as members of a cluster that exists.
const BOOTSTRAPPED_FILE: &str = "bootstrapped";

/// A cluster that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What it was made from.
    pub backup: Verified,
    /// Its name.
    pub cluster_id: String,
    /// Its replicas.
    pub replicas: Vec<ReplicaId>,
}

/// Makes the folder `data` with the data directories of a new cluster, whose members are the replicas of `config`.
/// Blocks.
///
/// # Errors
/// If `data` is there and not empty, the backup is damaged or of another format, or something cannot be written. Then
/// nothing is left behind.
pub fn restore(backup: &Path, data: &Path, config: &ClusterConfig) -> Result<Restored> {
    ensure_empty(data)?;
    let input = File::open(backup).with_context(|| format!("the backup {} cannot be read", backup.display()))?;
    let unfinished = Unfinished::begin(data)?;
    let root = unfinished.path.as_path();
    let unpacked = SnapshotDir { path: root.join("unpacked") };
    fs::create_dir(&unpacked.path).with_context(|| format!("{} cannot be made", unpacked.path.display()))?;
    let verified = read_archive(BufReader::new(input), &mut unpacked.clone())
        .with_context(|| format!("the backup {} cannot be used", backup.display()))?;
    let last_applied = check_content(&unpacked, &verified.manifest)
        .with_context(|| format!("the backup {} cannot be used", backup.display()))?;
    let position = Position { last_applied: Some(last_applied), membership: founding_membership(config, last_applied) };
    StateDb::open(&unpacked.path, Faults::new(None))?.found_at(&position)?;
    let cluster_id = new_cluster_id();
    for replica in &config.replicas {
        make_replica(root, replica.id, &cluster_id, last_applied, &unpacked)
            .with_context(|| format!("the data directory of replica {} cannot be made", replica.id))?;
    }
    fs::remove_dir_all(&unpacked.path).context("the unpacked backup cannot be removed")?;
    fs::write(root.join(CLUSTER_ID_FILE), format!("{cluster_id}\n")).context("the cluster's name cannot be written")?;
    fs::write(root.join(BOOTSTRAPPED_FILE), "").context("the cluster's mark cannot be written")?;
    unfinished.finish(data)?;
    Ok(Restored { backup: verified, cluster_id, replicas: config.replicas.iter().map(|replica| replica.id).collect() })
}

fn ensure_empty(data: &Path) -> Result<()> {
    let shown = data.display();
    match fs::read_dir(data) {
        Ok(mut entries) => match entries.next() {
            Some(_) => bail!("{shown} is not empty; name a new folder"),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{shown} is not a folder that can be used")),
    }
}

/// Checks that the files hold what the manifest says, down to the single orders.
fn check_content(unpacked: &SnapshotDir, manifest: &Manifest) -> Result<LogId> {
    ensure!(
        manifest.data_format == DATA_FORMAT,
        "it is from a data directory of format {}, this program needs format {DATA_FORMAT}",
        manifest.data_format
    );
    let db = StateDb::open_read_only(&unpacked.path)?;
    let Some(last_applied) = db.position()?.last_applied else { bail!("it has no log position") };
    let (term, index) = (last_applied.leader_id.term, last_applied.index);
    ensure!(
        (term, index) == (manifest.term, manifest.index),
        "it says that it ends at log index {} of term {}, but it ends at {index} of term {term}",
        manifest.index,
        manifest.term
    );
    let totals = db.count_anew()?;
    ensure!(
        totals == db.totals()? && (totals.orders, &totals.digest.to_string()) == (manifest.orders, &manifest.digest),
        "it says that it holds {} orders with digest {}, but it holds {} with digest {}",
        manifest.orders,
        manifest.digest,
        totals.orders,
        totals.digest
    );
    Ok(last_applied)
}

/// The membership of the new cluster, as if the last entry of the backup had set it: the log that is left begins behind.
fn founding_membership(config: &ClusterConfig, last_applied: LogId) -> StoredMembership {
    let members = founding_members(config);
    let voters = members.keys().copied().collect();
    let membership = openraft::Membership::new(vec![voters], members).expect("every voter is among the members");
    StoredMembership::new(Some(last_applied), membership)
}

fn make_replica(
    root: &Path,
    replica: ReplicaId,
    cluster_id: &str,
    last_applied: LogId,
    state: &SnapshotDir,
) -> Result<()> {
    let data = DataDir::open(&root.join(format!("replica-{replica}")), DATA_KIND, DATA_FORMAT)?;
    found_from(data.path(), state)?;
    let owner = LogOwner { cluster_id: cluster_id.to_owned(), id: RaftId::founding(replica) };
    // A failure comes back as an error too.
    let log = LogStore::open(&data.path().join(LOG_FOLDER), |_fault| {})?;
    block_on(log.found_behind(last_applied, &owner)).context("its log cannot be written")?;
    block_on(log.close()).context("its log cannot be written")?;
    Identity::found(data.path(), replica, cluster_id.to_owned())?;
    Ok(())
}

/// The folder in which the restore works; removed when dropped, unless it was finished. One that is left after a crash
/// is known by its name.
struct Unfinished {
    path: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    fn begin(data: &Path) -> Result<Self> {
        let Some(name) = data.file_name() else { bail!("{} has no name; name a new folder", data.display()) };
        let mut name = name.to_owned();
        name.push(".partial");
        let path = data.with_file_name(name);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        }
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path, is_finished: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!(
                    "{} is left from a restore that was cut off, or one is under way; remove it first",
                    path.display()
                )
            }
            Err(error) => Err(error).with_context(|| format!("{} cannot be made", path.display())),
        }
    }

    /// Makes everything durable, then gives it its name.
    fn finish(mut self, data: &Path) -> Result<()> {
        sync_all(&self.path).context("the new data cannot be synced")?;
        // Fails if somebody has put something there meanwhile.
        fs::rename(&self.path, data)
            .with_context(|| format!("{} cannot be moved to {}", self.path.display(), data.display()))?;
        self.is_finished = true;
        let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).context("the new data cannot be synced")
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), %error, "an unfinished restore cannot be removed");
        }
    }
}

/// Syncs a file, or a folder with all that is in it.
fn sync_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_all(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}
