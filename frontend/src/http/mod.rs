//! The public routes, and what all handlers share.

pub(crate) mod answers;
mod describe;
mod docs;
pub(crate) mod express;
mod orders;
pub(crate) mod probes;
pub(crate) mod sites;
mod stocks;
mod stream;
pub(crate) mod trades;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, rejection::PathRejection},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bazaar_domain::{StockName, internal::headers};
use bazaar_service::{ApiFailure, Auth, RequestId, auth::tokens::Permission, describe::Routes, http};
use metrics::Histogram;
use serde::Serialize;

use self::sites::Sites;
pub(crate) use self::{
    orders::one_order,
    stocks::{ConsistencyQuery, answer_stock, look_up, stock_response},
};
use crate::{
    catalog::Catalog,
    gateway::Gateway,
    legacy,
    lookup::Lookups,
    meters,
    streams::Streams,
    ui::{self, Ui},
};

/// What the handlers work with.
pub(crate) struct App {
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) catalog: Catalog,
    pub(crate) gateway: Gateway,
    pub(crate) streams: Arc<Streams>,
    pub(crate) auth: Auth,
    pub(crate) timings: Timings,
    pub(crate) answers: answers::Answers,
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
        let of = |request: &'static str| meters::REQUEST_SECONDS.histogram_of(&[request]);
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

/// The routes of the public listener, with the page, or why there is none.
pub(crate) fn public_routes(app: Arc<App>, ui: Result<Arc<Ui>, &'static str>, sites: Sites) -> Router {
    let auth = app.auth.clone();
    let routes = Routes::default()
        .get("/stocks", describe::list(), stocks::list)
        .get("/stocks/{name}", describe::one(), stocks::one)
        .get("/lookup", describe::older_lookup(), legacy::lookup)
        .get("/orders", describe::page(), orders::page)
        .post("/orders", describe::trade(), trades::trade)
        .post("/orders/batch", describe::batch(), trades::batch)
        .get("/orders/stream", describe::stream(), stream::stream)
        .get("/orders/{number}", describe::one_order(), orders::one)
        .get("/orders/by-key/{*key}", describe::by_key(), orders::by_key)
        .get("/order", describe::older_order(), legacy::order)
        .post("/order", describe::older_trade(), legacy::trade_form)
        .get("/leader", describe::leader(), probes::leader)
        .get("/readyz", describe::readyz(), probes::readyz)
        .with_state(Arc::clone(&app));
    let routes = routes.with_liveness().into_router(describe::ABOUT).merge(docs::routes());
    let routes = auth.guard(permission, routes).merge(ui.map_or_else(ui::no_routes, ui::routes));
    answers::counted(http::public_edge(sites.guard(routes)), app)
}

/// What a public request needs, if anybody is asked.
fn permission(request: &Request) -> Option<Permission> {
    match (request.method(), request.uri().path()) {
        (_, "/livez" | "/readyz" | "/openapi.json" | "/docs") => None,
        (_, path) if path.starts_with("/docs/") => None,
        (&Method::GET | &Method::HEAD, _) => Some(Permission::Read),
        _ => Some(Permission::Trade),
    }
}

/// The routes of the admin listener.
pub(crate) fn admin_routes(app: Arc<App>) -> Router {
    let routes = Router::new().route("/readyz", get(probes::readyz)).with_state(Arc::clone(&app));
    let measure = move || {
        app.lookups.look();
        app.gateway.look();
    };
    http::edge(routes.merge(http::liveness_and_metrics_of(measure)))
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
