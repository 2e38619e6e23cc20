//! Wall clocks that jump. Nothing may rest on them: leases and elections count by the monotonic clock.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::{Chaos, happened};
use crate::{Name, wait_until};

/// How far clocks jump, in seconds: less than a lease would be no jump.
const JUMPS_S: [i64; 4] = [-3_600, -30, 30, 31_536_000];
const JUMPED_FOR: Duration = Duration::from_secs(2);

impl Chaos {
    pub(super) async fn jump_clock(&mut self) -> Result<String> {
        let (name, seconds) = (self.a_process().await?, *self.draw.one_of(&JUMPS_S));
        self.cluster.shim()?.set_clock(name, seconds)?;
        sleep(JUMPED_FOR).await;
        let shown = self.traffic.unless_faulty(self.clock_of(name)).await?;
        happened((shown - seconds).abs() < seconds.abs() / 2, || format!("the clock of {name:?} is {shown} s ahead"))?;
        self.cluster.shim()?.set_clock(name, 0)?;
        Ok(format!("{name:?}, {seconds} s"))
    }

    /// How many seconds a process's clock is ahead of ours, by the date in its answers.
    async fn clock_of(&self, name: Name) -> Result<i64> {
        let url = format!("{}/livez", self.cluster.url_of(name));
        let date = wait_until("a process shows its clock", || async {
            let answer = self.cluster.client().get(&url).send().await.ok()?;
            httpdate::parse_http_date(answer.headers().get("date")?.to_str().ok()?).ok()
        });
        let date = seconds(date.await?)?;
        Ok(date - seconds(SystemTime::now())?)
    }
}

fn seconds(time: SystemTime) -> Result<i64> {
    Ok(i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).context("a time after 1970")?.as_secs())?)
}
