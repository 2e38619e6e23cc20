//! `GET /leader` and `GET /readyz`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use bazaar_domain::{ErrorKind, api::Data};
use bazaar_service::ApiFailure;

use super::{App, Timer, json, request_id};

/// `GET /leader`.
pub(super) async fn leader(State(app): State<Arc<App>>) -> Result<Response, ApiFailure> {
    let _timer = Timer::start(&app.timings.leader);
    let view = app.gateway.leader().await?;
    Ok(json(StatusCode::OK, &Data { data: view }))
}

/// `GET /readyz`: trades have a leader to go to, and lookups can be answered.
pub(crate) async fn readyz(State(app): State<Arc<App>>, request: Request) -> Result<&'static str, ApiFailure> {
    app.gateway.leader().await?;
    if app.lookups.leased_until().is_some() {
        return Ok("ready\n");
    }
    if app.lookups.waits_for_lease() {
        return Err(ApiFailure::new(
            ErrorKind::CatalogUnavailable,
            "the catalog gives no lease; lookups wait for it, and trades go on",
        ));
    }
    // Without a lease lookups go past the cache, and are answered if the catalog can. Whatever its own reason is, the kind
    // says that only lookups fail.
    let ready = app.catalog.is_ready(&request_id(&request)).await;
    ready.map_err(|error| ApiFailure::new(ErrorKind::CatalogUnavailable, error.message))?;
    Ok("ready\n")
}
