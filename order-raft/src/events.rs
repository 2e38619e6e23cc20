//! What happened to this replica lately: elections, step-downs, changes of leader.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use bazaar_domain::api::Role;
use serde::Serialize;

use crate::standing::Standing;

/// Events kept at most; older ones are forgotten.
const EVENTS_MAX: usize = 1_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, by the wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// In which term.
    pub term: u64,
    /// What, in words.
    pub what: String,
}

/// The newest events.
#[derive(Debug, Default)]
pub struct Events {
    ring: Mutex<VecDeque<Event>>,
}

impl Events {
    /// Notes an event, and logs it.
    pub fn note(&self, term: u64, what: impl Into<String>) {
        let what = what.into();
        tracing::info!(term, "{what}");
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = Event { unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX), term, what };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == EVENTS_MAX {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    /// The events, oldest first.
    pub fn all(&self) -> Vec<Event> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// What a change of standing means, in words.
pub fn describe(before: &Standing, after: &Standing) -> Vec<String> {
    let mut events: Vec<String> = change_of_role(before, after).into_iter().collect();
    if let Some(covers) = after.snapshot.filter(|_| before.snapshot != after.snapshot) {
        events.push(format!("has a snapshot that covers the log up to index {}", covers.index));
    }
    if before.voters != after.voters {
        events.push(format!("the voters are {:?}", after.voters));
    }
    events
}

fn change_of_role(before: &Standing, after: &Standing) -> Option<String> {
    if before.role != after.role {
        return Some(match (before.role, after.role) {
            (_, Role::Leader) => "elected leader".into(),
            (_, Role::Candidate) => "stands for election".into(),
            (Role::Leader, _) => match after.leader {
                Some(leader) => format!("stepped down: replica {leader} leads"),
                None => "stepped down".into(),
            },
            (_, Role::Follower) => match after.leader {
                Some(leader) => format!("follows replica {leader}"),
                None => "follows, no leader is known".into(),
            },
            (_, Role::Learner | Role::Joining) => "is no voter".into(),
        });
    }
    if before.leader != after.leader && after.role != Role::Leader {
        return Some(match after.leader {
            Some(leader) => format!("follows replica {leader}"),
            None => "lost its leader".into(),
        });
    }
    None
}
