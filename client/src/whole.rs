//! Waiting until a cluster from which something was taken away is whole again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bazaar_domain::{ReplicaId, api::Role};

use crate::{
    admin::Replica,
    api::Failure,
    exit::{Ending, Exit},
};

/// How long that may take.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// A replica that lacks more log entries is not whole yet.
const LAG_ENTRIES_MAX: u64 = 100;

/// Waits until one replica leads and all others follow it closely; returns the leader.
///
/// # Errors
/// If that takes too long; the message says what is missing.
pub async fn whole(replicas: &[Replica]) -> Result<ReplicaId> {
    let deadline = Instant::now() + WHOLE_TIMEOUT;
    loop {
        match look(replicas).await {
            Ok(leader) => return Ok(leader),
            Err(why) if Instant::now() >= deadline => {
                bail!(Ending::new(Exit::Unavailable, format!("the cluster is not whole: {why}")))
            }
            Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
        }
    }
}

async fn look(replicas: &[Replica]) -> Result<ReplicaId, Failure> {
    let mut healths = Vec::with_capacity(replicas.len());
    for replica in replicas {
        healths.push(replica.health().await?);
    }
    let not_yet = |why: &str| Err(Failure::Broken(why.to_owned()));
    let Some(leader) = healths.iter().find(|health| health.role == Role::Leader && health.ready) else {
        return not_yet("no replica leads");
    };
    let last = leader.last_log_index.unwrap_or(0);
    let follows = healths
        .iter()
        .all(|health| health.leader == Some(leader.id) && health.applied.unwrap_or(0) + LAG_ENTRIES_MAX >= last);
    if follows { Ok(leader.id) } else { not_yet("a replica has not caught up") }
}
