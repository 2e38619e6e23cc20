//! What a replica measures: a table, and what is looked at only when somebody asks.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use bazaar_domain::{ReplicaId, api::Role};
use bazaar_service::{metric_table, process::note_disk};

use crate::node::Node;

metric_table! {
    /// A replica's metrics.
    METRICS {
        IS_LEADER: gauge_named "bazaar_order_is_leader" "1 if this replica leads, else 0.";
        LEADER_ID: gauge_named "bazaar_order_leader_id" "The replica that leads, as far as this one knows; 0 for none.";
        ROLE: gauge_named "bazaar_order_role" ["role"] "1 for the replica's role, 0 for the others: leader, follower, candidate, learner.";
        READY: gauge_named "bazaar_order_ready" "1 if the replica leads with a quorum, or hears the leader that it follows; else 0.";
        TERM: gauge_named "bazaar_order_term" "The replica's term.";
        LAST_INDEX: gauge_named "bazaar_order_last_log_index" "The last log index that the replica has.";
        COMMITTED_INDEX: gauge_named "bazaar_order_committed_index" "The last log index that the replica knows to be committed.";
        APPLIED_INDEX: gauge_named "bazaar_order_applied_index" "The last log index that the replica applied.";
        RELEASED_INDEX: gauge_named "bazaar_order_released_index" "Leader: the log index up to which answers may go out; else 0.";
        QUORUM_ACK_AGE: gauge_named "bazaar_order_quorum_ack_age_seconds"
            "Leader: the age of the newest message that a quorum has answered; else NaN.";
        VOTERS: gauge_named "bazaar_order_voters" "Replicas with a vote.";
        FOLLOWER_LAG_ENTRIES: gauge_named "bazaar_order_follower_lag_entries" ["replica"]
            "Leader: log entries that a member lacks; NaN while that is not known, and on other replicas.";
        FOLLOWER_LAG_SECONDS: gauge_named "bazaar_order_follower_lag_seconds" ["replica"]
            "Leader: for how long a member has lacked the oldest entry that it lacks; NaN while that is not known, and on other replicas.";
        ORDERS: gauge_named "bazaar_order_orders" "Orders that the replica holds.";
        WAITING_REQUESTS: gauge_named "bazaar_order_waiting_requests" "Requests that are not answered yet, in the leader's intake.";
        LOG_BYTES: gauge_named "bazaar_log_file_bytes" "Size of the log's files, without the newest entries.";
        STATE_BYTES: gauge_named "bazaar_order_state_bytes" "Size of the state's files, without the newest changes.";
        SNAPSHOT_AGE: gauge_named "bazaar_order_snapshot_age_seconds" "Time since the newest snapshot was taken; NaN if there is none.";
        SNAPSHOT_INDEX: gauge_named "bazaar_order_snapshot_index" "The last log index that the newest snapshot covers; 0 for none.";
        PROPOSE_SECONDS: histogram_named "bazaar_order_propose_seconds" "From the proposal of an entry to its application.";
        REPLICATE_SECONDS: histogram_named "bazaar_order_replicate_seconds"
            "From sending entries to a follower to its answer that they are synced.";
        APPLY_SECONDS: histogram_named "bazaar_order_apply_seconds"
            "Time of applying committed entries that were there together, the write included.";
        PUBLISH_SECONDS: histogram_named "bazaar_order_publish_seconds" "Time of a publish, the catalog's exposure included.";
        PUBLISH_FAILURES: counter_named "bazaar_order_publish_failures_total" "Publishes that the catalog did not answer, or refused.";
        RELEASE_SECONDS: histogram_named "bazaar_order_release_seconds" "From an entry's application to its answers.";
        DIVERGENCES: counter_named "bazaar_order_divergences_total" "Batches on which the catalog decided differently.";
        LOG_APPEND_SECONDS: histogram_named "bazaar_log_append_seconds"
            "Time of writing entries to memory and to the buffer of the write-ahead log.";
        LOG_FSYNC_SECONDS: histogram_named "bazaar_log_fsync_seconds" "Time of a sync of the log.";
        LOG_FLUSHES: counter_named "bazaar_log_flushes_total" "Syncs of the log.";
        LOG_CALLBACKS: histogram_named "bazaar_log_callbacks_per_flush" "Waiters that shared a sync.";
    }
}

const ROLES: [(Role, &str); 4] = [
    (Role::Leader, "leader"),
    (Role::Follower, "follower"),
    (Role::Candidate, "candidate"),
    (Role::Learner, "learner"),
];

/// Looks at everything that is not counted as it happens.
pub fn look(node: &Node) {
    note_disk(node.data.as_path());
    look_at_standing(node);
    look_at_members(node);
    look_at_files(node);
}

fn look_at_standing(node: &Node) {
    let (standing, health) = (node.standing(), node.health());
    for (role, name) in ROLES {
        ROLE.gauge_of(&[name]).set(f64::from(u8::from(standing.role == role)));
    }
    IS_LEADER.gauge().set(f64::from(u8::from(standing.role == Role::Leader)));
    TERM.gauge().set(standing.term as f64);
    APPLIED_INDEX.gauge().set(health.applied.unwrap_or(0) as f64);
    READY.gauge().set(f64::from(u8::from(health.ready)));
    LEADER_ID.gauge().set(standing.leader.unwrap_or(0) as f64);
    LAST_INDEX.gauge().set(standing.last_log_index.unwrap_or(0) as f64);
    COMMITTED_INDEX.gauge().set(health.committed.unwrap_or(0) as f64);
    SNAPSHOT_INDEX.gauge().set(standing.snapshot.map_or(0, |id| id.index) as f64);
    VOTERS.gauge().set(standing.voters.len() as f64);
    ORDERS.gauge().set(health.orders as f64);
    let leads = standing.role == Role::Leader;
    RELEASED_INDEX.gauge().set(if leads { node.gate.released() as f64 } else { 0.0 });
    let age = standing.quorum_ack_at(Instant::now()).map(|at| at.elapsed().as_secs_f64());
    QUORUM_ACK_AGE.gauge().set(age.unwrap_or(f64::NAN));
}

fn look_at_members(node: &Node) {
    static SEEN: Mutex<BTreeSet<ReplicaId>> = Mutex::new(BTreeSet::new());
    let leads = node.standing().role == Role::Leader;
    let others: Vec<_> = node.members().members.into_iter().filter(|member| member.id != node.id).collect();
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.extend(others.iter().map(|member| member.id));
    // What is known of a member that is gone is nothing.
    for gone in seen.iter().filter(|id| others.iter().all(|member| member.id != **id)) {
        let replica = gone.to_string();
        FOLLOWER_LAG_ENTRIES.gauge_of(&[&replica]).set(f64::NAN);
        FOLLOWER_LAG_SECONDS.gauge_of(&[&replica]).set(f64::NAN);
    }
    for member in others {
        let replica = member.id.to_string();
        let known = |value: Option<f64>| value.filter(|_| leads).unwrap_or(f64::NAN);
        FOLLOWER_LAG_ENTRIES.gauge_of(&[&replica]).set(known(member.lag.map(|entries| entries as f64)));
        FOLLOWER_LAG_SECONDS.gauge_of(&[&replica]).set(known(member.lag_ms.map(|millis| millis as f64 / 1_000.0)));
    }
}

fn look_at_files(node: &Node) {
    // What cannot be read here is reported by those who need it.
    if let Ok(bytes) = node.log.file_bytes() {
        LOG_BYTES.gauge().set(bytes as f64);
    }
    if let Ok(bytes) = node.state.db().file_bytes() {
        STATE_BYTES.gauge().set(bytes as f64);
    }
    SNAPSHOT_AGE.gauge().set(node.state.snapshot_age().map_or(f64::NAN, |age| age.as_secs_f64()));
}
