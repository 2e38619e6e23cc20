//! Notices that the leader is dead, and has it replaced without waiting for an election timeout (ADR 0007).
//!
//! A follower that has lost its leader asks the other voters whether they have, too. If a majority has, the one of them
//! with the longest log stands for election at once, in the way that a transfer of leadership does it. Whoever is
//! elected this way was elected by Raft's rules: only the waiting is left out.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bazaar_domain::gap::{IS_LOST, STANDS};
use futures::future::join_all;
use openraft::{ServerState, async_runtime::watch::WatchReceiver, raft::TransferLeaderRequest};
use tokio::{net::TcpStream, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    events::{EventKind, Events},
    network::{LeaderLost, Look, PeerNetwork, RaftPeer, Sightings},
    node::OrderRaft,
    raft_types::{LogId, Member, RaftId, RaftMetrics, Vote},
};

/// How often the leader's silence is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A look that comes later than this says more about this replica than about the leader.
const LOOK_LATE: Duration = Duration::from_millis(100);
/// How long a killed leader's port may take to refuse.
const PROBE_TIMEOUT: Duration = Duration::from_millis(50);
/// So often the port must refuse, in a row.
const REFUSALS_NEEDED: usize = 2;
/// Pause between two tries.
const PROBE_PAUSE: Duration = Duration::from_millis(2);
/// How long another voter may take to say whether it has lost the leader.
const ASK_TIMEOUT: Duration = Duration::from_millis(50);
/// Pause before the others are asked again.
const ASK_PAUSE_MIN: Duration = Duration::from_millis(5);
/// Each time that they still see the leader the pause doubles, up to this: perhaps only this replica is cut off.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long one attempt to agree, or to be elected, may take. The next look begins another one.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// What a follower should do about a leader that it has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Stand for election.
    Stand,
    /// Leave it to a voter with a longer log, or the same log and a higher id.
    Defer,
    /// Do nothing: too few others have lost the leader.
    Wait,
}

fn verdict(own: (Option<LogId>, RaftId), answers: &[(RaftId, LeaderLost)], voters: usize) -> Verdict {
    let agreeing = || answers.iter().filter(|(_, answer)| answer.agrees);
    if agreeing().count() + 1 < voters / 2 + 1 {
        Verdict::Wait
    } else if agreeing().any(|(id, answer)| (answer.last_log_id, *id) > own) {
        Verdict::Defer
    } else {
        Verdict::Stand
    }
}

/// A leader that this replica follows.
#[derive(Debug, Clone)]
struct Leader {
    id: RaftId,
    vote: Vote,
    address: String,
    /// All other voters than the leader and this replica.
    others: Vec<(RaftId, Member)>,
    voters: usize,
}

impl Leader {
    /// The leader in Raft's report, if this replica is a voter that follows one.
    fn followed(report: &RaftMetrics) -> Option<Self> {
        let membership = report.membership_config.membership();
        let voters: Vec<RaftId> = membership.voter_ids().collect();
        let id = report.current_leader.filter(|id| *id != report.id && report.vote.leader_id.voted_for == *id)?;
        if report.state != ServerState::Follower || !report.vote.committed || !voters.contains(&report.id) {
            return None;
        }
        let others = voters.iter().filter(|voter| **voter != id && **voter != report.id);
        Some(Self {
            id,
            vote: report.vote,
            address: membership.get_node(&id)?.peers.clone(),
            others: others.filter_map(|voter| Some((*voter, membership.get_node(voter)?.clone()))).collect(),
            voters: voters.len(),
        })
    }
}

/// The detector of one replica.
pub struct Detector {
    raft: OrderRaft,
    sightings: Arc<Sightings>,
    network: PeerNetwork,
    events: Arc<Events>,
    ask_pause: Duration,
}

impl Detector {
    /// A detector that has lost nobody yet.
    pub fn new(raft: OrderRaft, sightings: Arc<Sightings>, network: PeerNetwork, events: Arc<Events>) -> Self {
        Self { raft, sightings, network, events, ask_pause: ASK_PAUSE_MIN }
    }

    /// Watches the leader until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_look = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.sightings.wait_gone() => {}
            }
            if last_look.elapsed() > LOOK_LATE {
                self.sightings.pardon_silence();
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.look() => {}
            }
            last_look = Instant::now();
        }
    }

    async fn look(&mut self) {
        let report = self.raft.metrics().borrow_watched().clone();
        let Some(leader) = Leader::followed(&report) else { return };
        let cause = match self.sightings.look(leader.id) {
            Look::Fine => {
                self.ask_pause = ASK_PAUSE_MIN;
                return;
            }
            Look::Gone if is_refused(&leader.address).await => "its process is gone",
            Look::Gone => return,
            Look::Silent => "it is silent",
        };
        let limit = ATTEMPT_TIMEOUT.max(self.ask_pause * 2);
        let _ = tokio::time::timeout(limit, self.replace(&leader, cause)).await;
    }

    /// Agrees with the others that the leader is lost, and stands for election if it is this replica's turn.
    async fn replace(&mut self, leader: &Leader, cause: &str) {
        let mut metrics = self.raft.metrics();
        while self.sightings.look(leader.id) != Look::Fine {
            let Ok((vote, last_log_id)) = RaftPeer::position(&self.raft).await else { return };
            if vote != leader.vote {
                return;
            }
            let answers = self.ask_others(leader).await;
            let own = metrics.borrow_watched().id;
            let verdict = verdict((last_log_id, own), &answers, leader.voters);
            if verdict == Verdict::Stand {
                let what = format!("replica {} {IS_LOST}, {cause}: {STANDS}", leader.id);
                self.events.note(EventKind::Election, leader.vote.leader_id.term, what);
                let request = TransferLeaderRequest::new(leader.vote, own, last_log_id);
                if self.raft.handle_transfer_leader(request).await.is_err() {
                    return;
                }
                while metrics.borrow_watched().current_leader.is_none_or(|known| known == leader.id) {
                    if metrics.changed().await.is_err() {
                        return;
                    }
                }
                return;
            }
            let pause = self.ask_pause;
            if verdict == Verdict::Wait {
                self.ask_pause = (pause * 2).min(ASK_PAUSE_MAX);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask_others(&mut self, leader: &Leader) -> Vec<(RaftId, LeaderLost)> {
        let questions = leader.others.iter().map(|(id, member)| {
            let question = self.network.ask_leader_lost(*id, member, leader.vote, ASK_TIMEOUT);
            async move { Some((*id, question.await?)) }
        });
        join_all(questions.collect::<Vec<_>>()).await.into_iter().flatten().collect()
    }
}

/// Whether nobody listens at an address: a machine that is slow or cut off does not refuse, it does not answer.
async fn is_refused(address: &str) -> bool {
    for refusals in 1..=REFUSALS_NEEDED {
        match tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            _ => return false,
        }
        if refusals < REFUSALS_NEEDED {
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{LeaderLost, RaftId, Verdict, verdict};
    use crate::log_store::test_entries::log_id;

    fn id(replica: u64) -> RaftId {
        RaftId::founding(replica)
    }

    fn answer(replica: u64, agrees: bool, index: u64) -> (RaftId, LeaderLost) {
        (id(replica), LeaderLost { agrees, last_log_id: Some(log_id(4, index)) })
    }

    fn own(replica: u64, index: u64) -> (Option<crate::raft_types::LogId>, RaftId) {
        (Some(log_id(4, index)), id(replica))
    }

    #[test]
    fn nobody_stands_while_a_majority_still_sees_the_leader() {
        assert_eq!(verdict(own(1, 9), &[answer(2, false, 5)], 3), Verdict::Wait);
        assert_eq!(verdict(own(1, 9), &[], 3), Verdict::Wait);
        let answers = [answer(2, true, 5), answer(3, false, 5), answer(4, false, 5)];
        assert_eq!(verdict(own(1, 9), &answers, 5), Verdict::Wait);
    }

    #[test]
    fn of_those_who_agree_exactly_one_stands() {
        assert_eq!(verdict(own(1, 9), &[answer(2, true, 8)], 3), Verdict::Stand);
        assert_eq!(verdict(own(2, 8), &[answer(1, true, 9)], 3), Verdict::Defer);
        assert_eq!(verdict(own(1, 9), &[answer(2, true, 9)], 3), Verdict::Defer, "the higher id goes first");
        assert_eq!(verdict(own(2, 9), &[answer(1, true, 9)], 3), Verdict::Stand);
    }

    #[test]
    fn a_longer_log_of_one_who_disagrees_does_not_matter() {
        let answers = [answer(2, true, 8), answer(3, true, 8), answer(4, false, 99)];
        assert_eq!(verdict(own(1, 9), &answers, 5), Verdict::Stand);
    }

    #[test]
    fn two_of_two_need_each_other() {
        assert_eq!(verdict(own(1, 9), &[], 2), Verdict::Wait);
    }
}
