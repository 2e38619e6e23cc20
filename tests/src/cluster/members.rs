//! Replicas that come and go.

use anyhow::Result;

use super::{Cluster, Name};
use crate::disk::emptied;

impl Cluster {
    /// Empties a replica's directory and takes it in again, as a new member.
    ///
    /// # Errors
    /// If it is not taken in.
    pub async fn replace(&mut self, id: u64) -> Result<()> {
        self.lose(id)?;
        self.take_in(id).await
    }

    /// Kills a replica and empties its directory.
    ///
    /// # Errors
    /// If it cannot be emptied.
    pub fn lose(&mut self, id: u64) -> Result<()> {
        self.kill(Name::Replica(id));
        emptied(&self.data(Name::Replica(id)))
    }

    /// Starts a replica with an empty directory and takes it in, as a new member.
    ///
    /// # Errors
    /// If it is not taken in.
    pub async fn take_in(&mut self, id: u64) -> Result<()> {
        self.launch(Name::Replica(id), false)?;
        self.wait_role(id, "joining").await?;
        self.bazaar_succeeds("replace", &["members", "replace", &id.to_string()]).await?;
        self.wait_ready(Name::Replica(id)).await
    }
}
