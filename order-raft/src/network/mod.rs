//! What replicas say to each other: Raft's messages and snapshots, in frames over TCP.
//!
//! Every connection begins with a [hello](frame::Hello), so that nobody talks to a replica of another cluster, or to
//! another replica than the one that is meant. After it, requests and answers carry ids, and many are under way at a
//! time. Appends, heartbeats, elections and snapshots have connections of their own: none waits behind another.

use std::sync::Arc;

mod client;
mod connection;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzed;
mod link;
mod peer;
mod rate_limit;
mod server;
mod sightings;
mod snapshot_receive;
mod snapshot_send;
#[cfg(test)]
mod test_peer;
#[cfg(test)]
mod tests;

/// Told, with the term, what became of a snapshot that was sent or received whole.
pub type SnapshotNews = Arc<dyn Fn(u64, String) + Send + Sync>;

pub use self::{
    client::{PeerClient, PeerNetwork},
    frame::LeaderLost,
    peer::{PeerFault, RaftPeer},
    server::{PeerBacking, PeerIdentity, serve_peers},
    sightings::{Look, Sightings},
};
