//! What replicas have stored when all is over: the same, byte for byte.

use anyhow::{Context, Result, ensure};
use bazaar_order_raft::state_machine::{
    snapshot::current_generation,
    store::{Row, StateDb},
};

use super::{Chaos, Check};
use crate::{Cluster, Name, cluster::REPLICAS, wait_until};

impl Chaos {
    /// Waits until all replicas have applied the same, kills all processes, and compares what replicas have stored: every
    /// order, every outcome of a key, every stock, totals and digests.
    pub(super) async fn replicas_have_the_same(&mut self) -> Result<()> {
        let applied = wait_until("all replicas have applied the same", || applied_by_all(&self.cluster));
        let applied = self.traffic.unless_faulty(applied).await.context(Check::Orders)?;
        self.cluster.kill_all()?;
        let mut rows: Option<Vec<Row>> = None;
        for id in REPLICAS {
            let state = self.cluster.data(Name::Replica(id)).join("state");
            let stored = StateDb::open_read_only(&current_generation(&state)?)?.dump()?;
            let first = rows.get_or_insert_with(|| stored.clone());
            let differs =
                || format!("replicas {} and {id} have stored other bytes: {}", REPLICAS[0], other(first, &stored));
            ensure!(*first == stored, Check::Orders.failed(differs()));
        }
        println!("{} records at log index {applied}, the same on all replicas", rows.map_or(0, |rows| rows.len()));
        Ok(())
    }
}

/// The log index that all replicas have applied, if it is the same.
async fn applied_by_all(cluster: &Cluster) -> Option<u64> {
    let mut all = None;
    for id in REPLICAS {
        let (_, health) = cluster.get(&format!("{}/health", cluster.url_of(Name::Replica(id)))).await.ok()?;
        let applied = health["data"]["applied"].as_u64()?;
        if *all.get_or_insert(applied) != applied {
            return None;
        }
    }
    all
}

/// The first records that differ, for people.
fn other(these: &[Row], those: &[Row]) -> String {
    let place = these.iter().zip(those).take_while(|(this, that)| this == that).count();
    let text = |rows: &[Row]| rows.get(place).map(|(key, value)| format!("{} = {value:?}", key.escape_ascii()));
    format!("{:?}, {:?}", text(these), text(those))
}
