//! Who a replica is, kept in its data directory: cluster, number, life, and how often it was started.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use bazaar_domain::{ReplicaId, api::Founding};
use bazaar_service::data_dir::write_durably;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{disk::REPLACE, raft_types::RaftId};

const FILE: &str = "identity.json";
/// The log's folder. It is made after the identity.
pub(crate) const LOG_FOLDER: &str = "raft";

/// A replica's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// A name with a flipped bit must not read as a field that is not there.
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The cluster: named at its bootstrap, or by the leader that took this replica in. `None`: it waits for that.
    pub cluster_id: Option<String>,
    /// The replica's number.
    pub replica_id: ReplicaId,
    /// Which life of that number this directory is, see [`RaftId`].
    pub life: u64,
    /// One more with each start.
    pub incarnation: u64,
    /// The log was made. From then on a log without its owner's name means that a disk was lost.
    pub has_log: bool,
    /// The founding that this replica agreed to. It begins once all founders have (ADR 0010).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founding: Option<Founding>,
}

impl Identity {
    /// Reads the identity in a data directory, or makes one: that of a founding member if the cluster is being
    /// bootstrapped, else that of a replica that waits to be taken in. It gets a new life, because under its number an
    /// earlier one may have promised what this one does not know.
    ///
    /// # Errors
    /// If the directory belongs to another replica or cluster, or the file cannot be read or written.
    pub fn establish(data: &Path, replica_id: ReplicaId, bootstrap: Option<&str>) -> Result<Self> {
        let file = data.join(FILE);
        let identity = match fs::read(&file) {
            Ok(bytes) => {
                let found: Self = serde_json::from_slice(&bytes)
                    .map_err(|error| anyhow!("{} is damaged: {error}; {REPLACE}", file.display()))?;
                found.check(data, replica_id, bootstrap)?;
                let incarnation = found.incarnation.checked_add(1);
                let incarnation = incarnation
                    .ok_or_else(|| anyhow!("{} is damaged: nobody starts so often; {REPLACE}", file.display()))?;
                Self { incarnation, ..found }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && data.join(LOG_FOLDER).exists() => {
                bail!("{} is missing, but there is a log beside it; {REPLACE}", file.display())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self {
                cluster_id: bootstrap.map(str::to_owned),
                replica_id,
                life: if bootstrap.is_some() { 0 } else { new_life() },
                incarnation: 1,
                has_log: false,
                founding: None,
            },
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        identity.save(data)?;
        Ok(identity)
    }

    /// Makes, durably, the identity of a founding member whose log was made already.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn found(data: &Path, replica_id: ReplicaId, cluster_id: String) -> Result<Self> {
        let cluster_id = Some(cluster_id);
        let identity = Self { cluster_id, replica_id, life: 0, incarnation: 0, has_log: true, founding: None };
        identity.save(data)?;
        Ok(identity)
    }

    fn check(&self, data: &Path, replica_id: ReplicaId, bootstrap: Option<&str>) -> Result<()> {
        let data = data.display();
        if self.replica_id != replica_id {
            bail!("{data} is the data directory of replica {}, not of replica {replica_id}", self.replica_id);
        }
        match (&self.cluster_id, bootstrap) {
            (Some(found), Some(wanted)) if found != wanted => {
                bail!("{data} belongs to cluster {found}; it cannot be bootstrapped into {wanted}")
            }
            (None, Some(wanted)) => {
                bail!("{data} waits to be taken into a cluster; it cannot be bootstrapped into {wanted}")
            }
            _ => Ok(()),
        }
    }

    /// Its Raft id.
    pub fn raft_id(&self) -> RaftId {
        RaftId { replica: self.replica_id, life: self.life }
    }

    /// Notes, durably, that a cluster took this replica in.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn join(&mut self, data: &Path, cluster_id: String) -> Result<()> {
        self.change(data, |identity| identity.cluster_id = Some(cluster_id))
    }

    /// Notes, durably, the founding that this replica agrees to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn prepare(&mut self, data: &Path, founding: Founding) -> Result<()> {
        self.change(data, |identity| identity.founding = Some(founding))
    }

    /// Notes, durably, that the log was made.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note_log(&mut self, data: &Path) -> Result<()> {
        self.change(data, |identity| identity.has_log = true)
    }

    /// What could not be written is not known in memory either: nobody must hear of it.
    fn change(&mut self, data: &Path, change: impl FnOnce(&mut Self)) -> Result<()> {
        let mut changed = self.clone();
        change(&mut changed);
        changed.save(data)?;
        *self = changed;
        Ok(())
    }

    fn save(&self, data: &Path) -> Result<()> {
        let file = data.join(FILE);
        let text = serde_json::to_vec_pretty(self).expect("an identity is plain JSON");
        write_durably(&file, &text).with_context(|| format!("{} cannot be written", file.display()))
    }
}

/// A number that no life had before: 48 random bits, never 0, which stands for the founding members.
fn new_life() -> u64 {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    (random >> 16).max(1)
}

/// A name that no cluster had before.
pub fn new_cluster_id() -> String {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    format!("bazaar-{random:016x}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Identity;

    #[test]
    fn an_empty_directory_without_a_bootstrap_waits_to_be_taken_in_under_a_new_life() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.each_ref().map(|folder| Identity::establish(folder.path(), 1, None).unwrap());
        assert_eq!(one.cluster_id, None);
        assert_ne!(one.raft_id(), other.raft_id());
        let again = Identity::establish(folders[0].path(), 1, None).unwrap();
        assert_eq!(again.raft_id(), one.raft_id(), "a restart is the same life");
    }

    #[test]
    fn an_identity_survives_and_counts_its_starts() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::establish(folder.path(), 2, Some("c")).unwrap();
        let second = Identity::establish(folder.path(), 2, None).unwrap();
        assert_eq!((first.incarnation, second.incarnation), (1, 2));
        assert_eq!((second.cluster_id.as_deref(), second.life), (Some("c"), 0));
    }

    #[test]
    fn a_flipped_bit_in_the_file_is_refused_or_changes_nothing_but_the_words() {
        let folder = tempfile::tempdir().unwrap();
        let whole = Identity::establish(folder.path(), 2, Some("c")).unwrap();
        let file = folder.path().join("identity.json");
        let bytes = fs::read(&file).unwrap();
        for (position, bit) in (0..bytes.len()).flat_map(|position| (0..8).map(move |bit| (position, bit))) {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << bit;
            fs::write(&file, &flipped).unwrap();
            if let Ok(read) = Identity::establish(folder.path(), 2, None) {
                // The log's owner is compared with these two, see `claim_log`.
                let same_owner = (&read.cluster_id, read.life) == (&whole.cluster_id, whole.life);
                assert!(!same_owner || read.has_log == whole.has_log, "byte {position}, bit {bit}: {read:?}");
                assert!(read.cluster_id.is_some(), "byte {position}, bit {bit}: {read:?}");
            }
        }
    }

    #[test]
    fn an_identity_that_has_counted_to_the_end_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut last = Identity::establish(folder.path(), 2, Some("c")).unwrap();
        last.change(folder.path(), |identity| identity.incarnation = u64::MAX).unwrap();
        let refused = Identity::establish(folder.path(), 2, None).unwrap_err().to_string();
        assert!(refused.contains("identity.json is damaged"), "{refused}");
    }

    #[test]
    fn a_log_without_an_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("raft")).unwrap();
        for bootstrap in [None, Some("c")] {
            let refused = Identity::establish(folder.path(), 2, bootstrap).unwrap_err().to_string();
            assert!(refused.contains("identity.json is missing"), "{refused}");
        }
    }

    #[test]
    fn a_replica_that_was_taken_in_stays_in_that_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let mut joining = Identity::establish(folder.path(), 2, None).unwrap();
        joining.join(folder.path(), "c".into()).unwrap();
        let again = Identity::establish(folder.path(), 2, None).unwrap();
        assert_eq!((again.cluster_id.as_deref(), again.life), (Some("c"), joining.life));
    }

    #[test]
    fn what_could_not_be_written_does_not_hold() {
        let folder = tempfile::tempdir().unwrap();
        let mut waiting = Identity::establish(folder.path(), 2, None).unwrap();
        waiting.join(&folder.path().join("gone"), "c".into()).unwrap_err();
        assert_eq!(
            waiting,
            Identity::establish(folder.path(), 2, None).map(|found| Identity { incarnation: 1, ..found }).unwrap()
        );
    }

    #[test]
    fn the_directory_of_another_replica_or_cluster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Identity::establish(folder.path(), 2, Some("c")).unwrap();
        let replica = Identity::establish(folder.path(), 3, None).unwrap_err().to_string();
        assert!(replica.contains("replica 2, not of replica 3"), "{replica}");
        let cluster = Identity::establish(folder.path(), 2, Some("d")).unwrap_err().to_string();
        assert!(cluster.contains("belongs to cluster c"), "{cluster}");
        let waiting = tempfile::tempdir().unwrap();
        Identity::establish(waiting.path(), 2, None).unwrap();
        let late = Identity::establish(waiting.path(), 2, Some("d")).unwrap_err().to_string();
        assert!(late.contains("waits to be taken into a cluster"), "{late}");
    }
}
