//! The one place where openraft's types are named: everything else in this crate uses these aliases (ADR 0002).

use std::{fmt, sync::Arc};

use bazaar_domain::{Command, ReplicaId, codec, order::Decision};
use bazaar_service::Origin;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The content of a log entry: one encoded [`Command`], made once by the leader and carried as the same bytes to
/// its own log, to the followers and to theirs.
#[derive(Clone, Serialize, Deserialize)]
pub struct LogCommand {
    /// The encoded command: all that is stored and sent.
    pub bytes: Bytes,
    /// Whose requests it carries, for logs and traces: known only to the leader that proposed it, while it has the entry
    /// in memory. Nothing is decided by it.
    #[serde(skip)]
    pub origin: Option<Arc<Origin>>,
}

impl PartialEq for LogCommand {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for LogCommand {}

impl LogCommand {
    /// Encodes a command.
    pub fn encode(command: &Command) -> Self {
        Self { bytes: codec::encode(command).into(), origin: None }
    }

    /// The same command with the origin of its requests.
    #[must_use]
    pub fn with_origin(self, origin: Option<Origin>) -> Self {
        Self { origin: origin.map(Arc::new), ..self }
    }

    /// Reads the command back.
    ///
    /// # Errors
    /// If the bytes are not a command that this build knows.
    pub fn decode(&self) -> Result<Command, codec::DecodeError> {
        codec::decode(&self.bytes)
    }
}

impl fmt::Debug for LogCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl fmt::Display for LogCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What apply says to the proposer of an entry: one decision for each of the command's items, none for entries of
/// Raft's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AppliedCommand {
    /// The decisions, in the command's order.
    pub decisions: Vec<Decision>,
}

impl fmt::Display for AppliedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} decisions", self.decisions.len())
    }
}

/// A replica as Raft knows it: its number, and which life of that number it is.
///
/// A replica that lost its disk has forgotten its votes and its log, so it must never speak under its old Raft id. With
/// a new life it is a new member that happens to have the old number (ADR 0008).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct RaftId {
    /// The replica's number, as people and the configuration call it.
    pub replica: ReplicaId,
    /// A random number, kept in the data directory; 0 for a member of a bootstrap by flag or of a restored backup.
    pub life: u64,
}

impl RaftId {
    /// A member of the cluster's bootstrap by flag.
    pub fn founding(replica: ReplicaId) -> Self {
        Self { replica, life: 0 }
    }
}

/// openraft's storage suite makes ids from numbers.
#[cfg(test)]
impl From<u64> for RaftId {
    fn from(replica: u64) -> Self {
        Self::founding(replica)
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.life {
            0 => write!(f, "{}", self.replica),
            life => write!(f, "{}/{life:x}", self.replica),
        }
    }
}

/// A member of the cluster, as the membership entries in the log name it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// `host:port` of its Raft listener.
    pub peers: String,
    /// `host:port` of its service listener.
    pub service: String,
    /// `host:port` of its admin listener.
    pub admin: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.peers)
    }
}

openraft::declare_raft_types!(
    /// openraft, as this service uses it. Leader ids are those of standard Raft: one leader a term.
    pub TypeConfig:
        D = LogCommand,
        R = AppliedCommand,
        NodeId = RaftId,
        Node = Member,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, RaftId>,
        AsyncRuntime = openraft::TokioRuntime,
);

/// A log entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// Term and index of an entry.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// A membership with the entry that set it.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
/// A replica's metrics.
pub type RaftMetrics = openraft::RaftMetrics<TypeConfig>;
