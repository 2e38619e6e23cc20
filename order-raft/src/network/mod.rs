//! What replicas say to each other: Raft's messages and snapshots, in frames over TCP.
//!
//! Every connection begins with a [hello](frame::Hello), so that nobody talks to a replica of another cluster, or to
//! another replica than the one that is meant. After it, requests and answers carry ids, and many are under way at a
//! time. Appends, heartbeats, elections and snapshots have connections of their own: none waits behind another.

mod client;
mod connection;
mod frame;
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

pub use self::{
    client::{PeerClient, PeerNetwork},
    frame::LeaderLost,
    peer::{PeerFault, RaftPeer},
    server::{PeerBacking, PeerIdentity, serve_peers},
    sightings::{Look, Sightings},
};
