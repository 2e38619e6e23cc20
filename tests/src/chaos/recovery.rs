//! What has to be there again when a fault is over, and by when.

use std::{
    mem,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::time::timeout;

use super::{Chaos, Check, recovers};
use crate::{Name, wait_until};

/// When a fault is over, there has to be a leader within this time, and a trade at every frontend within the other.
const LEADER_WITHIN: Duration = Duration::from_secs(5);
const TRADE_WITHIN: Duration = Duration::from_secs(10);

/// How long it took until there was a leader, and until a new trade was answered at every frontend: from the moment at
/// which processes were started, connections mended, or a replica taken away for good.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Recovery {
    pub(super) leader: Duration,
    pub(super) trade: Duration,
}

impl Recovery {
    /// The longer times of both.
    pub(super) fn slowest(self, other: Self) -> Self {
        Self { leader: self.leader.max(other.leader), trade: self.trade.max(other.trade) }
    }
}

impl Chaos {
    /// Waits, and not too long, until there is a leader, and a new trade is answered at every frontend.
    pub(super) async fn goes_on_in_time(&mut self) -> Result<()> {
        let over = Instant::now();
        let leader = timeout(LEADER_WITHIN, self.cluster.leader()).await;
        recovers(&self.traffic, async { leader.context("there is no leader in time")? }).await?;
        let leader = over.elapsed();
        let trade = timeout(TRADE_WITHIN.saturating_sub(leader), self.traffic.a_trade_goes_through()).await;
        trade.context("trades do not go on in time").context(Check::Recovery)??;
        self.recovery = self.recovery.slowest(Recovery { leader, trade: over.elapsed() });
        Ok(())
    }

    /// Starts a process, which has to be ready before the next fault.
    pub(super) fn start(&mut self, name: Name) -> Result<()> {
        self.starting.insert(name);
        self.cluster.launch(name, false)
    }

    /// Waits until all that was started is ready.
    pub(super) async fn all_are_ready(&mut self) -> Result<()> {
        while let Some(name) = self.starting.pop_first() {
            recovers(&self.traffic, self.cluster.wait_ready(name)).await?;
        }
        Ok(())
    }

    /// Nothing ends that was not told to.
    pub(super) fn all_live(&mut self) -> Result<()> {
        for name in self.cluster.names() {
            let is_gone = self.cluster.has_ended(name)?;
            ensure!(!is_gone, Check::Ends.failed(format!("{name:?} ended by itself")));
        }
        Ok(())
    }

    /// Waits until processes reach each other, one way each.
    pub(super) async fn reach(&self, ways: &[(Name, Name)]) -> Result<()> {
        for (from, to) in ways {
            let what = format!("{from:?} reaches {to:?}");
            let reached = wait_until(&what, || async { self.reaches(*from, *to).ok()?.then_some(()) });
            self.traffic.unless_faulty(reached).await?;
        }
        Ok(())
    }

    /// Ways that were cut lead somewhere again, or it was not the cut that kept connections from coming about.
    pub(super) async fn ways_are_mended(&mut self) -> Result<()> {
        let mended = mem::take(&mut self.mended);
        self.reach(&mended).await
    }
}
