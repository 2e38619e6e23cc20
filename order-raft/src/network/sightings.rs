//! When each peer was seen last: a killed process closes its connections at once, a halted or cut off one falls silent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::raft_types::RaftId;

/// How a peer that was seen before looks now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It has a connection to this replica, and was heard of lately.
    Fine,
    /// It closed all its connections.
    Gone,
    /// It has connections and says nothing.
    Silent,
}

#[derive(Debug, Clone, Copy)]
struct Sight {
    /// Connections for calls that it has opened to this replica.
    connections: usize,
    /// When it was last heard of as a leader.
    heard: Instant,
}

/// What this replica has seen of its peers. Shared by the server, which sees, and the detector, which looks.
#[derive(Debug)]
pub struct Sightings {
    /// One entry for each Raft id of this cluster that ever greeted: replicas and their lives are few.
    peers: Mutex<HashMap<RaftId, Sight>>,
    silence_max: Duration,
    gone: Notify,
}

impl Sightings {
    /// Nobody was seen yet; a leader that says nothing for `silence_max` is silent.
    pub fn new(silence_max: Duration) -> Self {
        Self { peers: Mutex::default(), silence_max, gone: Notify::new() }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<RaftId, Sight>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer opened a connection; it is open until the returned value is dropped.
    pub(super) fn connected(self: &Arc<Self>, peer: RaftId) -> Connected {
        let now = Instant::now();
        self.peers().entry(peer).or_insert(Sight { connections: 0, heard: now }).connections += 1;
        Connected { sightings: Arc::clone(self), peer }
    }

    /// A peer spoke as a leader.
    pub(super) fn heard_leader(&self, peer: RaftId) {
        self.heard_leader_at(peer, Instant::now());
    }

    fn heard_leader_at(&self, peer: RaftId, at: Instant) {
        if let Some(sight) = self.peers().get_mut(&peer) {
            sight.heard = at;
        }
    }

    /// How a peer looks now; one that was never seen looks fine, since nothing speaks against it.
    pub fn look(&self, peer: RaftId) -> Look {
        self.look_at(peer, Instant::now())
    }

    fn look_at(&self, peer: RaftId, now: Instant) -> Look {
        match self.peers().get(&peer) {
            Some(sight) if sight.connections == 0 => Look::Gone,
            Some(sight) if now.saturating_duration_since(sight.heard) > self.silence_max => Look::Silent,
            Some(_) | None => Look::Fine,
        }
    }

    /// Whether a leader speaks to this replica. Unlike [`Self::look`], one that was never seen does not: after a start,
    /// the leader that the log remembers may be gone, or may know this replica no more.
    pub fn hears(&self, leader: RaftId) -> bool {
        self.peers().contains_key(&leader) && self.look(leader) == Look::Fine
    }

    /// This replica itself did not run for a while: what was said to it meanwhile is not read yet, so nobody's silence
    /// counts until now.
    pub fn pardon_silence(&self) {
        self.pardon_silence_at(Instant::now());
    }

    fn pardon_silence_at(&self, now: Instant) {
        for sight in self.peers().values_mut() {
            sight.heard = now;
        }
    }

    /// Waits until some peer has closed its last connection.
    pub async fn wait_gone(&self) {
        self.gone.notified().await;
    }
}

/// An open connection.
pub(super) struct Connected {
    sightings: Arc<Sightings>,
    peer: RaftId,
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(sight) = self.sightings.peers().get_mut(&self.peer) {
            sight.connections -= 1;
            if sight.connections == 0 {
                self.sightings.gone.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use super::{Look, Sightings};
    use crate::raft_types::RaftId;

    const PEER: RaftId = RaftId { replica: 2, life: 0 };

    #[test]
    fn a_peer_is_gone_with_its_last_connection() {
        let sightings = Arc::new(Sightings::new(Duration::from_secs(3_600)));
        assert_eq!(sightings.look(PEER), Look::Fine, "never seen");
        assert!(!sightings.hears(PEER), "never seen");
        let (one, other) = (sightings.connected(PEER), sightings.connected(PEER));
        drop(one);
        assert_eq!(sightings.look(PEER), Look::Fine);
        assert!(sightings.hears(PEER));
        drop(other);
        assert_eq!(sightings.look(PEER), Look::Gone);
        assert!(!sightings.hears(PEER));
        let _back = sightings.connected(PEER);
        assert_eq!(sightings.look(PEER), Look::Fine);
    }

    #[test]
    fn silence_counts_from_the_last_word_and_may_be_pardoned() {
        let sightings = Arc::new(Sightings::new(Duration::from_secs(1)));
        let _connected = sightings.connected(PEER);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(sightings.look_at(PEER, at(10)), Look::Silent);
        sightings.heard_leader_at(PEER, at(10));
        assert_eq!(sightings.look_at(PEER, at(11)), Look::Fine);
        assert_eq!(sightings.look_at(PEER, at(12)), Look::Silent);
        sightings.pardon_silence_at(at(12));
        assert_eq!(sightings.look_at(PEER, at(13)), Look::Fine);
        assert_eq!(sightings.look_at(PEER, at(14)), Look::Silent);
    }
}
