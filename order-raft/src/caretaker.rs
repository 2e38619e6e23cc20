//! What a leader looks after besides trades: how far its followers are, a membership change that an earlier leader left
//! half done, and who should lead.

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
    node::Node,
    preference::Preference,
    raft_types::{RaftId, RaftMetrics},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The preferred replica may lack so many log entries.
const PREFERRED_LAG_ENTRIES_MAX: u64 = 100;

/// Looks after the cluster until `shutdown`, whenever this replica leads.
pub async fn run(node: Arc<Node>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut preference = Preference::default();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let report = node.raft.metrics().borrow_watched().clone();
        if !report.state.is_leader() {
            preference = Preference::default();
            *node.followers.lock().unwrap_or_else(PoisonError::into_inner) = Followers::default();
            continue;
        }
        look_at_followers(&node, &report);
        if node.admit().is_err() {
            continue;
        }
        node.finish_joint_membership().await;
        let preferred = preferred(&node, &report).filter(|_| node.config.raft.leader_preference.is_highest());
        if let Some(to) = preference.look(preferred, Instant::now()) {
            node.hand_over_to(to, "the configuration prefers the highest id").await;
        }
    }
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

/// The voter with the highest number, if that is not this replica and it is in step.
fn preferred(node: &Node, report: &RaftMetrics) -> Option<RaftId> {
    let highest = report.membership_config.voter_ids().max()?;
    if highest.replica <= node.id {
        return None;
    }
    let matched = report.replication.as_ref()?.get(&highest)?.as_ref()?.index;
    let in_step = report.last_log_index.unwrap_or(0).saturating_sub(matched) <= PREFERRED_LAG_ENTRIES_MAX;
    (in_step && node.was_heard_lately(report, highest)).then_some(highest)
}
