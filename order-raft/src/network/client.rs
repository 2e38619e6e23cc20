//! openraft's view of the network. It only delegates.

use std::{
    collections::HashMap,
    future::Future,
    iter,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bazaar_service::tls::Connector;
use futures::{Stream, StreamExt, stream};
use openraft::{
    RPCTypes, RaftNetworkFactory, StorageError,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption, RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
    type_config::{TypeConfigExt, alias::SnapshotOf},
};

use super::{
    SnapshotNews,
    connection::{CallError, CallInFlight, Connection},
    frame::{Answer, Call, Channel, Hello, LeaderLost},
    link::Link,
    snapshot_send,
};
use crate::{
    raft_types::{LogId, Member, RaftId, TypeConfig, Vote},
    snapshot_dir::SnapshotDir,
};

/// Appends under way to one follower.
const PIPELINE_APPENDS_MAX: usize = 16;
/// Heartbeats, votes and transfers are waited for at least so long, even if Raft would give up sooner.
const CALL_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Pauses before an unreachable peer is tried again: it may be back any moment, and trying costs little.
const BACKOFFS_MS: [u64; 4] = [20, 40, 80, 160];
/// All later pauses.
const BACKOFF_MS_MAX: u64 = 200;

/// What a link is for. Each has its own connection, so that none waits behind another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Purpose {
    Replication,
    Heartbeat,
    Election,
    Snapshot,
}

/// Says what is wrong with a snapshot before it is sent; may read all of it.
type SnapshotCheck = fn(&Path) -> Result<(), String>;

/// Makes the clients that openraft uses to reach the other replicas.
pub struct PeerNetwork {
    cluster_id: String,
    id: RaftId,
    append_timeout: Duration,
    connector: Connector,
    check: SnapshotCheck,
    news: SnapshotNews,
    /// One link for each peer and purpose; replaced when the peer's address changes.
    links: HashMap<(RaftId, Purpose), Arc<Link>>,
}

impl PeerNetwork {
    /// The network of replica `id`. An append with entries is waited for up to `append_timeout`, which must leave the
    /// follower time for a slow fsync: about the longest election timeout.
    pub fn new(cluster_id: String, id: RaftId, append_timeout: Duration) -> Self {
        Self {
            cluster_id,
            id,
            append_timeout,
            connector: Connector::default(),
            check: |_| Ok(()),
            news: Arc::new(|_, _| {}),
            links: HashMap::new(),
        }
    }

    /// The same network over what this makes of connections.
    pub fn over(self, connector: Connector) -> Self {
        Self { connector, ..self }
    }

    /// The same network with a check of snapshots. A copy that is damaged like its original would arrive whole.
    pub fn checking(self, check: SnapshotCheck) -> Self {
        Self { check, ..self }
    }

    /// The same network, which tells of each snapshot that it sent.
    pub fn telling(self, news: SnapshotNews) -> Self {
        Self { news, ..self }
    }

    fn link(&mut self, target: RaftId, member: &Member, purpose: Purpose) -> Arc<Link> {
        if let Some(link) = self.links.get(&(target, purpose)).filter(|link| link.address() == member.peers) {
            return Arc::clone(link);
        }
        let channel = if purpose == Purpose::Snapshot { Channel::Snapshot } else { Channel::Calls };
        let hello = Hello { cluster_id: self.cluster_id.clone(), from: self.id, to: target, channel };
        let link = Arc::new(Link::new(member.peers.clone(), hello, self.connector.clone()));
        self.links.insert((target, purpose), Arc::clone(&link));
        link
    }

    /// Asks another voter whether it, too, has lost the leader of this vote; nothing if it does not say.
    pub fn ask_leader_lost(
        &mut self,
        target: RaftId,
        member: &Member,
        vote: Vote,
        limit: Duration,
    ) -> impl Future<Output = Option<LeaderLost>> + use<> {
        let link = self.link(target, member, Purpose::Election);
        async move {
            match link.call(Call::LeaderLost(vote), limit).await {
                Ok(Answer::LeaderLost(answer)) => Some(answer),
                Ok(_) | Err(_) => None,
            }
        }
    }

    fn client(&mut self, target: RaftId, member: &Member, purpose: Purpose) -> PeerClient {
        PeerClient {
            id: self.id,
            purpose,
            append_timeout: self.append_timeout,
            check: self.check,
            news: Arc::clone(&self.news),
            appends: self.link(target, member, purpose),
            elections: self.link(target, member, Purpose::Election),
            snapshots: self.link(target, member, Purpose::Snapshot),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetwork {
    type Network = PeerClient;

    async fn new_client(&mut self, target: RaftId, member: &Member) -> PeerClient {
        self.client(target, member, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: RaftId, member: &Member) -> PeerClient {
        self.client(target, member, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: RaftId, member: &Member) -> PeerClient {
        self.client(target, member, Purpose::Snapshot)
    }
}

/// Reaches one other replica.
pub struct PeerClient {
    id: RaftId,
    purpose: Purpose,
    append_timeout: Duration,
    check: SnapshotCheck,
    news: SnapshotNews,
    appends: Arc<Link>,
    elections: Arc<Link>,
    snapshots: Arc<Link>,
}

impl PeerClient {
    fn append_limit(&self, option: &RPCOption) -> Duration {
        match self.purpose {
            Purpose::Heartbeat => call_limit(option),
            // Also appends without entries wait in line behind those with entries.
            Purpose::Replication | Purpose::Election | Purpose::Snapshot => self.append_timeout,
        }
    }

    async fn elect(&self, call: Call, action: RPCTypes, option: &RPCOption) -> Result<Answer, RPCError<TypeConfig>> {
        let route = Route { from: self.id, to: self.elections.target(), action };
        self.elections.call(call, call_limit(option)).await.map_err(|error| route.rpc_error(error))
    }
}

fn call_limit(option: &RPCOption) -> Duration {
    option.soft_ttl().max(CALL_TIMEOUT_MIN)
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotDir;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let route = Route { from: self.id, to: self.appends.target(), action: RPCTypes::AppendEntries };
        let called = self.appends.call(Call::Append(request), self.append_limit(&option)).await;
        match called.map_err(|error| route.rpc_error(error))? {
            Answer::Append(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendItem>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let limit = self.append_limit(&option);
        let route = Route { from: self.id, to: self.appends.target(), action: RPCTypes::AppendEntries };
        let link = Arc::clone(&self.appends);
        Box::pin(async move {
            let connection = link.connection(limit).await.map_err(|error| route.rpc_error(error))?;
            let answers = input
                .then(move |request| start_append(Arc::clone(&connection), request))
                .map(move |append| append.answer(limit, route))
                .buffered(PIPELINE_APPENDS_MAX);
            let stream: BoxStream<'s, AppendItem> = Box::pin(until_not_whole(Box::pin(answers)));
            Ok(stream)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.elect(Call::Vote(request), RPCTypes::Vote, &option).await? {
            Answer::Vote(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.elect(Call::PreVote(request), RPCTypes::Vote, &option).await? {
            Answer::Vote(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotDir>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (check, path) = (self.check, snapshot.snapshot.path.clone());
        if let Ok(Err(damage)) = tokio::task::spawn_blocking(move || check(&path)).await {
            // Fatal for the one that has it: another replica leads then, and sends its own.
            let damage = TypeConfig::err_from_string(damage);
            return Err(StorageError::read_snapshot(Some(snapshot.meta.signature()), damage).into());
        }
        let route = Route { from: self.id, to: self.snapshots.target(), action: RPCTypes::InstallSnapshot };
        let (index, began) = (snapshot.meta.last_log_id.map_or(0, |id| id.index), Instant::now());
        let sent = tokio::select! {
            biased;
            closed = cancel => return Err(closed.into()),
            sent = snapshot_send::send(&self.snapshots, vote, snapshot.meta, snapshot.snapshot) => sent,
        };
        let response = sent.map_err(|error| route.rpc_error(error))?;
        let took = began.elapsed().as_secs_f64();
        (self.news)(
            vote.leader_id.term,
            format!("sent replica {} a snapshot up to index {index} in {took:.1} s", route.to),
        );
        Ok(response)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.elect(Call::TransferLeader(request), RPCTypes::TransferLeader, &option).await? {
            Answer::TransferLeader(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let pauses = BACKOFFS_MS.into_iter().chain(iter::repeat(BACKOFF_MS_MAX));
        Some(Backoff::new(pauses.map(Duration::from_millis)))
    }
}

pub(super) type AppendItem = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// An append in the pipeline, with what its answer is measured by.
struct Append {
    previous: Option<LogId>,
    last: Option<LogId>,
    /// When it was sent, if it carries entries.
    sent: Option<Instant>,
    call: Result<CallInFlight, CallError>,
}

async fn start_append(connection: Arc<Connection>, request: AppendEntriesRequest<TypeConfig>) -> Append {
    let previous = request.prev_log_id;
    let last = request.entries.last().map(|entry| entry.log_id).or(previous);
    let sent = (!request.entries.is_empty()).then(Instant::now);
    Append { previous, last, sent, call: connection.start(Call::Append(request)).await }
}

impl Append {
    /// The answer, and whether everything up to the last entry was taken, so that the next append can follow.
    async fn answer(self, limit: Duration, route: Route) -> (AppendItem, bool) {
        let answer = match self.call {
            Ok(call) => call.answer(limit).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(Answer::Append(response)) => {
                if let Some(sent) = self.sent {
                    crate::meters::REPLICATE_SECONDS.histogram().record(sent.elapsed());
                }
                append_item(response, self.previous, self.last)
            }
            Ok(other) => (Err(unexpected(&other)), false),
            Err(error) => (Err(route.rpc_error(error)), false),
        }
    }
}

/// What Raft hears of the answer to an append, and whether all of it was taken.
pub(super) fn append_item(
    response: AppendEntriesResponse<TypeConfig>,
    previous: Option<LogId>,
    last: Option<LogId>,
) -> (AppendItem, bool) {
    let whole = match &response {
        AppendEntriesResponse::Success => true,
        AppendEntriesResponse::PartialSuccess(taken) => *taken == last,
        AppendEntriesResponse::HigherVote(_) => false,
        AppendEntriesResponse::Conflict if previous.is_some() => false,
        AppendEntriesResponse::Conflict => {
            let error = NetworkError::from_string("the peer sees a conflict before the first entry");
            return (Err(error.into()), false);
        }
    };
    (Ok(response.into_stream_result(previous, last)), whole)
}

/// Ends a pipeline behind the first answer after which the later appends cannot fit.
fn until_not_whole(
    answers: impl Stream<Item = (AppendItem, bool)> + Send + Unpin,
) -> impl Stream<Item = AppendItem> + Send {
    stream::unfold(Some(answers), |answers| async move {
        let mut answers = answers?;
        let (item, whole) = answers.next().await?;
        Some((item, whole.then_some(answers)))
    })
}

/// Who calls whom for what, as errors tell it.
#[derive(Debug, Clone, Copy)]
struct Route {
    from: RaftId,
    to: RaftId,
    action: RPCTypes,
}

impl Route {
    fn rpc_error(self, error: CallError) -> RPCError<TypeConfig> {
        match error {
            // Raft waits before it tries an unreachable peer again, and does not after a break.
            CallError::Unreachable(_) => Unreachable::new(&error).into(),
            CallError::Broken(_) => NetworkError::new(&error).into(),
            CallError::Timeout(timeout) => {
                Timeout { action: self.action, id: self.from, target: self.to, timeout }.into()
            }
        }
    }
}

fn unexpected(answer: &Answer) -> RPCError<TypeConfig> {
    NetworkError::from_string(format!("the peer answered another question: {answer:?}")).into()
}
