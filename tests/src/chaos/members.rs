//! Replicas that join and leave.

use anyhow::Result;

use super::{Chaos, recovers};
use crate::{Name, cluster::REPLICAS, disk::emptied};

/// The replica that comes and goes.
pub(super) const GUEST: u64 = 4;

impl Chaos {
    pub(super) async fn join_and_leave(&mut self) -> Result<String> {
        let guest = Name::Replica(GUEST);
        self.cluster.write_config(&[&REPLICAS[..], &[GUEST]].concat())?;
        self.cluster.launch(guest, false)?;
        recovers(&self.traffic, self.cluster.wait_role(GUEST, "joining")).await?;
        self.change("add").await?;
        recovers(&self.traffic, self.cluster.wait_ready(guest)).await?;
        // With four voters, three are a majority; now and then the new one leads.
        if self.draw.one_in(2) {
            recovers(&self.traffic, self.cluster.transfer(GUEST)).await?;
        }
        self.goes_on_in_time().await?;
        self.change("remove").await?;
        self.cluster.kill(guest);
        emptied(&self.cluster.data(guest))?;
        self.cluster.write_config(&REPLICAS)?;
        Ok(format!("replica {GUEST} joined and left"))
    }

    async fn change(&self, how: &str) -> Result<()> {
        let id = GUEST.to_string();
        recovers(&self.traffic, self.cluster.bazaar_succeeds(how, &["members", how, &id])).await.map(drop)
    }
}
