//! Which replica is asked for its log.

use anyhow::Result;
use bazaar_domain::api::{Health, Role};
use futures::future::join_all;

use crate::{
    admin::Replica,
    exit::{Ending, Exit},
};

/// The replica that knows most, and its health.
///
/// # Errors
/// If none answers.
pub(super) async fn choose(candidates: &[Replica]) -> Result<(&Replica, Health)> {
    let looks = join_all(candidates.iter().map(Replica::health)).await;
    let mut silent = Vec::new();
    let mut answered = Vec::new();
    for (replica, look) in candidates.iter().zip(looks) {
        match look {
            Ok(health) => answered.push((replica, health)),
            Err(failure) => silent.push(format!("{}: {failure}", replica.id)),
        }
    }
    answered.into_iter().max_by_key(|(_, health)| rank(health)).ok_or_else(|| {
        let silent = silent.join(", ");
        let text = format!("no replica answers ({silent}); start the cluster, or check --config");
        Ending::new(Exit::Unavailable, text).into()
    })
}

/// A leader that serves, then any other leader, then whoever is in touch with one.
fn rank(health: &Health) -> (bool, bool, Option<u64>) {
    (health.role == Role::Leader, health.ready, health.committed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(role: &str, ready: bool, committed: u64) -> Health {
        let text = serde_json::json!({
            "id": 1, "role": role, "leader": 1, "term": 5, "ready": ready, "quorum_ack_age_ms": null,
            "last_log_index": committed, "committed": committed, "applied": committed, "orders": 0,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn the_leader_is_asked_first_and_then_whoever_follows_one() {
        assert!(rank(&health("leader", true, 5)) > rank(&health("follower", true, 6)));
        assert!(rank(&health("follower", true, 5)) > rank(&health("candidate", false, 6)));
        assert!(rank(&health("follower", true, 6)) > rank(&health("follower", true, 5)));
    }
}
