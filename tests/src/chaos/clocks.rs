//! Wall clocks that jump. Nothing may rest on them: leases and elections count by the monotonic clock.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::Chaos;
use crate::wait_until;

/// How far clocks jump, in seconds.
const JUMPS_S: [i64; 4] = [-3_600, -30, 30, 31_536_000];
const JUMPED_FOR: Duration = Duration::from_secs(2);

impl Chaos {
    pub(super) async fn jump_clock(&mut self) -> Result<String> {
        let (name, seconds) = (self.a_process().await?, *self.draw.one_of(&JUMPS_S));
        let shim = self.cluster.shim()?;
        let before = shim.wrong_times(name)?;
        shim.set_clock(name, seconds)?;
        sleep(JUMPED_FOR).await;
        let read = wait_until("a process has read its clock", || async {
            Some(shim.wrong_times(name).ok()? - before).filter(|read| *read > 0)
        });
        let read = self.traffic.unless_faulty(read).await?;
        shim.set_clock(name, 0)?;
        Ok(format!("{name:?}, {seconds} s, read {read} times"))
    }
}
