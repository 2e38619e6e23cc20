//! The catalog's one listener: its routes, and the handlers that speak records to our own processes.

mod admin;
mod describe;
mod reads;

use std::{path::PathBuf, sync::Arc};

use axum::{Router, extract::State, http::uri::Authority};
use bazaar_domain::internal::{
    InventorySnapshot, PublishBatch, PublishReply, SubscribeReply, SubscribeRequest, UnsubscribeRequest,
};
use bazaar_service::{
    ApiFailure, Auth, Record, Tls, auth::tokens::Permission, describe::Routes, http, process::note_disk, tls::Identity,
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
    pub(crate) data: PathBuf,
}

/// All routes of the listener.
pub(crate) fn routes(parts: Parts, tls: &Tls, auth: &Auth) -> Router {
    let measured = parts.clone();
    let measure = move || {
        note_disk(&measured.data);
        measured.catalog.look();
    };
    let published = Routes::default()
        .post("/orders", describe::publish(), publish)
        .post("/inventory", describe::replace(), replace)
        .wrapped(|routes| tls.only(|who| matches!(who, Identity::Replica(_)), routes));
    let leased = Routes::default()
        .post("/subscribe", describe::subscribe(), subscribe)
        .post("/unsubscribe", describe::unsubscribe(), unsubscribe)
        .wrapped(|routes| tls.only(|who| who == Identity::Frontend, routes));
    let changed = Routes::default()
        .post("/admin/stocks", describe::change_listing(), admin::change_listing)
        .wrapped(|routes| auth.guard(|_| Some(Permission::Admin), routes))
        .wrapped(|routes| tls.only(|who| who == Identity::Operator, routes));
    let routes = Routes::default()
        .get("/stocks", describe::list(), reads::list)
        .get("/stocks/{name}", describe::lookup(), reads::lookup)
        .get("/query", describe::query(), reads::query)
        .get("/readyz", describe::ready(), reads::ready)
        .merge(published)
        .merge(leased)
        .merge(changed)
        .with_state(parts);
    http::edge(routes.with_liveness_and_metrics_of(measure).into_router(describe::ABOUT))
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
