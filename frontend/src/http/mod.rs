//! The public routes, and what all handlers share.

pub(crate) mod express;
mod orders;
pub(crate) mod probes;
mod stocks;
pub(crate) mod trades;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bazaar_domain::{StockName, internal::headers};
use bazaar_service::{ApiFailure, RequestId, http};
use metrics::{Histogram, histogram};
use serde::Serialize;

pub(crate) use self::{
    orders::one_order,
    stocks::{ConsistencyQuery, answer_stock, look_up, stock_response},
};
use crate::{
    catalog::Catalog,
    gateway::Gateway,
    legacy,
    lookup::Lookups,
    ui::{self, Ui},
};

/// What the handlers work with.
pub(crate) struct App {
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) catalog: Catalog,
    pub(crate) gateway: Gateway,
    pub(crate) timings: Timings,
}

/// How long requests take, by type.
pub(crate) struct Timings {
    pub(crate) lookup: Histogram,
    pub(crate) list: Histogram,
    pub(crate) trade: Histogram,
    pub(crate) batch: Histogram,
    pub(crate) order: Histogram,
    pub(crate) order_page: Histogram,
    pub(crate) order_by_key: Histogram,
    pub(crate) leader: Histogram,
}

impl Timings {
    pub(crate) fn new() -> Self {
        let of = |request: &'static str| histogram!("bazaar_frontend_request_seconds", "type" => request);
        Self {
            lookup: of("lookup"),
            list: of("list"),
            trade: of("trade"),
            batch: of("batch"),
            order: of("order"),
            order_page: of("order_page"),
            order_by_key: of("order_by_key"),
            leader: of("leader"),
        }
    }
}

/// Records the time from when it was made to when it is dropped.
pub(crate) struct Timer<'a> {
    histogram: &'a Histogram,
    started: Instant,
}

impl<'a> Timer<'a> {
    pub(crate) fn start(histogram: &'a Histogram) -> Self {
        Self { histogram, started: Instant::now() }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.histogram.record(self.started.elapsed());
    }
}

/// The routes of the public listener, with the page if it is switched on.
pub(crate) fn public_routes(app: Arc<App>, ui: Option<Arc<Ui>>) -> Router {
    let routes = Router::new()
        .route("/stocks", get(stocks::list))
        .route("/stocks/{name}", get(stocks::one))
        .route("/lookup", get(legacy::lookup))
        .route("/orders", get(orders::page).post(trades::trade))
        .route("/orders/batch", post(trades::batch))
        .route("/orders/{number}", get(orders::one))
        .route("/orders/by-key/{*key}", get(orders::by_key))
        .route("/order", get(legacy::order).post(legacy::trade_form))
        .route("/leader", get(probes::leader))
        .route("/readyz", get(probes::readyz))
        .with_state(app);
    let page = ui.map(ui::routes).unwrap_or_default();
    http::edge(routes.merge(page).merge(http::liveness()))
}

/// The routes of the admin listener.
pub(crate) fn admin_routes(app: Arc<App>) -> Router {
    let routes = Router::new().route("/readyz", get(probes::readyz)).with_state(app);
    http::edge(routes.merge(http::liveness_and_metrics()))
}

/// A JSON answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    json_bytes(status, serde_json::to_vec(body).expect("our answers are plain JSON"))
}

/// A ready-made JSON answer.
pub(crate) fn json_bytes(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Marks an answer that may be old.
pub(crate) fn mark_if_stale(response: &mut Response, is_stale: bool) {
    if is_stale {
        response.headers_mut().insert(headers::CONSISTENCY, HeaderValue::from_static("stale"));
    }
}

/// The request's id, which the edge layer has put there.
pub(crate) fn request_id(request: &Request) -> RequestId {
    request.extensions().get().cloned().unwrap_or_else(RequestId::fresh)
}

/// The one parameter of a path, percent-decoded.
pub(crate) fn path_text(path: Result<Path<String>, PathRejection>) -> Result<String, ApiFailure> {
    path.map(|Path(text)| text)
        .map_err(|error| ApiFailure::invalid(format!("the path is wrong: {}", error.body_text())))
}

/// The stock that a path names.
pub(crate) fn path_stock(path: Result<Path<String>, PathRejection>) -> Result<StockName, ApiFailure> {
    Ok(StockName::new(&path_text(path)?)?)
}

/// An answer from either side of a result.
pub(crate) fn either(result: Result<Response, ApiFailure>) -> Response {
    result.unwrap_or_else(IntoResponse::into_response)
}
