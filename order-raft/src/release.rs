//! When an applied entry may be answered: the leader's side of the leases, as a pure state machine (rules R1 to R4).
//!
//! A trade is answered only once no frontend can show the quantity from before it. Either the catalog has said that
//! it exposed the entry, or every lease under which it could still show the older value is certainly over.

use std::time::Duration;

use bazaar_domain::{
    Moment,
    config::LeaseConfig,
    mutants::{Mutant, broken},
};

/// A lease that this leader has given to the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Grant {
    /// The catalog serves under it only once it has exposed this index.
    floor: u64,
    /// When it is certainly over, with the margin for a slower clock.
    end: Moment,
}

/// What the catalog is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// How long, counted by the catalog from when it asked.
    pub duration: Duration,
    /// The catalog may serve only what includes this index.
    pub floor: u64,
}

/// The leader's side of the leases in one term.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Release {
    config: LeaseConfig,
    /// The term in which this replica leads; `None` if it does not.
    term: Option<u64>,
    /// Until then leases of an earlier leader may be running (R4).
    predecessors_until: Moment,
    /// Leases that may be running, oldest first.
    grants: Vec<Grant>,
    /// The highest index that the catalog has said it exposed (R7). A fact, whatever happens later.
    exposed: u64,
}

impl Release {
    /// A replica that does not lead.
    pub fn new(config: LeaseConfig) -> Self {
        Self { config, term: None, predecessors_until: Moment::ZERO, grants: Vec::new(), exposed: 0 }
    }

    /// This replica holds the votes of a term (R4: the wait starts now, not when it stood for election).
    pub fn lead(&mut self, term: u64, now: Moment) {
        self.term = Some(term);
        let wait = self.config.granted(self.config.ttl());
        self.predecessors_until = if broken(Mutant::NoWaitForPredecessors) { now } else { now.plus(wait) };
        self.grants.clear();
    }

    /// This replica does not lead any more: it releases nothing.
    pub fn follow(&mut self) {
        self.term = None;
        self.grants.clear();
    }

    /// The term in which this replica leads.
    pub fn term(&self) -> Option<u64> {
        self.term
    }

    /// Asks for a lease (R1). `quorum_ack_sent_at` is when the newest message was *sent* that a quorum has answered in
    /// this term; `floor` is an index that is applied here and not below any index that was ever released. The
    /// grant is on record when this returns, before it is sent (R3).
    pub fn grant(&mut self, quorum_ack_sent_at: Moment, floor: u64, now: Moment) -> Option<Granted> {
        self.term?;
        let begin = if broken(Mutant::GrantFromNow) { now } else { quorum_ack_sent_at };
        let duration = self.config.ttl().checked_sub(now.since(begin)).filter(|left| !left.is_zero())?;
        self.grants.retain(|grant| grant.end > now);
        self.grants.push(Grant { floor, end: now.plus(self.config.granted(duration)) });
        Some(Granted { duration, floor })
    }

    /// The catalog said that it exposed everything up to `index` (R7).
    pub fn exposed(&mut self, index: u64) {
        self.exposed = self.exposed.max(index);
    }

    /// The highest index that the catalog has said it exposed to this replica.
    pub fn catalog_exposed(&self) -> u64 {
        self.exposed
    }

    /// Everything up to the returned index is released at `now` (R3, R4).
    pub fn released(&self, now: Moment) -> u64 {
        let without_ack = match self.term {
            Some(_) if now >= self.predecessors_until && !broken(Mutant::ReleaseOnlyByAck) => {
                let running = self.grants.iter().filter(|grant| grant.end > now);
                let holds_back = running.filter(|_| !broken(Mutant::ReleaseDespiteGrants));
                holds_back.map(|grant| grant.floor).min().unwrap_or(u64::MAX)
            }
            Some(_) | None => 0,
        };
        without_ack.max(self.exposed)
    }

    /// When [`Self::released`] may next grow without an ack; `None` if only an ack can help.
    pub fn next_change(&self, now: Moment) -> Option<Moment> {
        self.term?;
        let ends = self.grants.iter().map(|grant| grant.end);
        ends.chain([self.predecessors_until]).filter(|moment| *moment > now).min()
    }

    /// Forgets what cannot matter any more from `now` on, so that states that act alike are equal: a search over
    /// states visits them once.
    pub fn forget_past(&mut self, now: Moment) {
        self.grants.retain(|grant| grant.end > now);
        self.grants.dedup();
        if self.predecessors_until <= now {
            self.predecessors_until = Moment::ZERO;
        }
    }
}

/// Whether an order read that shows everything up to `index` may be answered (R5).
pub fn read_may_be_answered(index: u64, released: u64) -> bool {
    index <= released || broken(Mutant::ReadsSkipTheGate)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bazaar_domain::{Moment, config::LeaseConfig};

    use super::Release;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn leader() -> Release {
        let mut release = Release::new(LeaseConfig::default());
        release.lead(3, at(0));
        release
    }

    #[test]
    fn a_new_leader_releases_only_by_ack_until_its_predecessors_leases_are_over() {
        let mut release = leader();
        assert_eq!(release.released(at(1_099)), 0);
        release.exposed(7);
        assert_eq!(release.released(at(1_099)), 7);
        assert_eq!(release.released(at(1_100)), u64::MAX);
        assert_eq!(release.next_change(at(0)), Some(at(1_100)));
    }

    #[test]
    fn a_running_grant_holds_back_what_lies_above_its_floor() {
        let mut release = leader();
        let granted = release.grant(at(2_000), 40, at(2_000)).unwrap();
        assert_eq!(granted.duration, Duration::from_millis(1_000));
        assert_eq!(release.released(at(2_500)), 40);
        assert_eq!(release.released(at(3_099)), 40, "the granter waits for the margin too");
        assert_eq!(release.released(at(3_100)), u64::MAX);
    }

    #[test]
    fn the_lowest_floor_of_all_running_grants_counts() {
        let mut release = leader();
        release.grant(at(2_000), 40, at(2_000)).unwrap();
        release.grant(at(2_200), 90, at(2_200)).unwrap();
        assert_eq!(release.released(at(2_300)), 40);
        assert_eq!(release.released(at(3_200)), 90);
    }

    #[test]
    fn a_grant_is_counted_from_when_the_acknowledged_message_was_sent() {
        let mut release = leader();
        let granted = release.grant(at(2_000), 1, at(2_400)).unwrap();
        assert_eq!(granted.duration, Duration::from_millis(600));
        assert_eq!(release.grant(at(1_000), 1, at(2_000)), None, "a leader without a recent quorum grants nothing");
    }

    #[test]
    fn a_replica_that_does_not_lead_grants_and_releases_nothing() {
        let mut release = leader();
        release.follow();
        assert_eq!(release.grant(at(5_000), 1, at(5_000)), None);
        assert_eq!(release.released(at(9_000)), 0);
        assert_eq!(release.next_change(at(0)), None);
    }
}
