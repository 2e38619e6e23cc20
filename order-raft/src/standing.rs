//! Where a replica stands in the cluster, in one small value that requests can read without touching Raft.

use std::{collections::BTreeMap, time::Instant};

use bazaar_domain::{
    ApiError, ErrorKind, ReplicaId, TradeFate,
    api::{Role, ServiceAddress},
    mutants::{Mutant, broken},
};
use openraft::{Instant as _, ServerState, TokioInstant};

use crate::raft_types::{LogId, RaftMetrics};

/// A replica's standing, as of its last change.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// What it is.
    pub role: Role,
    /// Whom it follows.
    pub leader: Option<ReplicaId>,
    /// Its term.
    pub term: u64,
    /// It leads, and has applied an entry of its own term (R1): everything that any leader ever answered is applied here.
    pub own_term_applied: bool,
    /// For a leader: when the newest message was sent that a quorum has answered.
    pub quorum_ack: Option<Instant>,
    /// Index of the last log entry.
    pub last_log_index: Option<u64>,
    /// The last entry known to be committed.
    pub committed: Option<LogId>,
    /// The last entry applied.
    pub applied: Option<LogId>,
    /// The last entry that the newest snapshot covers.
    pub snapshot: Option<LogId>,
    /// The voters, and where they take trades.
    pub voters: Vec<ServiceAddress>,
}

impl Standing {
    /// Reads the standing from Raft's metrics.
    pub fn of(metrics: &RaftMetrics) -> Self {
        let leads = metrics.state == ServerState::Leader;
        Self {
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner | ServerState::Shutdown => Role::Learner,
            },
            leader: metrics.current_leader.map(|leader| leader.replica),
            term: metrics.current_term,
            own_term_applied: leads && metrics.last_applied.is_some_and(|id| id.leader_id.term == metrics.current_term),
            quorum_ack: metrics.last_quorum_acked.and_then(|at| as_std(at.into_inner())),
            last_log_index: metrics.last_log_index,
            committed: metrics.local_committed,
            applied: metrics.last_applied,
            snapshot: metrics.snapshot,
            voters: voters(metrics),
        }
    }

    /// When the newest message was sent that a quorum has answered; a sole voter always has one.
    pub fn quorum_ack_at(&self, now: Instant) -> Option<Instant> {
        if self.role != Role::Leader {
            None
        } else if matches!(self.voters[..], [ref only] if Some(only.id) == self.leader) {
            // The only voter is its own quorum.
            Some(now)
        } else {
            self.quorum_ack
        }
    }

    /// How old that is, in milliseconds.
    pub fn quorum_ack_age_ms(&self, now: Instant) -> Option<u64> {
        let age = now.saturating_duration_since(self.quorum_ack_at(now)?);
        Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether this replica may take trades and reads now.
    ///
    /// # Errors
    /// `not_leader` with the leader's id, `no_leader`, or `no_quorum`; nothing was proposed.
    pub fn admit(&self, quorum_ack_age_max_ms: u64, now: Instant) -> Result<(), ApiError> {
        let refuse = |kind, text: String| {
            Err(ApiError::new(kind, text).with_outcome(TradeFate::NotApplied).with_leader(self.leader))
        };
        if self.role != Role::Leader {
            return match self.leader {
                Some(leader) => refuse(ErrorKind::NotLeader, format!("replica {leader} leads term {}", self.term)),
                None => refuse(ErrorKind::NoLeader, "no leader is known; an election is under way".into()),
            };
        }
        let is_complete = self.own_term_applied || broken(Mutant::GrantBeforeOwnTerm);
        match self.quorum_ack_age_ms(now) {
            Some(age) if age <= quorum_ack_age_max_ms && is_complete => Ok(()),
            Some(age) if age > quorum_ack_age_max_ms => {
                refuse(ErrorKind::NoQuorum, format!("the leader has not heard from a quorum for {age} ms"))
            }
            _ => refuse(ErrorKind::NoLeader, "the leader was just elected and is not ready yet".into()),
        }
    }
}

fn voters(metrics: &RaftMetrics) -> Vec<ServiceAddress> {
    let membership = metrics.membership_config.membership();
    let address = |id| membership.get_node(id).map(|member| member.service.clone()).unwrap_or_default();
    let sides = membership.get_joint_config().iter().flatten();
    // While a life replaces an earlier one both are voters: the newer side comes later, and wins.
    let newest: BTreeMap<ReplicaId, String> = sides.map(|id| (id.replica, address(id))).collect();
    newest.into_iter().map(|(id, service)| ServiceAddress { id, service }).collect()
}

/// openraft's instant as the standard one. The clock is read before the elapsed time, so the result is never too late
/// (a lease counted from it is never too long).
fn as_std(at: TokioInstant) -> Option<Instant> {
    let now = Instant::now();
    now.checked_sub(at.elapsed())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bazaar_domain::{ErrorKind, api::Role};

    use super::{ServiceAddress, Standing};

    fn leader(now: Instant) -> Standing {
        Standing {
            role: Role::Leader,
            leader: Some(1),
            term: 4,
            own_term_applied: true,
            quorum_ack: Some(now),
            last_log_index: Some(9),
            committed: None,
            applied: None,
            snapshot: None,
            voters: [1, 2, 3].map(|id| ServiceAddress { id, service: String::new() }).to_vec(),
        }
    }

    #[test]
    fn a_leader_with_a_recent_quorum_and_an_applied_entry_of_its_term_takes_trades() {
        let now = Instant::now();
        assert_eq!(leader(now).admit(600, now), Ok(()));
    }

    #[test]
    fn a_leader_that_lost_its_quorum_refuses_before_anything_is_proposed() {
        let now = Instant::now();
        let refused = leader(now).admit(600, now + Duration::from_millis(601)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::NoQuorum);
    }

    #[test]
    fn a_leader_that_has_not_applied_an_entry_of_its_own_term_is_not_ready() {
        let now = Instant::now();
        let young = Standing { own_term_applied: false, ..leader(now) };
        assert_eq!(young.admit(600, now).unwrap_err().kind, ErrorKind::NoLeader);
    }

    #[test]
    fn a_follower_names_its_leader() {
        let now = Instant::now();
        let follower = Standing { role: Role::Follower, leader: Some(3), ..leader(now) };
        let refused = follower.admit(600, now).unwrap_err();
        assert_eq!((refused.kind, refused.leader), (ErrorKind::NotLeader, Some(3)));
    }
}
