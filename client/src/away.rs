//! Replicas that a command takes away with the script, and that come back whatever becomes of the command.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Result, ensure};
use bazaar_domain::ReplicaId;

use crate::{
    exit::{Ending, Exit},
    interrupt::interrupted,
    script::ClusterScript,
    terminal::print_note,
};

/// What a command took away and has not brought back.
#[derive(Debug)]
pub struct Away {
    script: ClusterScript,
    /// By replica the word of the script that brings it back.
    gone: Mutex<BTreeMap<ReplicaId, &'static str>>,
    /// Whether it has taken any away so far.
    has_taken: AtomicBool,
}

impl Away {
    /// Nothing yet, of the cluster of this script.
    pub fn new(script: ClusterScript) -> Self {
        Self { script, gone: Mutex::default(), has_taken: AtomicBool::new(false) }
    }

    /// The script.
    pub fn script(&self) -> &ClusterScript {
        &self.script
    }

    /// Takes a replica away with one word of the script; another one brings it back. Returns what the script printed.
    ///
    /// # Errors
    /// If the script fails.
    pub async fn take(&self, replica: ReplicaId, how: &str, back: &'static str) -> Result<String> {
        // Noted first: who is interrupted while it happens must bring it back too.
        self.gone().insert(replica, back);
        self.has_taken.store(true, Ordering::Relaxed);
        self.script.call(&[how, &replica.to_string()]).await
    }

    /// Brings a replica back; returns what the script printed.
    ///
    /// # Errors
    /// If the script fails.
    pub async fn bring_back(&self, replica: ReplicaId) -> Result<String> {
        let back = self.gone().get(&replica).copied();
        let Some(back) = back else { return Ok(String::new()) };
        let said = self.script.call(&[back, &replica.to_string()]).await?;
        self.gone().remove(&replica);
        Ok(said)
    }

    /// Works until the end of it, or until Ctrl-C, SIGTERM or SIGHUP, and then brings back whatever is still away.
    ///
    /// # Errors
    /// As the work says; if it was ended; if something could not be brought back.
    pub async fn restoring<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::select! {
            done = work => Some(done),
            signal = interrupted() => signal.err().map(Err),
        };
        match (done, self.restore().await) {
            (Some(done), Ok(())) => done,
            (None, Ok(())) => Err(self.ended_early()),
            (Some(Err(first)), Err(left)) => Err(left.context(format!("{first:#}"))),
            (_, Err(left)) => Err(left),
        }
    }

    /// Tries each, also when another one does not come back.
    async fn restore(&self) -> Result<()> {
        let gone = self.gone().clone();
        let mut failures = Vec::new();
        for (replica, back) in gone {
            print_note(&format!("bringing replica {replica} back"));
            if let Err(why) = self.bring_back(replica).await {
                let typed = self.script.typed(&[back, &replica.to_string()]);
                failures.push(format!("replica {replica} is still away ({why:#}), bring it back with: {typed}"));
            }
        }
        ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }

    /// What a command says that was ended by somebody.
    fn ended_early(&self) -> anyhow::Error {
        let back =
            if self.has_taken.load(Ordering::Relaxed) { "; every replica that was taken away is back" } else { "" };
        Ending::new(Exit::Interrupted, format!("ended before its end{back}")).into()
    }

    fn gone(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, &'static str>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
