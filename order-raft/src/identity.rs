//! Who a replica is, kept in its data directory: cluster, number, and how often it was started.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use bazaar_domain::ReplicaId;
use bazaar_service::data_dir::write_durably;
use serde::{Deserialize, Serialize};

const FILE: &str = "identity.json";

/// A replica's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster, named once at its bootstrap.
    pub cluster_id: String,
    /// The replica's number.
    pub replica_id: ReplicaId,
    /// One more with each start.
    pub incarnation: u64,
    /// The log was started. From then on an empty log means that a disk was lost.
    pub has_log: bool,
}

impl Identity {
    /// Reads the identity in a data directory, or makes one if the cluster is being bootstrapped.
    ///
    /// `None`: the directory is empty and no cluster is being bootstrapped. The replica must not vote: under its number
    /// it may have promised what it no longer knows.
    ///
    /// # Errors
    /// If the directory belongs to another replica or cluster, or the file cannot be read or written.
    pub fn establish(data: &Path, replica_id: ReplicaId, bootstrap: Option<&str>) -> Result<Option<Self>> {
        let file = data.join(FILE);
        let identity = match fs::read(&file) {
            Ok(bytes) => {
                let found: Self =
                    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", file.display()))?;
                if found.replica_id != replica_id {
                    bail!(
                        "{} is the data directory of replica {}, not of replica {replica_id}",
                        data.display(),
                        found.replica_id
                    );
                }
                if let Some(wanted) = bootstrap.filter(|wanted| *wanted != found.cluster_id) {
                    bail!(
                        "{} belongs to cluster {}; it cannot be bootstrapped into {wanted}",
                        data.display(),
                        found.cluster_id
                    );
                }
                Self { incarnation: found.incarnation + 1, ..found }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match bootstrap {
                Some(cluster_id) => {
                    Self { cluster_id: cluster_id.to_owned(), replica_id, incarnation: 1, has_log: false }
                }
                None => return Ok(None),
            },
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        identity.save(data)?;
        Ok(Some(identity))
    }

    /// Notes, durably, that the log was started.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note_log(&mut self, data: &Path) -> Result<()> {
        self.has_log = true;
        self.save(data)
    }

    fn save(&self, data: &Path) -> Result<()> {
        let file = data.join(FILE);
        let text = serde_json::to_vec_pretty(self).expect("an identity is plain JSON");
        write_durably(&file, &text).with_context(|| format!("{} cannot be written", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn an_empty_directory_without_a_bootstrap_has_no_identity() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Identity::establish(folder.path(), 1, None).unwrap(), None);
    }

    #[test]
    fn an_identity_survives_and_counts_its_starts() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::establish(folder.path(), 2, Some("c")).unwrap().unwrap();
        let second = Identity::establish(folder.path(), 2, None).unwrap().unwrap();
        assert_eq!((first.incarnation, second.incarnation), (1, 2));
        assert_eq!(second.cluster_id, "c");
    }

    #[test]
    fn the_directory_of_another_replica_or_cluster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Identity::establish(folder.path(), 2, Some("c")).unwrap();
        let replica = Identity::establish(folder.path(), 3, None).unwrap_err().to_string();
        assert!(replica.contains("replica 2, not of replica 3"), "{replica}");
        let cluster = Identity::establish(folder.path(), 2, Some("d")).unwrap_err().to_string();
        assert!(cluster.contains("belongs to cluster c"), "{cluster}");
    }
}
