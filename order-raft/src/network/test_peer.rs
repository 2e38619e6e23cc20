//! A replica that does what a test says, and a server in front of it.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use openraft::{
    RaftNetworkFactory,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{PeerBacking, PeerClient, PeerFault, PeerIdentity, PeerNetwork, RaftPeer, Sightings, serve_peers};
use crate::{
    log_store::test_entries::{blank, log_id},
    raft_types::{LogId, Member, RaftId, SnapshotMeta, TypeConfig, Vote},
    snapshot_dir::SnapshotDir,
};

pub(super) const WAIT_MAX: Duration = Duration::from_secs(10);
pub(super) const CLUSTER: &str = "test-cluster";
/// The replica that the servers of these tests are.
pub(super) const SERVER_ID: RaftId = RaftId { replica: 2, life: 0 };

/// Files by name, as they were received.
pub(super) type ReceivedFiles = BTreeMap<String, Vec<u8>>;

#[derive(Clone)]
pub(super) struct TestPeer {
    /// First log index of each append, in the order in which they were started.
    pub(super) started: watch::Sender<Vec<u64>>,
    /// Each answer to an append takes one permit.
    pub(super) answers: Arc<Semaphore>,
    /// Appends that begin with this index are a conflict.
    pub(super) conflict_at: Option<u64>,
    pub(super) installed: Arc<Mutex<Vec<(SnapshotMeta, ReceivedFiles)>>>,
}

impl TestPeer {
    /// One that answers every append at once.
    pub(super) fn willing() -> Self {
        let peer = Self::holding();
        peer.answers.add_permits(1_000_000);
        peer
    }

    /// One that answers appends only as permits are given.
    pub(super) fn holding() -> Self {
        Self {
            started: watch::Sender::new(Vec::new()),
            answers: Arc::new(Semaphore::new(0)),
            conflict_at: None,
            installed: Arc::default(),
        }
    }

    pub(super) async fn wait_for_started(&self, appends: usize) -> Vec<u64> {
        let mut started = self.started.subscribe();
        let found = tokio::time::timeout(WAIT_MAX, started.wait_for(|started| started.len() >= appends)).await;
        found.unwrap().unwrap().clone()
    }
}

impl RaftPeer for TestPeer {
    async fn position(&self) -> Result<(Vote, Option<LogId>), PeerFault> {
        Ok((Vote::new_committed(4, RaftId::founding(1)), Some(log_id(4, 9))))
    }

    async fn append(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<TypeConfig>, PeerFault> {
        let first = request.entries.first().map_or(0, |entry| entry.log_id.index);
        self.started.send_modify(|started| started.push(first));
        self.answers.acquire().await.unwrap().forget();
        if self.conflict_at == Some(first) {
            return Ok(AppendEntriesResponse::Conflict);
        }
        Ok(AppendEntriesResponse::Success)
    }

    async fn vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, PeerFault> {
        Ok(VoteResponse::new(request.vote, None, true))
    }

    async fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, PeerFault> {
        Ok(VoteResponse::new(request.vote, None, false))
    }

    async fn transfer_leader(
        &self,
        _request: TransferLeaderRequest<TypeConfig>,
    ) -> Result<TransferLeaderResponse<TypeConfig>, PeerFault> {
        Err(PeerFault("the replica is stopping".into()))
    }

    async fn install(
        &self,
        vote: Vote,
        meta: SnapshotMeta,
        received: SnapshotDir,
    ) -> Result<SnapshotResponse<TypeConfig>, PeerFault> {
        let files = read_files(&received).map_err(PeerFault::new)?;
        self.installed.lock().unwrap().push((meta, files));
        Ok(SnapshotResponse::new(vote))
    }
}

fn read_files(dir: &SnapshotDir) -> std::io::Result<ReceivedFiles> {
    let names = dir.files()?.into_iter().map(|file| file.name);
    names.map(|name| Ok((name.clone(), fs::read(dir.path.join(name))?))).collect()
}

/// A running server.
pub(super) struct TestServer {
    pub(super) address: SocketAddr,
    pub(super) incoming: TempDir,
    pub(super) sightings: Arc<Sightings>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl TestServer {
    pub(super) async fn start(peer: TestPeer) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), peer).await
    }

    pub(super) async fn start_at(address: SocketAddr, peer: TestPeer) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (incoming, shutdown) = (TempDir::new().unwrap(), CancellationToken::new());
        let identity = PeerIdentity { cluster_id: CLUSTER.into(), id: SERVER_ID };
        let sightings = Arc::new(Sightings::new(WAIT_MAX));
        let backing = PeerBacking {
            peer,
            sightings: Arc::clone(&sightings),
            incoming: incoming.path().to_owned(),
            news: Arc::new(|_, _| {}),
        };
        let serving = serve_peers(listener.into(), identity, backing, shutdown.clone());
        Self { address, incoming, sightings, shutdown, task: tokio::spawn(serving) }
    }

    /// Cuts all connections and frees the port.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(WAIT_MAX, self.task).await.unwrap().unwrap();
    }

    pub(super) fn member(&self) -> Member {
        Member { peers: self.address.to_string(), ..Member::default() }
    }

    pub(super) async fn client(&self) -> PeerClient {
        network(CLUSTER).new_client(SERVER_ID, &self.member()).await
    }

    /// Folders of snapshots that are being received.
    pub(super) fn incoming_folders(&self) -> usize {
        fs::read_dir(self.incoming.path()).unwrap().count()
    }
}

pub(super) fn network(cluster: &str) -> PeerNetwork {
    PeerNetwork::new(cluster.into(), RaftId::founding(1), WAIT_MAX)
}

/// An append of the one entry `index`.
pub(super) fn append(index: u64) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, RaftId::founding(1)),
        prev_log_id: index.checked_sub(1).map(|index| log_id(1, index)),
        entries: vec![blank(1, index)],
        leader_commit: None,
    }
}

pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(WAIT_MAX, waiting).await.is_ok(), "never: {what}");
}
