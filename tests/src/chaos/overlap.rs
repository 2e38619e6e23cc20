//! Faults that lie over each other: while a network or a disk is wrong, a process may die or freeze as well.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::Chaos;
use crate::Name;

/// In one of so many faults that last, something else happens too.
const ONE_IN: u64 = 3;

/// What happened during a fault.
#[derive(Debug)]
pub(super) struct Overlap {
    /// In words, for the report.
    pub(super) words: String,
    /// The process that was started again, and may not become ready before the fault is over.
    pub(super) restarted: Option<Name>,
}

impl Chaos {
    /// Lets a fault last for this time; now and then a process is killed and started again meanwhile, or halted.
    pub(super) async fn last_for(&mut self, time: Duration) -> Result<()> {
        if !self.draw.one_in(ONE_IN) {
            sleep(time).await;
            return Ok(());
        }
        let is_killed = self.draw.one_in(2);
        let victim = self.a_process().await?;
        sleep(time / 3).await;
        if is_killed {
            self.cluster.kill(victim);
        } else {
            self.cluster.signal(victim, "STOP")?;
        }
        sleep(time / 3).await;
        if is_killed {
            self.cluster.launch(victim, false)?;
        } else {
            self.cluster.signal(victim, "CONT")?;
        }
        sleep(time / 3).await;
        let words = format!(", meanwhile {victim:?} was {}", if is_killed { "killed" } else { "halted" });
        self.overlap = Some(Overlap { words, restarted: is_killed.then_some(victim) });
        Ok(())
    }
}
