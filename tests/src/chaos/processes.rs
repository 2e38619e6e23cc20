//! Processes that die, stop and freeze.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

use super::{Chaos, Check, happened};
use crate::{Name, wait_until};

/// How long processes are dead or halted: below and above the length of a lease.
const LASTS_MS: [u64; 4] = [50, 300, 800, 1_500];
/// One halt of so many is long.
const LONG_ONE_IN: u64 = 8;
const LONG_MS: [u64; 3] = [5_000, 15_000, 30_000];
/// The state of a process that is halted.
const HALTED: char = 'T';

impl Chaos {
    fn lasts(&mut self) -> Duration {
        Duration::from_millis(*self.draw.one_of(&LASTS_MS))
    }

    pub(super) async fn kill(&mut self) -> Result<String> {
        let (victim, lasts) = (self.a_process().await?, self.lasts());
        let process = self.cluster.process(victim)?.id();
        self.cluster.kill(victim);
        happened(!Path::new(&format!("/proc/{process}")).exists(), || format!("process {process} lives"))?;
        sleep(lasts).await;
        self.start(victim)?;
        Ok(format!("{victim:?}, for {lasts:?}"))
    }

    pub(super) async fn stop(&mut self) -> Result<String> {
        let (victim, lasts) = (self.a_process().await?, self.lasts());
        self.end_in_order(&[victim]).await?;
        sleep(lasts).await;
        self.start(victim)?;
        Ok(format!("{victim:?}, for {lasts:?}"))
    }

    /// Tells processes to stop, and waits until they have, with success.
    async fn end_in_order(&mut self, names: &[Name]) -> Result<()> {
        names.iter().try_for_each(|name| self.cluster.signal(*name, "TERM"))?;
        for name in names {
            let ended = self.traffic.unless_faulty(self.cluster.ended(*name)).await;
            let (code, words) = ended.context(Check::Ends)?;
            ensure!(code == 0, Check::Ends.failed(format!("{name:?} ended with {code}: {words:?}")));
        }
        Ok(())
    }

    pub(super) async fn kill_all(&mut self) -> Result<String> {
        self.cluster.kill_all()?;
        self.start_all()
    }

    pub(super) async fn stop_all(&mut self) -> Result<String> {
        let names: Vec<Name> = self.cluster.names().collect();
        self.end_in_order(&names).await?;
        self.start_all()
    }

    pub(super) fn start_all(&mut self) -> Result<String> {
        let names: Vec<Name> = self.cluster.names().collect();
        names.iter().try_for_each(|name| self.start(*name))?;
        Ok(format!("{} processes", names.len()))
    }

    pub(super) async fn restart_in_turn(&mut self) -> Result<String> {
        let names: Vec<Name> = self.cluster.names().collect();
        for name in &names {
            self.all_are_ready().await?;
            self.end_in_order(&[*name]).await?;
            self.start(*name)?;
        }
        Ok(format!("{} processes", names.len()))
    }

    pub(super) async fn freeze(&mut self) -> Result<String> {
        let victim = self.a_process().await?;
        let long = self.draw.one_in(LONG_ONE_IN);
        let lasts = if long { Duration::from_millis(*self.draw.one_of(&LONG_MS)) } else { self.lasts() };
        self.cluster.signal(victim, "STOP")?;
        let process = self.cluster.process(victim)?.id();
        wait_until(&format!("{victim:?} is halted"), || async { (state(process)? == HALTED).then_some(()) }).await?;
        sleep(lasts).await;
        self.cluster.signal(victim, "CONT")?;
        Ok(format!("{victim:?}, for {lasts:?}"))
    }
}

/// The state of a process as the system has it.
fn state(process: u32) -> Option<char> {
    let about = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it, in parentheses, may hold anything.
    about.rsplit_once(')')?.1.trim_start().chars().next()
}
