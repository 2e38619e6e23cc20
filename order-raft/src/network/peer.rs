//! What the server asks of the replica behind it.

use std::fmt::Display;

use openraft::{
    Raft, Snapshot,
    errors::{Fatal, RaftError},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
    storage::RaftStateMachine,
};

use crate::{
    raft_types::{LogId, SnapshotMeta, TypeConfig, Vote},
    snapshot_dir::SnapshotDir,
};

/// Why a replica could not do what a peer asked; sent to the peer as text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PeerFault(pub String);

impl PeerFault {
    /// A fault with another error's text.
    pub fn new(why: impl Display) -> Self {
        Self(why.to_string())
    }
}

impl From<Fatal<TypeConfig>> for PeerFault {
    fn from(error: Fatal<TypeConfig>) -> Self {
        Self::new(error)
    }
}

impl From<RaftError<TypeConfig>> for PeerFault {
    fn from(error: RaftError<TypeConfig>) -> Self {
        Self::new(error)
    }
}

/// A replica, as its peers see it. [`Raft`] is one.
pub trait RaftPeer: Clone + Send + Sync + 'static {
    /// The newest vote that it knows, and the end of its log.
    fn position(&self) -> impl Future<Output = Result<(Vote, Option<LogId>), PeerFault>> + Send;

    /// Takes log entries, or a heartbeat. Calls are started in the order in which the leader sent them.
    fn append(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> impl Future<Output = Result<AppendEntriesResponse<TypeConfig>, PeerFault>> + Send;

    /// Answers a candidate.
    fn vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> impl Future<Output = Result<VoteResponse<TypeConfig>, PeerFault>> + Send;

    /// Says whether it would vote for a replica that thinks of becoming a candidate.
    fn pre_vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> impl Future<Output = Result<VoteResponse<TypeConfig>, PeerFault>> + Send;

    /// Hears that the leader hands its leadership to somebody.
    fn transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> impl Future<Output = Result<TransferLeaderResponse<TypeConfig>, PeerFault>> + Send;

    /// Installs a snapshot that was received whole, verified and made durable. What is to be kept must be moved out of
    /// the folder: it is removed afterwards.
    fn install(
        &self,
        vote: Vote,
        meta: SnapshotMeta,
        received: SnapshotDir,
    ) -> impl Future<Output = Result<SnapshotResponse<TypeConfig>, PeerFault>> + Send;
}

impl<SM> RaftPeer for Raft<TypeConfig, SM>
where
    SM: RaftStateMachine<TypeConfig, SnapshotData = SnapshotDir>,
{
    async fn position(&self) -> Result<(Vote, Option<LogId>), PeerFault> {
        Ok(self.with_raft_state(|state| (*state.vote_ref(), state.log_ids.last().copied())).await?)
    }

    async fn append(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<TypeConfig>, PeerFault> {
        Ok(self.append_entries(request).await?)
    }

    async fn vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, PeerFault> {
        Ok(Raft::vote(self, request).await?)
    }

    async fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, PeerFault> {
        Ok(Raft::pre_vote(self, request).await?)
    }

    async fn transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> Result<TransferLeaderResponse<TypeConfig>, PeerFault> {
        Ok(self.handle_transfer_leader(request).await?)
    }

    async fn install(
        &self,
        vote: Vote,
        meta: SnapshotMeta,
        received: SnapshotDir,
    ) -> Result<SnapshotResponse<TypeConfig>, PeerFault> {
        Ok(self.install_full_snapshot(vote, Snapshot { meta, snapshot: received }).await?)
    }
}
