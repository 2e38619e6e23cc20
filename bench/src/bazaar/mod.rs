//! The service itself: a fresh cluster of the real processes, and the loads that its own client puts on it.

pub mod bare;
pub mod books;
pub mod bytes;
pub mod load;
pub mod recorded;
pub mod stages;

use anyhow::{Context, Result, bail, ensure};
use bazaar_tests::{Cluster, Name, cluster::REPLICAS};
use serde_json::Value;

use crate::{answer::Answer, child, usage::Group};
pub use load::Load;

/// All ten stocks fit: the default cache holds five, and ten in turn would never be found there.
pub const CACHE_STOCKS: &str = "BAZAAR_FRONTEND_CACHE_SIZE=16";
/// How long the load runs that fills the store, at most, before the orders are counted again.
const FILL_SLICE_S_MAX: u64 = 30;
/// Most such loads: far more than any number of orders takes.
const FILL_SLICES_MAX: usize = 10_000;
/// The load that fills the store: the largest batches.
const FILL: Load = Load { kind: "batch", connections: 4, batch_size: Some(8_192) };

/// A running cluster; killed and removed when it is dropped.
#[derive(Debug)]
pub struct Bazaar {
    cluster: Cluster,
}

/// Where the cluster stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Raft's term; every election begins a new one.
    pub term: u64,
    /// Orders that there are.
    pub orders: u64,
}

impl Bazaar {
    /// Starts a new cluster and waits until a trade would succeed.
    ///
    /// # Errors
    /// If something does not start; the message holds its log.
    pub async fn start() -> Result<Self> {
        let mut cluster = Cluster::prepare("")?;
        let under = child::under(None);
        let under: Vec<&str> = under.iter().map(String::as_str).chain([CACHE_STOCKS]).collect();
        for name in cluster.names() {
            cluster.launch_under(&under, name, true)?;
        }
        cluster.wait_all_ready().await?;
        Ok(Self { cluster })
    }

    /// The processes, each by its part.
    ///
    /// # Errors
    /// If none leads.
    pub async fn groups(&self) -> Result<Vec<Group>> {
        let leader = self.cluster.leader().await?;
        let followers = REPLICAS.into_iter().filter(|id| *id != leader).map(Name::Replica);
        let parts = [("leader", Name::Replica(leader)), ("catalog", Name::Catalog), ("frontend", Name::Frontend(1))];
        let all = parts.into_iter().chain(["follower_a", "follower_b"].into_iter().zip(followers));
        all.map(|(name, process)| Ok(Group { name, pids: vec![self.cluster.process(process)?.id()] })).collect()
    }

    /// Where the cluster stands, as its leader says.
    ///
    /// # Errors
    /// If none leads.
    pub async fn standing(&self) -> Result<Standing> {
        let data = self.position(self.cluster.leader().await?).await?;
        let number = |value: &Value| value.as_u64().context("the leader's position has another form");
        Ok(Standing { term: number(&data["term"])?, orders: number(&data["digest"]["number"])? })
    }

    /// What a replica shows of itself.
    async fn position(&self, replica: u64) -> Result<Value> {
        let (_, mut answer) = self.cluster.get(&format!("{}/admin/raft", self.cluster.admin_url(replica))).await?;
        Ok(answer["data"].take())
    }

    /// Puts a load on the frontend, or on another server that answers like it.
    ///
    /// # Errors
    /// If the client cannot start. Requests that fail are in the answer.
    pub async fn load(&self, load: Load, duration_s: u64, url: Option<&str>) -> Result<Answer> {
        let frontend = self.cluster.url();
        load.run(url.unwrap_or(&frontend), duration_s).await
    }

    /// Trades in batches until there are so many orders; returns how many there are.
    ///
    /// # Errors
    /// If the load fails, or makes no orders.
    pub async fn fill(&self, orders: u64) -> Result<u64> {
        let mut duration_s = 1;
        for _ in 0..FILL_SLICES_MAX {
            let found = self.standing().await?.orders;
            if found >= orders {
                return Ok(found);
            }
            let answer = self.load(FILL, duration_s, None).await?;
            ensure!(answer.operations > 0, "the store cannot be filled: no trade was accepted");
            let left_s = orders.saturating_sub(found + answer.operations) as f64 / answer.rate_per_s;
            duration_s = (left_s.ceil() as u64).clamp(1, FILL_SLICE_S_MAX);
        }
        bail!("the store is not full after {FILL_SLICES_MAX} loads")
    }

    /// The cluster, for what only one part needs.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}
