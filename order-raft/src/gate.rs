//! The release gate: one place that all answers pass (R5), around the pure [`Release`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bazaar_domain::{Moment, config::LeaseConfig};
use bazaar_service::Clock;
use tokio::sync::watch;

use crate::{
    release::{Granted, Release, read_may_be_answered},
    state_machine::State,
};

/// This replica stopped leading in the term in which an answer was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not lead any more")]
pub struct LeadershipLost;

/// The gate. Cheap to share.
#[derive(Debug)]
pub struct Gate {
    release: Mutex<Release>,
    state: Arc<State>,
    clock: Clock,
    /// The term in which this replica leads; sent again whenever something may have been released.
    changed: watch::Sender<Option<u64>>,
}

impl Gate {
    /// A gate over a replica's state.
    pub fn new(config: LeaseConfig, state: Arc<State>, clock: Clock) -> Self {
        Self { release: Mutex::new(Release::new(config)), state, clock, changed: watch::Sender::new(None) }
    }

    fn lock(&self) -> MutexGuard<'_, Release> {
        self.release.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This replica leads in `term` from now on, or in none.
    pub fn set_term(&self, term: Option<u64>) {
        let mut release = self.lock();
        match term {
            Some(term) => release.lead(term, self.clock.now()),
            None => release.follow(),
        }
        drop(release);
        self.changed.send_replace(term);
    }

    /// The term in which this replica leads.
    pub fn term(&self) -> Option<u64> {
        self.lock().term()
    }

    /// Follows the term and every release.
    pub fn watch(&self) -> watch::Receiver<Option<u64>> {
        self.changed.subscribe()
    }

    /// Grants the catalog a lease, if this replica still leads in `term`, to which the quorum's answer belongs, and one
    /// can be given (R1).
    ///
    /// The floor is taken under the lock: an index that was released before is applied before, so it is not above it.
    pub fn grant(&self, term: u64, quorum_ack_sent_at: std::time::Instant, committed: u64) -> Option<Granted> {
        let mut release = self.lock();
        if release.term() != Some(term) {
            return None;
        }
        let floor = committed.max(self.state.applied_index());
        release.grant(self.clock.at(quorum_ack_sent_at), floor, self.clock.now())
    }

    /// The catalog has exposed everything up to `index`.
    pub fn exposed(&self, index: u64) {
        self.lock().exposed(index);
        self.changed.send_modify(|_| {});
    }

    /// The highest index that the catalog has said it exposed.
    pub fn catalog_exposed(&self) -> u64 {
        self.lock().catalog_exposed()
    }

    /// Everything up to the returned index may be answered, now and at any later time: it is never above what is
    /// applied now, and so never above the floor of a later grant.
    pub fn released(&self) -> u64 {
        let release = self.lock();
        release.released(self.clock.now()).min(self.state.applied_index())
    }

    /// When [`Self::released`] may grow without an ack.
    pub fn next_change(&self) -> Option<Moment> {
        self.lock().next_change(self.clock.now())
    }

    /// The instant of a moment of the gate's clock.
    pub fn instant(&self, moment: Moment) -> tokio::time::Instant {
        self.clock.instant(moment).into()
    }

    /// Waits until a read of `index` may be answered, in the term in which this replica leads now.
    ///
    /// # Errors
    /// If this replica does not lead, or stops leading before that.
    pub async fn pass(&self, index: u64) -> Result<(), LeadershipLost> {
        let mut changed = self.watch();
        let mut applied = self.state.watch_applied();
        let term = self.term().ok_or(LeadershipLost)?;
        loop {
            if self.term() != Some(term) {
                return Err(LeadershipLost);
            }
            if read_may_be_answered(index, self.released()) {
                return Ok(());
            }
            let next = self.next_change().map(|moment| self.instant(moment));
            tokio::select! {
                _ = changed.changed() => {}
                _ = applied.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }
}

/// Sleeps until an instant, or for ever.
pub async fn sleep_until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
