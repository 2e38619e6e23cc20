//! What the page shows: one look at the whole cluster.

use std::{collections::BTreeMap, time::Duration};

use bazaar_domain::{
    ReplicaId,
    api::{Health, MemberView, Role},
    condition::{Condition, Look},
    gap::Event,
};
use serde::{Deserialize, Serialize};

use super::{history::Failover, traffic::Traffic};

/// One look at the whole cluster.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// When, in milliseconds since 1970.
    pub(crate) at_unix_ms: f64,
    /// How the cluster is, with the time for which the leader has led.
    pub(crate) condition: Condition,
    /// The same without that time: it changes only when something happens.
    pub(crate) steady: Condition,
    /// The replicas, by number.
    pub(crate) replicas: Vec<ReplicaLook>,
    /// How long the catalog took to say that it is ready, or why it is not.
    pub(crate) catalog: Result<Duration, String>,
    /// Why this frontend is not ready; nothing if it is.
    pub(crate) frontend: Option<String>,
    /// The replica that this frontend sends trades to.
    pub(crate) route: Option<ReplicaId>,
    /// The digests cover the orders up to this number.
    pub(crate) digest_number: u64,
    /// The changes of leader, the newest first.
    pub(crate) failovers: Vec<Failover>,
    /// What the replicas wrote down, the newest first.
    pub(crate) events: Vec<(ReplicaId, Event)>,
    /// What went through this frontend.
    pub(crate) traffic: Traffic,
}

impl View {
    /// The replica that leads and takes trades.
    pub(crate) fn leader(&self) -> Option<&ReplicaLook> {
        newest_leader(&self.replicas)
    }
}

/// The replica that leads and takes trades: of several that say so, the one of the newest term.
pub(crate) fn newest_leader(replicas: &[ReplicaLook]) -> Option<&ReplicaLook> {
    replicas.iter().filter(|replica| replica.leads()).max_by_key(|replica| replica.term())
}

/// One look at one replica.
#[derive(Debug, Clone)]
pub(crate) struct ReplicaLook {
    /// Its number.
    pub(crate) id: ReplicaId,
    /// What it says of itself, or why it says nothing.
    pub(crate) health: Result<Health, String>,
    /// How long it took to say so.
    pub(crate) round_trip: Duration,
    /// What it shows inside; as of an earlier look if it is gone.
    pub(crate) inside: Option<Inside>,
    /// The digest of the orders up to the common number.
    pub(crate) digest: Option<String>,
    /// Its newest log entries, by index; as of an earlier look if it is gone.
    pub(crate) entries: BTreeMap<u64, EntryLook>,
    /// Log entries behind the leader's last, and for how many milliseconds it has lacked the first of them.
    pub(crate) lag: (Option<u64>, Option<u64>),
}

impl ReplicaLook {
    pub(crate) fn is_reachable(&self) -> bool {
        self.health.is_ok()
    }

    /// Whether it leads and takes trades.
    pub(crate) fn leads(&self) -> bool {
        self.health.as_ref().is_ok_and(|health| health.role == Role::Leader && health.ready)
    }

    /// Whether it answers and has a vote: one that joins does not hold everything yet.
    pub(crate) fn votes(&self) -> bool {
        self.health.as_ref().is_ok_and(votes)
    }

    pub(crate) fn term(&self) -> Option<u64> {
        self.health.as_ref().ok().map(|health| health.term)
    }

    /// Its role in one word.
    pub(crate) fn role(&self) -> String {
        match &self.health {
            Ok(health) => format!("{:?}", health.role).to_lowercase(),
            Err(_) => "unreachable".into(),
        }
    }

    /// What it wrote down about itself, oldest first.
    pub(crate) fn events(&self) -> &[Event] {
        self.inside.as_ref().map_or(&[], |inside| inside.events.as_slice())
    }

    /// As the sentence about the cluster wants it; `now` in milliseconds since 1970.
    pub(crate) fn look(&self, now: f64) -> Look {
        let elected = self.events().iter().rev().find(|event| event.is_election() && Some(event.term) == self.term());
        let since = elected.filter(|_| self.leads()).map(|event| (now - event.unix_ms as f64).max(0.0));
        let leads_for = since.map(|ms| Duration::from_secs_f64(ms / 1_000.0));
        Look { id: self.id, health: self.health.clone(), leads_for }
    }
}

/// Whether a replica says of itself that it has a vote.
pub(crate) fn votes(health: &Health) -> bool {
    !matches!(health.role, Role::Learner | Role::Joining)
}

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) index: u64,
}

/// What the page takes from a replica's `GET /admin/raft`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Inside {
    pub(crate) log: LogLook,
    pub(crate) snapshot: Option<Position>,
    pub(crate) followers: Vec<FollowerLook>,
    pub(crate) membership: Membership,
    pub(crate) disk: DiskLook,
    pub(crate) events: Vec<Event>,
}

/// Positions in a replica's log.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LogLook {
    pub(crate) last: Option<u64>,
    pub(crate) committed: Option<Position>,
    pub(crate) applied: Option<Position>,
}

/// A follower, as its leader sees it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FollowerLook {
    pub(crate) id: ReplicaId,
    pub(crate) lag_ms: Option<u64>,
}

/// The members, as a replica knows them.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Membership {
    pub(crate) members: Vec<MemberView>,
}

/// What a replica takes on its disk.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct DiskLook {
    pub(crate) log_bytes: u64,
    pub(crate) state_bytes: u64,
}

/// A log entry in short.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct EntryLook {
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// `blank`, `membership`, `trades` or `listings`.
    pub(crate) kind: String,
    /// How many items it carries.
    pub(crate) count: u64,
}
