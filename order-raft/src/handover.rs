//! Handing the leadership over on purpose: before a stop, because somebody asks for it, or because another replica is
//! preferred.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bazaar_domain::{ApiError, ErrorKind, ReplicaId, gap::HANDS_OVER};
use openraft::{Instant as _, async_runtime::watch::WatchReceiver};

use crate::{
    events::EventKind,
    node::Node,
    raft_types::{RaftId, RaftMetrics},
};

/// How far a follower may lag to be handed the leadership, in log entries.
const LAG_ENTRIES_MAX: u64 = 1_000;
/// How long is waited for the successor to have the whole log.
const IN_STEP_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a successor may take to answer a heartbeat before the leadership is made to depend on it.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
/// How long is waited for it to lead.
const TIMEOUT: Duration = Duration::from_secs(1);
/// No replica has this number.
const NOBODY: ReplicaId = 0;

/// To whom the leadership is being handed. Nothing is admitted meanwhile.
#[derive(Debug, Default)]
pub struct Handover(AtomicU64);

impl Handover {
    /// The successor, if a handover is under way.
    pub fn successor(&self) -> Option<ReplicaId> {
        Some(self.0.load(Ordering::Acquire)).filter(|id| *id != NOBODY)
    }

    fn begin(&self, to: ReplicaId) -> Option<UnderWay<'_>> {
        self.0.compare_exchange(NOBODY, to, Ordering::AcqRel, Ordering::Acquire).ok()?;
        Some(UnderWay(self))
    }
}

/// Ends the handover when it is dropped, however that comes about.
struct UnderWay<'a>(&'a Handover);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.store(NOBODY, Ordering::Release);
    }
}

impl Node {
    /// Hands the leadership, if this replica has it, to the follower that lacks least, and waits a moment for it to take
    /// over. A replica that is going to stop does this first, so that nobody waits until its death is noticed.
    pub async fn hand_over(&self, why: &str) {
        let report = self.raft_metrics();
        if !report.state.is_leader() {
            return;
        }
        let voters: Vec<RaftId> = report.membership_config.voter_ids().collect();
        let followers = report.replication.iter().flatten();
        let followers = followers.filter(|(id, _)| **id != self.raft_id && voters.contains(id));
        let best = followers
            .filter(|(id, _)| self.was_heard_lately(&report, **id))
            .filter_map(|(id, matched)| Some((matched.as_ref()?.index, *id)))
            .max();
        if let Some((_, to)) = best
            && let Err(error) = self.hand_over_to(to, why).await
        {
            tracing::warn!(%error, "the leadership could not be handed over");
        }
    }

    /// Hands the leadership to a voter: takes nothing new, waits until the voter has everything, has it elected, and
    /// waits until it leads.
    ///
    /// # Errors
    /// `transfer_failed`: the voter is not well or not in step, and nothing happened; or it did not take over in time.
    /// openraft cannot call a transfer off, so in that last case this replica takes no trades until somebody is elected.
    pub async fn hand_over_to(&self, to: RaftId, why: &str) -> Result<(), ApiError> {
        let handed = self.try_to_hand_over(to, why).await;
        if let Err(error) = &handed {
            let text = format!("leadership is not handed over: {}", error.message);
            self.events.note(EventKind::Transfer, self.standing().term, text);
        }
        handed
    }

    async fn try_to_hand_over(&self, to: RaftId, why: &str) -> Result<(), ApiError> {
        let failed = |why: &str| ApiError::new(ErrorKind::TransferFailed, format!("replica {to} {why}"));
        let report = self.raft_metrics();
        if !self.answers_within(ANSWER_TIMEOUT, to).await {
            return Err(failed("does not answer the leader"));
        }
        if missing(&report, to).is_none_or(|lag| lag > LAG_ENTRIES_MAX) {
            return Err(failed("lags too far behind"));
        }
        let Some(_under_way) = self.handover.begin(to.replica) else {
            return Err(failed("must wait: another handover is under way"));
        };
        self.events.note(EventKind::Transfer, report.current_term, format!("{HANDS_OVER} replica {to}: {why}"));
        // A voter that lacks entries would refuse; under load it gets them within a few milliseconds.
        let in_step = |report: &RaftMetrics| !report.state.is_leader() || missing(report, to) == Some(0);
        if !self.comes_to_pass(IN_STEP_TIMEOUT, in_step).await {
            return Err(failed("does not get the whole log in time"));
        }
        let fatal = |error: &dyn std::fmt::Display| ApiError::new(ErrorKind::Internal, error.to_string());
        self.raft.trigger().transfer_leader(to).await.map_err(|error| fatal(&error))?;
        // Until the new leader has committed something: what follows a handover, such as closing the databases, would
        // slow its first entry down.
        let settled = |report: &RaftMetrics| {
            let committed = report.local_committed.is_some_and(|id| id.leader_id.term == report.current_term);
            committed && report.current_leader.is_some_and(|leader| leader != self.raft_id)
        };
        if self.comes_to_pass(TIMEOUT, settled).await { Ok(()) } else { Err(failed("did not take over in time")) }
    }

    /// Waits until Raft's report is as wanted; false if it is not in time.
    async fn comes_to_pass(&self, limit: Duration, wanted: impl Fn(&RaftMetrics) -> bool) -> bool {
        let mut metrics = self.raft.metrics();
        let waiting = async {
            while !wanted(&metrics.borrow_watched().clone()) {
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(limit, waiting).await.unwrap_or(false)
    }

    /// Whether a member answers a heartbeat that is sent after this call: one that died a moment ago was heard lately.
    pub(crate) async fn answers_within(&self, limit: Duration, member: RaftId) -> bool {
        let asked = Instant::now();
        if member == self.raft_id {
            return true;
        }
        // It fails only when Raft has stopped; then nobody answers either.
        let _ = self.raft.trigger().heartbeat().await;
        let answered = |report: &RaftMetrics| heard_ago(report, member).is_some_and(|ago| ago <= asked.elapsed());
        self.comes_to_pass(limit, answered).await
    }

    /// Whether a follower has answered the leader within the time after which a leader's own silence would be noticed.
    pub(crate) fn was_heard_lately(&self, report: &RaftMetrics, follower: RaftId) -> bool {
        heard_ago(report, follower).is_some_and(|ago| ago <= Duration::from_millis(self.config.raft.leader_silence_ms))
    }
}

/// How long ago the newest message was sent that a follower has answered.
fn heard_ago(report: &RaftMetrics, follower: RaftId) -> Option<Duration> {
    let sent = (*report.heartbeat.as_ref()?.get(&follower)?)?;
    Some(sent.into_inner().elapsed())
}

/// How many log entries a member lacks, as its leader knows; the leader itself lacks none.
pub(crate) fn missing(report: &RaftMetrics, member: RaftId) -> Option<u64> {
    if member == report.id {
        return Some(0);
    }
    let matched = report.replication.as_ref()?.get(&member)?.as_ref()?;
    Some(report.last_log_index.unwrap_or(0).saturating_sub(matched.index))
}

#[cfg(test)]
mod tests {
    use super::Handover;

    #[test]
    fn there_is_one_handover_at_a_time_and_it_ends_with_its_guard() {
        let handover = Handover::default();
        let under_way = handover.begin(2);
        assert!(under_way.is_some());
        assert_eq!(handover.successor(), Some(2));
        assert!(handover.begin(3).is_none());
        drop(under_way);
        assert_eq!(handover.successor(), None);
        assert!(handover.begin(3).is_some());
    }
}
