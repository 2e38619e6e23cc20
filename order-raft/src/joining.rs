//! A replica with an empty disk says what it is, and waits until a leader takes it in, or a cluster is founded with it.
//! Under its number an earlier life may have voted for, or acknowledged, what this one does not know, so it answers
//! nothing of Raft's before that.

use std::{
    net,
    os::fd::AsFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use bazaar_domain::{
    ApiError, ErrorKind, ReplicaId,
    api::{Data, FoundingStep, FoundingView, Health, Role},
    internal::{JoinReply, JoinRequest},
};
use bazaar_service::{
    ApiFailure, Auth, HttpLimits, Json, Record, Tls,
    auth::tokens::Permission,
    http::{edge, liveness_and_metrics},
    serve,
    tls::Identity as ProcessIdentity,
};
use futures::future::try_join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    founding::{self, Due},
    identity::Identity,
    run::Listeners,
};

/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Largest step of a founding.
pub(crate) const FOUNDING_BODY_BYTES_MAX: usize = 64 * 1024;

struct Waiting {
    identity: Mutex<Identity>,
    data: PathBuf,
    joined: CancellationToken,
}

type Shared = State<Arc<Waiting>>;

/// Waits until a leader takes this replica in, and returns its identity then; `None` if it is to stop before.
///
/// # Errors
/// If it cannot serve.
pub async fn wait(
    listeners: &Listeners,
    tls: &Tls,
    auth: &Auth,
    identity: Identity,
    data: PathBuf,
    shutdown: &CancellationToken,
) -> Result<Option<Identity>> {
    tracing::warn!(
        id = identity.replica_id,
        "the data directory is new: waiting to be taken into a cluster, without a vote"
    );
    let joined = shutdown.child_token();
    let waiting = Arc::new(Waiting { identity: Mutex::new(identity), data, joined: joined.clone() });
    let standing = Router::new()
        .route("/health", get(health))
        .route("/readyz", get(not_a_member))
        .with_state(Arc::clone(&waiting))
        .merge(liveness_and_metrics());
    let invited = Router::new().route("/admin/join", post(join));
    let founded = Router::new().route("/admin/founding", post(founding_step));
    let founded = auth.guard(|_| Some(Permission::Admin), founded).route("/admin/founding", get(founding_view));
    let entrance = tls
        .only(|who| matches!(who, ProcessIdentity::Replica(_)), invited)
        .merge(tls.only(|who| who == ProcessIdentity::Operator, founded))
        .with_state(Arc::clone(&waiting));
    let admin = standing.clone().merge(entrance);
    let serving =
        try_join_all([(&listeners.service, standing), (&listeners.admin, admin)].map(async |(listener, routes)| {
            let routes = edge(routes.fallback(not_a_member));
            serve(tls.internal(share(listener)?), routes, HttpLimits::default(), joined.clone())
                .await
                .context("it cannot serve")
        }));
    tokio::select! {
        served = serving => drop(served?),
        () = turn_peers_away(&listeners.peers) => {}
    }
    let identity = waiting.identity.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Some(identity).filter(|identity| identity.cluster_id.is_some()))
}

/// The same socket once more: what connects meanwhile waits in its queue for the replica proper.
fn share(listener: &TcpListener) -> Result<TcpListener> {
    let socket = listener.as_fd().try_clone_to_owned().context("a listener cannot be shared")?;
    TcpListener::from_std(net::TcpListener::from(socket)).context("a listener cannot be shared")
}

/// Closes connections at once, so that members who look for an earlier life of this replica need not wait.
async fn turn_peers_away(peers: &TcpListener) {
    loop {
        if peers.accept().await.is_err() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn health(State(waiting): Shared) -> axum::Json<Data<Health>> {
    let id = waiting.identity.lock().unwrap_or_else(PoisonError::into_inner).replica_id;
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
        voters: Vec::new(),
    };
    axum::Json(Data { data: health })
}

async fn not_a_member() -> ApiFailure {
    ApiFailure::new(
        ErrorKind::NoLeader,
        "this replica has a new data directory and is no member yet; found a new cluster with: bazaar init, or have one \
         take it in with: bazaar members add or replace",
    )
}

async fn join(
    State(waiting): Shared,
    Record(request): Record<JoinRequest>,
) -> std::result::Result<Record<JoinReply>, ApiFailure> {
    let mut identity = waiting.identity.lock().unwrap_or_else(PoisonError::into_inner);
    if identity.cluster_id.is_none() {
        identity
            .join(&waiting.data, request.cluster_id.clone())
            .map_err(|error| ApiFailure::new(ErrorKind::Internal, format!("{error:#}")))?;
        tracing::info!(cluster = request.cluster_id, "taken into a cluster");
        waiting.joined.cancel();
    }
    answer(identity.replica_id, identity.life, identity.cluster_id.as_deref(), &request)
}

async fn founding_view(State(waiting): Shared) -> axum::Json<Data<FoundingView>> {
    let identity = waiting.identity.lock().unwrap_or_else(PoisonError::into_inner);
    axum::Json(Data { data: founding::view(&identity) })
}

async fn founding_step(
    State(waiting): Shared,
    Json(step): Json<FoundingStep, FOUNDING_BODY_BYTES_MAX>,
) -> std::result::Result<axum::Json<Data<FoundingView>>, ApiFailure> {
    let mut identity = waiting.identity.lock().unwrap_or_else(PoisonError::into_inner);
    let noted = match founding::due(&identity, &step)? {
        Due::Nothing => Ok(()),
        Due::Prepare(founding) => identity.prepare(&waiting.data, founding),
        Due::Begin(cluster_id) => {
            tracing::info!(cluster = cluster_id, "the cluster begins");
            identity.join(&waiting.data, cluster_id).inspect(|()| waiting.joined.cancel())
        }
    };
    noted.map_err(|error| ApiError::new(ErrorKind::Internal, format!("{error:#}")))?;
    Ok(axum::Json(Data { data: founding::view(&identity) }))
}

/// The answer to an invitation of a replica that belongs to a cluster, or to none: the same cluster may ask again.
///
/// # Errors
/// `wrong_cluster`.
pub fn answer(
    id: ReplicaId,
    life: u64,
    own: Option<&str>,
    request: &JoinRequest,
) -> std::result::Result<Record<JoinReply>, ApiFailure> {
    if own == Some(&request.cluster_id) {
        return Ok(Record(JoinReply { id, life }));
    }
    let own = own.unwrap_or("none");
    Err(ApiFailure::new(ErrorKind::WrongCluster, format!("replica {id} belongs to cluster {own}")))
}
