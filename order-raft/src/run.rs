//! Puts a replica together, runs it, and stops it in order.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bazaar_domain::{ReplicaId, config::ClusterConfig};
use bazaar_service::{
    Auth, Clock, HttpLimits, Tls,
    data_dir::DataDir,
    http::edge,
    meters::{self, DATA},
    serve,
    start::print_error,
    tls::Identity as ProcessIdentity,
};
use futures::future::try_join_all;
use openraft::{Config, SnapshotPolicy, async_runtime::watch::WatchReceiver};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin, caretaker,
    detector::Detector,
    disk::REPLACE,
    events::{EventKind, Events},
    founding,
    gate::Gate,
    handover::Handover,
    http,
    identity::{Identity, LOG_FOLDER},
    intake_task, joining,
    log_store::{LogOwner, LogStore},
    meters::METRICS,
    network::{PeerBacking, PeerIdentity, PeerNetwork, Sightings, SnapshotNews, serve_peers},
    node::Node,
    publish_task,
    raft_types::{Member, RaftId},
    standing::Standing,
    state_machine::{State, adapter::StateMachine, store::StateDb},
};

/// Requests that wait to be looked at by the intake, at most.
const SUBMISSIONS_MAX: usize = 4_096;
/// Log entries purged at a time, at most: one range tombstone each.
const PURGE_ENTRIES_MAX: u64 = 4_096;
/// Kind of the data directory.
pub(crate) const DATA_KIND: &str = "order-replica";
/// Format of the data directory.
pub(crate) const DATA_FORMAT: u32 = 2;
/// Exit code of a replica whose disk failed.
const DISK_FAILED: i32 = 70;

/// A replica's listeners, already bound.
#[derive(Debug)]
pub struct Listeners {
    /// Trades, reads, health.
    pub service: TcpListener,
    /// Raft.
    pub peers: TcpListener,
    /// Looking inside.
    pub admin: TcpListener,
}

/// What makes one replica different from the others.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its number in the configuration.
    pub id: ReplicaId,
    /// Its data directory.
    pub data: PathBuf,
    /// The cluster to start, if this is its very first start.
    pub bootstrap: Option<String>,
}

/// Runs a replica until `shutdown`.
///
/// # Errors
/// If it cannot start, or its storage fails.
pub async fn run(
    listeners: Listeners,
    config: Arc<ClusterConfig>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<()> {
    meters::begin(&[METRICS, DATA]);
    let tls = Tls::load(config.tls.as_ref(), ProcessIdentity::Replica(options.id))?;
    let auth = Auth::load(config.auth.as_ref())?;
    let data = DataDir::open(&options.data, DATA_KIND, DATA_FORMAT)?;
    let mut identity = Identity::establish(data.path(), options.id, options.bootstrap.as_deref())?;
    if identity.cluster_id.is_none() {
        let joined = joining::wait(&listeners, &tls, &auth, identity, data.path().to_owned(), &shutdown).await?;
        let Some(joined) = joined else { return Ok(()) };
        identity = joined;
    }
    // The listeners stop first and the work behind them last, so that open requests are answered.
    let (listen, work) = (CancellationToken::new(), CancellationToken::new());
    let (node, mut tasks) = start(config, data.path(), identity, &work, listeners.peers, &tls).await?;
    tracing::info!(id = node.id, cluster = node.cluster_id, "replica started");
    let serving = async {
        let (service, admin) = (http::routes(Arc::clone(&node), &tls), admin::routes(Arc::clone(&node), &tls, &auth));
        let service = serve(tls.internal(listeners.service), edge(service), HttpLimits::default(), listen.clone());
        let admin = serve(tls.internal(listeners.admin), edge(admin), HttpLimits::default(), listen.clone());
        try_join_all([service, admin]).await.map(drop).context("the replica cannot serve")
    };
    let stopping = async {
        shutdown.cancelled().await;
        node.events.note(EventKind::Process, node.standing().term, "stops");
        node.hand_over("this replica stops").await;
        listen.cancel();
    };
    let result = tokio::select! {
        biased;
        // First, because it says most plainly what Raft also reports when an apply fails.
        fault = node.state.failed() => Err(anyhow::anyhow!("the replica cannot go on: {fault}")),
        result = node.follow_raft(work.clone()) => result,
        (result, ()) = async { tokio::join!(serving, stopping) } => result,
        // Without any one of them the replica would look alive and do nothing: better it ends and another leads.
        Some(ended) = tasks.join_next() => Err(anyhow::anyhow!("a part of the replica ended by itself: {ended:?}")),
    };
    work.cancel();
    while tasks.join_next().await.is_some() {}
    let stopped = node.raft.shutdown().await.context("Raft did not stop in order");
    result.and(stopped)
}

type Tasks = JoinSet<()>;

async fn start(
    config: Arc<ClusterConfig>,
    data: &Path,
    mut identity: Identity,
    work: &CancellationToken,
    peers: TcpListener,
    tls: &Tls,
) -> Result<(Arc<Node>, Tasks)> {
    let clock = Clock::start();
    let cluster_id = identity.cluster_id.clone().context("a replica without a cluster")?;
    let raft_id = identity.raft_id();
    let log = open_log(data)?;
    claim_log(&log, &mut identity, &cluster_id, data).await?;
    let state = State::open(data)?;
    require_whole_state(&state, &log, data)?;
    require_known_members(&state, &config, &identity, data)?;
    let append_timeout = Duration::from_millis(config.raft.election_max_ms);
    let events = Arc::new(Events::open(data)?);
    let news = snapshot_news(Arc::clone(&events));
    let network = PeerNetwork::new(cluster_id.clone(), raft_id, append_timeout)
        .over(tls.connector())
        .checking(StateDb::verify)
        .telling(Arc::clone(&news));
    let raft_config = Arc::new(raft_config(&config, &cluster_id).validate()?);
    let raft = openraft::Raft::new(raft_id, raft_config, network, log.clone(), StateMachine::new(Arc::clone(&state)))
        .await
        .context("Raft cannot start")?;
    if let Some(members) = founding::first_members(&identity, &config)
        && !raft.is_initialized().await?
    {
        // All founders write the same first entry; whoever does it first starts the cluster.
        raft.initialize(members).await.context("the cluster cannot be bootstrapped")?;
    }
    let sightings = Arc::new(Sightings::new(Duration::from_millis(config.raft.leader_silence_ms)));
    let gate = Arc::new(Gate::new(config.leases, Arc::clone(&state), clock));
    let (submissions, submitted) = mpsc::channel(SUBMISSIONS_MAX);
    let standing = RwLock::new(Standing::of(&raft.metrics().borrow_watched().clone()));
    let node = Arc::new(Node {
        id: raft_id.replica,
        raft_id,
        cluster_id: cluster_id.clone(),
        config: Arc::clone(&config),
        raft: raft.clone(),
        state: Arc::clone(&state),
        log,
        data: data.to_owned(),
        gate: Arc::clone(&gate),
        events: Arc::clone(&events),
        sightings: Arc::clone(&sightings),
        submissions,
        catalog_seen: watch::Sender::new(0),
        caller: tls.caller(),
        handover: Handover::default(),
        followers: Mutex::default(),
        changing_members: tokio::sync::Mutex::new(()),
        standing,
    });
    node.events.note(
        EventKind::Process,
        node.standing().term,
        format!("started, incarnation {}", identity.incarnation),
    );
    let publish = publish_task::Context {
        state,
        gate: Arc::clone(&gate),
        catalog_seen: node.catalog_seen.subscribe(),
        cluster_id: cluster_id.clone(),
        caller: tls.caller(),
        catalog: config.catalog.service.clone(),
        timeout: config.leases.granted(config.leases.ttl()) * 3,
        clock,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(intake_task::run(raft.clone(), gate, submitted, work.clone()));
    tasks.spawn(caretaker::run(Arc::clone(&node), work.clone()));
    tasks.spawn(publish_task::run(publish, work.clone()));
    let backing =
        PeerBacking { peer: raft.clone(), sightings: Arc::clone(&sightings), incoming: data.join("incoming"), news };
    let network = PeerNetwork::new(cluster_id.clone(), raft_id, append_timeout).over(tls.connector());
    tasks.spawn(Detector::new(raft, sightings, network, events).run(work.clone()));
    tasks.spawn(serve_peers(tls.internal(peers), PeerIdentity { cluster_id, id: raft_id }, backing, work.clone()));
    Ok((node, tasks))
}

fn snapshot_news(events: Arc<Events>) -> SnapshotNews {
    Arc::new(move |term, what| events.note(EventKind::Snapshot, term, what))
}

/// Makes sure that the log is this replica's. One that lost its log must not vote: it has forgotten what it promised.
async fn claim_log(log: &LogStore, identity: &mut Identity, cluster_id: &str, data: &Path) -> Result<()> {
    let own = LogOwner { cluster_id: cluster_id.to_owned(), id: identity.raft_id() };
    match log.owner()? {
        Some(owner) if owner == own => {}
        Some(owner) => bail!(
            "the log in {} belongs to replica {} of cluster {}, not to replica {} of {cluster_id}, as identity.json says; \
             put the two back together, or {REPLACE}",
            data.display(),
            owner.id,
            owner.cluster_id,
            own.id
        ),
        None if identity.has_log => bail!(
            "{} holds a new log, but this replica had one; it must not vote under its number; {REPLACE}",
            data.display()
        ),
        None => log.claim(&own).await?,
    }
    if !identity.has_log {
        identity.note_log(data)?;
    }
    Ok(())
}

/// Makes sure that the state, or a checkpoint of it, reaches to where the log begins: what lies between is nowhere.
fn require_whole_state(state: &State, log: &LogStore, data: &Path) -> Result<()> {
    let Some(purged) = log.positions().purged.map(|id| id.index) else { return Ok(()) };
    match state.reaches() {
        Some(reached) if reached >= purged => Ok(()),
        reached => bail!(
            "the state in {} ends at log entry {}, but the log goes on only behind entry {purged}: a part of the state \
             was lost; {REPLACE}",
            data.display(),
            reached.map_or("none".to_owned(), |index| index.to_string()),
        ),
    }
}

/// Makes sure that the members, as far as they are known yet, are those of the configuration: at least one must be, or
/// this is the directory of another cluster.
fn require_known_members(state: &State, config: &ClusterConfig, identity: &Identity, data: &Path) -> Result<()> {
    let members: Vec<String> = state.members().map(|member| member.peers).collect();
    let configured = |peers: &String| config.replicas.iter().any(|replica| replica.peers.to_string() == *peers);
    if members.is_empty() || members.iter().any(configured) {
        return Ok(());
    }
    bail!(
        "{} belongs to cluster {}, whose replicas listen for each other at {}, and none of them is in the configuration; \
         give the configuration of that cluster, or the data directory of this one",
        data.display(),
        identity.cluster_id.as_deref().unwrap_or("none"),
        members.join(", ")
    )
}

fn open_log(data: &Path) -> Result<LogStore> {
    LogStore::open(&data.join(LOG_FOLDER), |fault: String| {
        print_error(&anyhow::anyhow!("the replica cannot go on: {fault}"));
        std::process::exit(DISK_FAILED);
    })
}

pub(crate) fn founding_members(config: &ClusterConfig) -> BTreeMap<RaftId, Member> {
    let member = |replica: &bazaar_domain::config::ReplicaConfig| Member {
        peers: replica.peers.to_string(),
        service: replica.service.to_string(),
        admin: replica.admin.to_string(),
    };
    config.replicas.iter().map(|replica| (RaftId::founding(replica.id), member(replica))).collect()
}

fn raft_config(config: &ClusterConfig, cluster_id: &str) -> Config {
    let tuning = &config.raft;
    Config {
        cluster_name: cluster_id.to_owned(),
        heartbeat_interval: tuning.heartbeat_ms,
        election_timeout_min: tuning.election_min_ms,
        election_timeout_max: tuning.election_max_ms,
        max_payload_entries: 1_024,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.snapshot_every_entries),
        max_in_snapshot_log_to_keep: tuning.log_kept_entries,
        // A follower that is behind by less than what is kept is served from the log.
        replication_lag_threshold: tuning.snapshot_every_entries + tuning.log_kept_entries,
        purge_batch_size: tuning.log_kept_entries.clamp(1, PURGE_ENTRIES_MAX),
        install_snapshot_timeout: 600_000,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}
