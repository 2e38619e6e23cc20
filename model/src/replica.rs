//! An order replica that leads, led, or may lead: the real [`Release`] and [`Standing`] over an abstract Raft.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use bazaar_domain::{Moment, api::Role, config::LeaseConfig};
use bazaar_order_raft::{
    release::{Granted, Release, read_may_be_answered},
    standing::Standing,
};

use crate::log::FIRST_INDEX;

/// An instant for each moment: the standing counts in those.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// When a replica lost the votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deposed {
    /// The newest entry whose commit it may still hear of, from acknowledgements that are late.
    pub last_index: u64,
    /// The newest message that a quorum acknowledged was sent then at the latest.
    pub at: Moment,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    /// The leader's side of the leases.
    pub release: Release,
    /// Everything up to here is applied, and known to be committed.
    pub applied: u64,
    /// The first entry of its own term, while it believes that it leads.
    pub own_first: u64,
    /// It has lost the votes and does not know it.
    pub deposed: Option<Deposed>,
    /// A quorum confirmed its leadership to a read: such a read may still be waiting for its release.
    pub has_confirmed_reads: bool,
}

impl Replica {
    /// One that has led since long ago.
    pub fn leading(leases: LeaseConfig) -> Self {
        let mut replica = Self::following(leases);
        replica.release.lead(1, Moment::ZERO);
        replica
    }

    /// One that never led, and has applied nothing lately.
    pub fn following(leases: LeaseConfig) -> Self {
        let release = Release::new(leases);
        Self { release, applied: FIRST_INDEX, own_first: FIRST_INDEX, deposed: None, has_confirmed_reads: false }
    }

    /// It has the votes of a term; its first entry is `own_first`.
    pub fn elected(&mut self, term: u64, own_first: u64, now: Moment) {
        self.release.lead(term, now);
        self.own_first = own_first;
        self.deposed = None;
        self.has_confirmed_reads = false;
    }

    /// Whether it believes that it leads.
    pub fn believes(&self) -> bool {
        self.release.term().is_some()
    }

    /// Whether it takes trades and reads and grants leases. The age of the quorum's acknowledgement is not looked at:
    /// what follows must hold without that.
    pub fn admits(&self, now: Moment) -> bool {
        self.believes() && self.standing(now).admit(u64::MAX, instant(now)).is_ok()
    }

    fn standing(&self, now: Moment) -> Standing {
        Standing {
            role: Role::Leader,
            leader: None,
            term: self.release.term().unwrap_or(0),
            own_term_applied: self.applied >= self.own_first,
            quorum_ack: Some(instant(self.quorum_ack(now))),
            last_log_index: None,
            committed: None,
            applied: None,
            snapshot: None,
            voters: Vec::new(),
        }
    }

    /// When the newest message was sent that a quorum answered.
    fn quorum_ack(&self, now: Moment) -> Moment {
        self.deposed.map_or(now, |deposed| deposed.at)
    }

    /// Grants the catalog a lease, as `Gate::grant` does.
    pub fn grant(&mut self, now: Moment) -> Option<Granted> {
        self.release.grant(self.quorum_ack(now), self.applied, now)
    }

    /// What `Gate::released` says.
    pub fn released(&self, now: Moment) -> u64 {
        self.release.released(now).min(self.applied)
    }

    /// The highest index that an order read may show now, if one waits here.
    pub fn readable(&self, now: Moment) -> u64 {
        let released = self.released(now);
        let may_be_read = |index: &u64| read_may_be_answered(*index, released);
        if self.has_confirmed_reads { (0..=self.applied).rev().find(may_be_read).unwrap_or(0) } else { 0 }
    }
}

fn instant(moment: Moment) -> Instant {
    *ORIGIN + Duration::from_millis(1) + moment.since_origin()
}
