//! The internal listener: the catalog's invalidations, and an operator's drops.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use bazaar_domain::{
    StockName,
    api::Data,
    internal::{InvalidationAck, InvalidationBatch},
};
use bazaar_service::{ApiFailure, Record, Tls, http, tls::Identity};
use serde::Serialize;

use crate::{
    http::{App, json, path_stock, probes},
    legacy,
};

/// The routes of the internal listener.
pub(crate) fn routes(app: Arc<App>, tls: &Tls) -> Router {
    let pushed = Router::new().route("/invalidation", post(invalidate));
    let dropped = Router::new().route("/invalidation/{name}", post(drop_one)).route("/rm", get(legacy::remove));
    let routes = tls
        .only(|who| who == Identity::Catalog, pushed)
        .merge(tls.only(|who| matches!(who, Identity::Catalog | Identity::Operator), dropped))
        .route("/readyz", get(probes::readyz))
        .with_state(app);
    http::edge(routes.merge(http::liveness()))
}

async fn invalidate(State(app): State<Arc<App>>, Record(batch): Record<InvalidationBatch>) -> Record<InvalidationAck> {
    // A read that begins now waits for the release of the trades behind this change, and shows them.
    app.streams.hint();
    Record(app.lookups.invalidate(&batch))
}

#[derive(Serialize)]
struct Dropped {
    name: StockName,
    dropped: bool,
}

async fn drop_one(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiFailure> {
    let name = path_stock(path)?;
    let dropped = app.lookups.drop_stock(&name);
    Ok(json(StatusCode::OK, &Data { data: Dropped { name, dropped } }))
}
