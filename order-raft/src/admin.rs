//! The admin listener: looking into Raft, the log and the books; snapshots and transfers by hand.

use std::{io, sync::Arc, time::Instant};

use axum::{Router, extract::State};
use bazaar_domain::{
    ErrorKind,
    api::{Data, DigestView, FoundingStep, FoundingView, MemberChange, Members},
    internal::{JoinReply, JoinRequest},
};
use bazaar_service::{
    ApiFailure, Auth, Json, Query, Record, Tls, auth::tokens::Permission, describe::Routes, tls::Identity,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    backup,
    describe::{self, LOG_ENTRIES_MAX},
    http::standing_routes,
    joining,
    log_store::view::{EntryBrief, EntryView},
    meters,
    node::Node,
    raft_types::LogId,
    state_machine::books::{StockRecord, StoreFault},
};

const ADMIN_BODY_BYTES_MAX: usize = 64 * 1024;

type Shared = State<Arc<Node>>;
type Answer = Result<axum::Json<Data<Value>>, ApiFailure>;

/// The routes of the admin listener.
pub fn routes(node: Arc<Node>, tls: &Tls, auth: &Auth) -> Router {
    let changes = Routes::default()
        .post("/admin/snapshot", describe::snapshot(), snapshot)
        .post("/admin/transfer", describe::transfer(), transfer)
        .post("/admin/members", describe::change_members(), change_members)
        .post("/admin/founding", describe::founding_step(), founding_step)
        .wrapped(|routes| auth.guard(|_| Some(Permission::Admin), routes))
        .wrapped(|routes| tls.only(|who| who == Identity::Operator, routes));
    // What the page shows. A frontend has no use for the rest, which holds everything that was ever traded.
    let looks = Routes::default()
        .get("/admin/raft", describe::raft(), raft)
        .get("/admin/log", describe::log(), log)
        .get("/admin/digest", describe::digest(), digest)
        .wrapped(|routes| tls.only(|who| matches!(who, Identity::Operator | Identity::Frontend), routes));
    let private_looks = Routes::default()
        .get("/admin/inventory", describe::inventory(), inventory)
        .get("/admin/backup", describe::backup(), backup::serve::backup)
        .get("/admin/members", describe::members(), members)
        .get("/admin/founding", describe::founding(), founding_view)
        .wrapped(|routes| tls.only(|who| who == Identity::Operator, routes));
    let invitations = Routes::default()
        .post("/admin/join", describe::join(), join)
        .wrapped(|routes| tls.only(|who| matches!(who, Identity::Replica(_)), routes));
    let routes = changes.merge(looks).merge(private_looks).merge(invitations).with_state(Arc::clone(&node));
    let routes = routes.merge(standing_routes(Arc::clone(&node)));
    routes.with_liveness_and_metrics_of(move || meters::look(&node)).into_router(describe::ADMIN)
}

fn data(value: Value) -> Answer {
    Ok(axum::Json(Data { data: value }))
}

fn store_failed(StoreFault(fault): StoreFault) -> ApiFailure {
    tracing::error!(fault, "the state could not be read");
    ApiFailure::new(ErrorKind::Internal, fault)
}

fn position(id: Option<LogId>) -> Value {
    id.map_or(Value::Null, |id| json!({ "term": id.leader_id.term, "index": id.index }))
}

async fn raft(State(node): Shared) -> Answer {
    let metrics = node.raft_metrics();
    let standing = node.standing();
    let totals = node.state.totals();
    let log = node.log.positions();
    let last = metrics.last_log_index;
    let followers = node.members().members.into_iter().filter(|member| member.id != node.id);
    let followers: Vec<Value> = followers
        .map(|member| {
            let matched = member.lag.zip(last).map(|(lag, last)| last.saturating_sub(lag));
            json!({ "id": member.id, "life": member.life, "matched": matched, "lag": member.lag, "lag_ms": member.lag_ms })
        })
        .collect();
    data(json!({
        "id": node.id,
        "cluster_id": node.cluster_id,
        "role": standing.role,
        "term": standing.term,
        "vote": { "term": metrics.vote.leader_id.term, "for": metrics.vote.leader_id.voted_for.replica, "committed": metrics.vote.committed },
        "leader": standing.leader,
        "log": {
            "first": log.first,
            "last": last,
            "committed": position(metrics.local_committed),
            "applied": position(metrics.last_applied),
            "purged": position(metrics.purged),
        },
        "snapshot": position(metrics.snapshot),
        "membership": { "set_at": position(*metrics.membership_config.log_id()), "members": node.members().members },
        "followers": followers,
        "quorum_ack_age_ms": standing.quorum_ack_age_ms(Instant::now()),
        "released": node.gate.released(),
        "catalog_exposed": node.gate.catalog_exposed(),
        "disk": disk(&node, totals.orders)?,
        "digest": { "number": totals.orders, "digest": totals.digest.to_string() },
        "events": node.events.all(),
    }))
}

/// What log and state take on disk, and what the state takes for each order.
fn disk(node: &Node, orders: u64) -> Result<Value, ApiFailure> {
    let log = node.log.file_bytes().map_err(|error| ApiFailure::new(ErrorKind::Internal, error.to_string()))?;
    let state = node.state.db().file_bytes().map_err(store_failed)?;
    let per_order = (orders > 0).then(|| state / orders);
    Ok(json!({ "log_bytes": log, "state_bytes": state, "state_bytes_per_order": per_order }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    limit: Option<usize>,
    /// Counts the items of each entry instead of showing them: those who draw the log ask every second.
    #[serde(default)]
    brief: bool,
}

async fn log(State(node): Shared, Query(query): Query<LogQuery>) -> Answer {
    let limit = query.limit.unwrap_or(100);
    if !(1..=LOG_ENTRIES_MAX).contains(&limit) {
        return Err(ApiFailure::invalid(format!("limit is 1 to {LOG_ENTRIES_MAX}")));
    }
    let log = node.log.clone();
    let looking = tokio::task::spawn_blocking(move || {
        if query.brief {
            return Ok(json!(EntryBrief::list(&log, query.after, limit)?));
        }
        let entries = log.entries(query.after, limit)?;
        let shown = entries.iter().map(EntryView::of).collect::<Result<Vec<_>, _>>();
        Ok(json!(shown.map_err(io::Error::other)?))
    });
    let shown = looking.await.map_err(io::Error::other).and_then(|result: io::Result<Value>| result);
    data(shown.map_err(|error| ApiFailure::new(ErrorKind::Internal, error.to_string()))?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestQuery {
    number: Option<u64>,
}

async fn digest(
    State(node): Shared,
    Query(query): Query<DigestQuery>,
) -> Result<axum::Json<Data<DigestView>>, ApiFailure> {
    let totals = node.state.totals();
    let number = query.number.unwrap_or(totals.orders);
    let db = node.state.db();
    let found = tokio::task::spawn_blocking(move || db.digest_at(number)).await;
    let found = found.map_err(|error| StoreFault(error.to_string())).and_then(|result| result).map_err(store_failed)?;
    let digest = found.ok_or_else(|| {
        ApiFailure::new(ErrorKind::OrderNotFound, format!("this replica holds {} orders", totals.orders))
    })?;
    Ok(axum::Json(Data { data: DigestView { number, digest: digest.to_string(), orders: totals.orders } }))
}

async fn inventory(State(node): Shared) -> Answer {
    let (log_index, records) = node.state.inventory();
    let stocks: Vec<Value> = records
        .iter()
        .map(|StockRecord { stock, listed }| {
            json!({
                "name": stock.name, "price": stock.price, "quantity": stock.quantity,
                "trade_volume": stock.trade_volume, "version": stock.version, "listed": listed,
            })
        })
        .collect();
    data(json!({ "log_index": log_index, "stocks": stocks }))
}

async fn snapshot(State(node): Shared) -> Answer {
    node.raft.trigger().snapshot().await.map_err(|fatal| ApiFailure::new(ErrorKind::Internal, fatal.to_string()))?;
    data(json!({ "started": true }))
}

async fn members(State(node): Shared) -> axum::Json<Data<Members>> {
    axum::Json(Data { data: node.members() })
}

async fn change_members(
    State(node): Shared,
    Json(change): Json<MemberChange, ADMIN_BODY_BYTES_MAX>,
) -> Result<axum::Json<Data<Members>>, ApiFailure> {
    Ok(axum::Json(Data { data: node.change_members(change).await? }))
}

/// A leader that did not hear the answer the first time asks again.
async fn join(State(node): Shared, Record(request): Record<JoinRequest>) -> Result<Record<JoinReply>, ApiFailure> {
    joining::answer(node.id, node.raft_id.life, Some(&node.cluster_id), &request)
}

async fn founding_view(State(node): Shared) -> axum::Json<Data<FoundingView>> {
    let (id, life, cluster_id) = (node.id, node.raft_id.life, Some(node.cluster_id.clone()));
    axum::Json(Data { data: FoundingView { id, life, cluster_id, prepared: None } })
}

/// Whoever did not hear the answer the first time asks again.
async fn founding_step(
    node: Shared,
    Json(step): Json<FoundingStep, { joining::FOUNDING_BODY_BYTES_MAX }>,
) -> Result<axum::Json<Data<FoundingView>>, ApiFailure> {
    let (FoundingStep::Prepare(founding) | FoundingStep::Begin(founding)) = step;
    if founding.cluster_id != node.cluster_id {
        let text = format!("replica {} belongs to cluster {}", node.id, node.cluster_id);
        return Err(ApiFailure::new(ErrorKind::WrongCluster, text));
    }
    Ok(founding_view(node).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferBody {
    to: u64,
}

async fn transfer(State(node): Shared, Json(body): Json<TransferBody, ADMIN_BODY_BYTES_MAX>) -> Answer {
    node.admit()?;
    let report = node.raft_metrics();
    // Of two lives of a number in a joint membership, the newer configuration's.
    let newest = report.membership_config.membership().get_joint_config().last();
    let to = newest.and_then(|voters| voters.iter().find(|voter| voter.replica == body.to).copied());
    let to = to.ok_or_else(|| ApiFailure::invalid(format!("replica {} is no voter", body.to)))?;
    if to == node.raft_id {
        return Err(ApiFailure::invalid(format!("replica {} leads already", body.to)));
    }
    // In a task of its own: it goes on if the caller gives up.
    let handing = tokio::spawn(async move { node.hand_over_to(to, "asked for").await });
    handing.await.map_err(|error| ApiFailure::new(ErrorKind::Internal, error.to_string()))??;
    data(json!({ "to": body.to }))
}
