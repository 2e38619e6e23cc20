//! The catalog's one listener: its routes, and the handlers that speak records to our own processes.

mod admin;
mod reads;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::uri::Authority,
    routing::{get, post},
};
use bazaar_domain::internal::{
    InventorySnapshot, PublishBatch, PublishReply, SubscribeReply, SubscribeRequest, UnsubscribeRequest,
};
use bazaar_service::{
    ApiFailure, Auth, Record,
    auth::tokens::Permission,
    http,
    tls::{self, Identity},
};

use crate::{catalog::Catalog, leader::Leader};

/// Largest record of a frontend's request.
const FRONTEND_BODY_BYTES_MAX: usize = 4 * 1024;
/// Longest `host:port`.
const ADDRESS_BYTES_MAX: usize = 256;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) leader: Arc<Leader>,
    pub(crate) shutdown: tokio_util::sync::CancellationToken,
}

/// All routes of the listener.
pub(crate) fn routes(parts: Parts, auth: &Auth) -> Router {
    let published = Router::new().route("/orders", post(publish)).route("/inventory", post(replace));
    let leased = Router::new().route("/subscribe", post(subscribe)).route("/unsubscribe", post(unsubscribe));
    let changed = Router::new().route("/admin/stocks", post(admin::change_listing));
    let changed = auth.guard(|_| Some(Permission::Admin), changed);
    let routes = Router::new()
        .route("/stocks", get(reads::list))
        .route("/stocks/{name}", get(reads::lookup))
        .route("/query", get(reads::query))
        .route("/readyz", get(reads::ready))
        .merge(tls::only(|who| matches!(who, Identity::Replica(_)), published))
        .merge(tls::only(|who| who == Identity::Frontend, leased))
        .merge(tls::only(|who| who == Identity::Operator, changed))
        .with_state(parts);
    http::edge(routes.merge(http::liveness_and_metrics()))
}

async fn publish(
    State(parts): State<Parts>,
    Record(batch): Record<PublishBatch>,
) -> Result<Record<PublishReply>, ApiFailure> {
    Ok(Record(parts.catalog.publish(batch).await?))
}

async fn replace(
    State(parts): State<Parts>,
    Record(snapshot): Record<InventorySnapshot>,
) -> Result<Record<PublishReply>, ApiFailure> {
    Ok(Record(parts.catalog.replace(snapshot).await?))
}

async fn subscribe(
    State(parts): State<Parts>,
    Record(request): Record<SubscribeRequest, FRONTEND_BODY_BYTES_MAX>,
) -> Result<Record<SubscribeReply>, ApiFailure> {
    let address = &request.internal_address;
    let is_address = address.parse::<Authority>().is_ok_and(|authority| authority.port_u16().is_some());
    if address.len() > ADDRESS_BYTES_MAX || !is_address {
        return Err(ApiFailure::invalid("internal_address is host:port, where invalidations are taken"));
    }
    let reply = {
        let mut ledger = parts.catalog.write();
        ledger.subscribe(&request, parts.catalog.clock.now())
    };
    parts.catalog.recheck();
    Ok(Record(reply))
}

async fn unsubscribe(
    State(parts): State<Parts>,
    Record(request): Record<UnsubscribeRequest, FRONTEND_BODY_BYTES_MAX>,
) -> Record<()> {
    parts.catalog.write().unsubscribe(request);
    parts.catalog.recheck();
    Record(())
}
