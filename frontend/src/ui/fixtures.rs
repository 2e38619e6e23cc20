//! Looks at clusters that tests make up.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use bazaar_domain::{
    ReplicaId,
    api::{Health, Role},
    condition::{Condition, State},
    gap::Event,
};

use super::{
    model::{DiskLook, EntryLook, Inside, LogLook, Membership, Position, ReplicaLook, View},
    traffic::Traffic,
};

/// Trades at these indexes.
pub(crate) fn entries(indexes: RangeInclusive<u64>, term: u64) -> BTreeMap<u64, EntryLook> {
    indexes.map(|index| (index, EntryLook { index, term, kind: "trades".into(), count: 1 })).collect()
}

/// A replica of a cluster that replica 3 leads in term 7, with 40 entries.
pub(crate) fn replica(id: ReplicaId) -> ReplicaLook {
    let health = Health {
        id,
        role: if id == 3 { Role::Leader } else { Role::Follower },
        leader: Some(3),
        term: 7,
        ready: true,
        quorum_ack_age_ms: (id == 3).then_some(12),
        last_log_index: Some(40),
        committed: Some(40),
        applied: Some(40),
        orders: 38,
        cluster_id: None,
        voters: Vec::new(),
    };
    let at = |index| Some(Position { index });
    let inside = Inside {
        log: LogLook { last: Some(40), committed: at(40), applied: at(40) },
        snapshot: None,
        followers: Vec::new(),
        membership: Membership { members: Vec::new() },
        disk: DiskLook { log_bytes: 4_096, state_bytes: 2_048 },
        events: Vec::new(),
    };
    ReplicaLook {
        id,
        health: Ok(health),
        round_trip: Duration::from_micros(420),
        inside: Some(inside),
        digest: Some("d1g3st".into()),
        entries: entries(11..=40, 7),
        lag: (Some(0), None),
    }
}

/// A healthy cluster of three.
pub(crate) fn view() -> View {
    let condition = |sentence: &str| Condition {
        state: State::Healthy,
        sentence: sentence.into(),
        obstacle: None,
        leader_last: Some(40),
    };
    View {
        at_unix_ms: 1_000_000.0,
        condition: condition("Healthy: replica 3 leads term 7 for 3 m 12 s; can lose 1 more replica"),
        steady: condition("Healthy: replica 3 leads term 7; can lose 1 more replica"),
        replicas: [1, 2, 3].map(replica).to_vec(),
        catalog: Ok(Duration::from_micros(300)),
        frontend: None,
        route: Some(3),
        digest_number: 38,
        failovers: Vec::new(),
        events: vec![(3, Event { unix_ms: 8_000, term: 7, what: "elected leader".into() })],
        traffic: Traffic::default(),
    }
}
