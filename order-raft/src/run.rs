//! Puts a replica together, runs it, and stops it in order.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, RwLock},
};

use anyhow::{Context, Result};
use axum::{Router, routing::get};
use bazaar_domain::{
    ErrorKind, ReplicaId,
    api::{Data, Health, Role},
    config::ClusterConfig,
};
use bazaar_service::{
    ApiFailure, Clock, HttpLimits,
    data_dir::DataDir,
    http::{edge, liveness_and_metrics, metrics_handle},
    serve,
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
    admin,
    events::Events,
    gate::Gate,
    http,
    identity::Identity,
    intake_task,
    log_store::LogStore,
    node::Node,
    publish_task,
    raft_types::Member,
    standing::Standing,
    state_machine::{State, adapter::StateMachine},
};

/// Requests that wait to be looked at by the intake, at most.
const SUBMISSIONS_MAX: usize = 4_096;
/// Log entries purged at a time, at most: one range tombstone each.
const PURGE_ENTRIES_MAX: u64 = 4_096;
/// Format of the data directory.
const DATA_FORMAT: u32 = 1;
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
    metrics_handle();
    let data = DataDir::open(&options.data, "order-replica", DATA_FORMAT)?;
    let Some(identity) = Identity::establish(data.path(), options.id, options.bootstrap.as_deref())? else {
        tracing::warn!(id = options.id, "the data directory is empty: joining, without a vote");
        return run_joining(listeners, options.id, shutdown).await;
    };
    let members = members(&config);
    // The listeners stop first and the work behind them last, so that open requests are answered.
    let (listen, work) = (CancellationToken::new(), CancellationToken::new());
    let (node, mut tasks) = start(config, &options, data.path(), identity, members, &work, listeners.peers).await?;
    tracing::info!(id = node.id, cluster = node.cluster_id, "replica started");
    let serving = async {
        let (service, admin) = (http::routes(Arc::clone(&node)), admin::routes(Arc::clone(&node)));
        let service = serve(listeners.service, edge(service), HttpLimits::default(), listen.clone());
        let admin = serve(listeners.admin, edge(admin), HttpLimits::default(), listen.clone());
        try_join_all([service, admin]).await.map(drop).context("the replica cannot serve")
    };
    let stopping = async {
        shutdown.cancelled().await;
        node.hand_over().await;
        listen.cancel();
    };
    let result = tokio::select! {
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
    options: &Options,
    data: &std::path::Path,
    mut identity: Identity,
    members: BTreeMap<ReplicaId, Member>,
    work: &CancellationToken,
    peers: TcpListener,
) -> Result<(Arc<Node>, Tasks)> {
    let clock = Clock::start();
    let log = open_log(data)?;
    let positions = log.positions();
    anyhow::ensure!(
        !identity.has_log || positions.last.is_some() || positions.purged.is_some(),
        "{} holds an empty log, but this replica had one; it must not vote under its number. Empty the directory and \
         replace the replica",
        data.display()
    );
    let state = State::open(data)?;
    let network = crate::network::PeerNetwork::new(
        identity.cluster_id.clone(),
        options.id,
        std::time::Duration::from_millis(config.raft.election_max_ms),
    );
    let raft_config = Arc::new(raft_config(&config, &identity.cluster_id).validate()?);
    let raft =
        openraft::Raft::new(options.id, raft_config, network, log.clone(), StateMachine::new(Arc::clone(&state)))
            .await
            .context("Raft cannot start")?;
    if !raft.is_initialized().await? {
        // All replicas of the configuration write the same first entry; whoever does it first starts the cluster.
        raft.initialize(members).await.context("the cluster cannot be bootstrapped")?;
    }
    if !identity.has_log {
        identity.note_log(data)?;
    }
    let gate = Arc::new(Gate::new(config.leases, Arc::clone(&state), clock));
    let (submissions, submitted) = mpsc::channel(SUBMISSIONS_MAX);
    let standing = RwLock::new(Standing::of(&raft.metrics().borrow_watched().clone()));
    let node = Arc::new(Node {
        id: options.id,
        cluster_id: identity.cluster_id.clone(),
        config: Arc::clone(&config),
        raft: raft.clone(),
        state: Arc::clone(&state),
        log,
        gate: Arc::clone(&gate),
        events: Events::default(),
        submissions,
        catalog_seen: watch::Sender::new(0),
        standing,
    });
    node.events.note(node.standing().term, format!("started, incarnation {}", identity.incarnation));
    let publish = publish_task::Context {
        state,
        gate: Arc::clone(&gate),
        catalog_seen: node.catalog_seen.subscribe(),
        cluster_id: identity.cluster_id.clone(),
        catalog: format!("http://{}", config.catalog.service),
        timeout: config.leases.granted(config.leases.ttl()) * 3,
        clock,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(intake_task::run(raft.clone(), gate, submitted, work.clone()));
    tasks.spawn(publish_task::run(publish, work.clone()));
    let peer_identity = crate::network::PeerIdentity { cluster_id: identity.cluster_id, id: options.id };
    tasks.spawn(crate::network::serve_peers(peers, peer_identity, raft, data.join("incoming"), work.clone()));
    Ok((node, tasks))
}

fn open_log(data: &std::path::Path) -> Result<LogStore> {
    LogStore::open(&data.join("raft"), |fault: String| {
        tracing::error!(fault, "the log cannot be written: the replica stops, and must be looked after");
        std::process::exit(DISK_FAILED);
    })
}

fn members(config: &ClusterConfig) -> BTreeMap<ReplicaId, Member> {
    let member = |replica: &bazaar_domain::config::ReplicaConfig| Member {
        peers: replica.peers.to_string(),
        service: replica.service.to_string(),
    };
    config.replicas.iter().map(|replica| (replica.id, member(replica))).collect()
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

/// A replica with an empty disk says what it is and does nothing else: under its number it may have voted for, or
/// acknowledged, what it no longer knows.
async fn run_joining(listeners: Listeners, id: ReplicaId, shutdown: CancellationToken) -> Result<()> {
    let health = Health {
        id,
        role: Role::Joining,
        leader: None,
        term: 0,
        ready: false,
        quorum_ack_age_ms: None,
        last_log_index: None,
        committed: None,
        applied: None,
        orders: 0,
        cluster_id: None,
    };
    let joining = || async {
        ApiFailure::new(ErrorKind::NoLeader, "this replica has an empty data directory and is not a member yet")
    };
    let routes = Router::new()
        .route("/health", get(move || async move { axum::Json(Data { data: health }) }))
        .route("/readyz", get(joining))
        .merge(liveness_and_metrics())
        .fallback(joining);
    drop(listeners.peers);
    try_join_all([
        serve(listeners.service, edge(routes.clone()), HttpLimits::default(), shutdown.clone()),
        serve(listeners.admin, edge(routes), HttpLimits::default(), shutdown),
    ])
    .await?;
    Ok(())
}
