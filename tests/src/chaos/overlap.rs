//! Faults that lie over each other: while a network or a disk is wrong, a process may die or freeze as well.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::Chaos;
use crate::Name;

/// In one of so many faults that last, something else happens too.
const ONE_IN: u64 = 3;

/// What happens to a process while a fault lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meanwhile {
    victim: Name,
    /// Killed and started again, or else halted.
    is_killed: bool,
}

impl Chaos {
    /// Draws it before the fault begins: during some there is no leader that could be drawn.
    pub(super) async fn draw_meanwhile(&mut self) -> Result<Option<Meanwhile>> {
        if !self.draw.one_in(ONE_IN) {
            return Ok(None);
        }
        let is_killed = self.draw.one_in(2);
        Ok(Some(Meanwhile { victim: self.a_process().await?, is_killed }))
    }

    /// Lets a fault last for this time, with what happens meanwhile.
    pub(super) async fn last_for(&mut self, time: Duration) -> Result<()> {
        let Some(Meanwhile { victim, is_killed }) = self.meanwhile.take() else {
            sleep(time).await;
            return Ok(());
        };
        sleep(time / 3).await;
        if is_killed {
            self.cluster.kill(victim);
        } else {
            self.cluster.signal(victim, "STOP")?;
        }
        sleep(time / 3).await;
        if is_killed {
            self.start(victim)?;
        } else {
            self.cluster.signal(victim, "CONT")?;
        }
        sleep(time / 3).await;
        self.overlapped = format!(", meanwhile {victim:?} was {}", if is_killed { "killed" } else { "halted" });
        Ok(())
    }
}
