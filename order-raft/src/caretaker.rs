//! What is looked after besides trades: on every replica the size of its log; on the leader how far its followers are, a
//! membership change that an earlier leader left half done, and who should lead.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    events::EventKind,
    followers::Followers,
    handover::missing,
    node::Node,
    preference::Preference,
    raft_types::{RaftId, RaftMetrics},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The preferred replica may lack so many log entries.
const PREFERRED_LAG_ENTRIES_MAX: u64 = 100;

/// How many looks there are between two at the size of the log: time enough for the files of purged entries to go.
const LOOKS_PER_LOG_SIZE: u64 = 200;

/// Looks after the replica, and after the cluster whenever it leads, until `shutdown`.
pub async fn run(node: Arc<Node>, shutdown: CancellationToken) {
    // All of it ends with the shutdown: a change of membership may wait for a quorum for as long as there is none.
    shutdown.run_until_cancelled(care(&node)).await;
}

async fn care(node: &Node) -> ! {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut preference = Preference::default();
    for look in 1_u64.. {
        ticks.tick().await;
        let report = node.raft.metrics().borrow_watched().clone();
        if look.is_multiple_of(LOOKS_PER_LOG_SIZE) {
            keep_log_small(node, &report).await;
        }
        if report.state.is_leader() {
            look_at_followers(node, &report);
            if node.admit().is_ok() {
                node.finish_joint_membership().await;
                prefer(node, &report, &mut preference).await;
            }
        } else {
            preference = Preference::default();
            *node.followers.lock().unwrap_or_else(PoisonError::into_inner) = Followers::default();
        }
    }
    unreachable!("2^64 looks take longer than any process")
}

async fn prefer(node: &Node, report: &RaftMetrics, preference: &mut Preference) {
    let preferred = preferred(node, report).filter(|_| node.config.raft.leader_preference.is_highest());
    if let Some(to) = preference.look(preferred, Instant::now())
        && let Err(error) = node.hand_over_to(to, "the configuration prefers the highest id").await
    {
        tracing::info!(%error, "the preferred replica does not lead yet");
    }
}

/// What is to be done about the size of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogCare {
    /// Nothing.
    Leave,
    /// A snapshot must cover the older half first.
    Snapshot,
    /// Everything up to this index goes.
    PurgeThrough(u64),
}

/// Entries differ in size by a factor of thousands, so a log that is kept by the number of its entries alone could fill
/// the disk. One that takes too many bytes loses its older half, as soon as a snapshot covers that.
fn log_care(bytes: u64, bytes_max: u64, held: (u64, u64), covered: Option<u64>) -> LogCare {
    let (first, last) = held;
    let middle = first + (last - first) / 2;
    if bytes <= bytes_max {
        LogCare::Leave
    } else if covered.is_some_and(|covered| covered >= middle) {
        LogCare::PurgeThrough(middle)
    } else {
        LogCare::Snapshot
    }
}

async fn keep_log_small(node: &Node, report: &RaftMetrics) {
    let bytes = match node.log.file_bytes() {
        Ok(bytes) => bytes,
        Err(error) => return tracing::warn!(%error, "the log's size is not known"),
    };
    let positions = node.log.positions();
    let (Some(first), Some(last)) = (positions.first, positions.last) else { return };
    let covered = report.snapshot.map(|covered| covered.index);
    // A trigger fails only when Raft has stopped, which ends the process elsewhere.
    let _ = match log_care(bytes, node.config.raft.log_bytes_max, (first, last.index), covered) {
        LogCare::Leave => Ok(()),
        LogCare::Snapshot => node.raft.trigger().snapshot().await,
        LogCare::PurgeThrough(index) => {
            tracing::info!(bytes, index, "the log is too large: its older half goes");
            node.raft.trigger().purge_log(index).await
        }
    };
}

fn look_at_followers(node: &Node, report: &RaftMetrics) {
    let replication = report.replication.iter().flatten();
    let matched = replication.filter_map(|(id, matched)| Some((*id, matched.as_ref()?.index)));
    let matched: Vec<(RaftId, u64)> = matched.filter(|(id, _)| *id != report.id).collect();
    let mut followers = node.followers.lock().unwrap_or_else(PoisonError::into_inner);
    let caught_up = followers.look(report.last_log_index.unwrap_or(0), &matched, Instant::now());
    drop(followers);
    for follower in caught_up {
        let what = format!(
            "replica {} caught up: {} log entries in {:.1} s",
            follower.id,
            follower.entries,
            follower.took.as_secs_f64()
        );
        node.events.note(EventKind::CatchUp, report.current_term, what);
    }
}

/// The voter with the highest number above this replica's that is well and in step.
fn preferred(node: &Node, report: &RaftMetrics) -> Option<RaftId> {
    let in_step = |id: &RaftId| missing(report, *id).is_some_and(|lag| lag <= PREFERRED_LAG_ENTRIES_MAX);
    let above = report.membership_config.voter_ids().filter(|id| id.replica > node.id);
    above.filter(|id| in_step(id) && node.was_heard_lately(report, *id)).max()
}

#[cfg(test)]
mod tests {
    use super::{LogCare, log_care};

    #[test]
    fn a_log_that_is_too_large_loses_its_older_half_once_a_snapshot_covers_it() {
        assert_eq!(log_care(100, 100, (10, 30), Some(30)), LogCare::Leave);
        assert_eq!(log_care(101, 100, (10, 30), None), LogCare::Snapshot);
        assert_eq!(log_care(101, 100, (10, 30), Some(19)), LogCare::Snapshot);
        assert_eq!(log_care(101, 100, (10, 30), Some(20)), LogCare::PurgeThrough(20));
        assert_eq!(log_care(101, 100, (10, 10), Some(10)), LogCare::PurgeThrough(10));
    }
}
