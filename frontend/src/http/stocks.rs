//! `GET /stocks/{name}` and `GET /stocks`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bazaar_domain::{ApiError, ErrorKind, StockName, internal::headers};
use bazaar_service::{ApiFailure, Query, RequestId};
use serde::Deserialize;

use super::{App, Timer, json_bytes, mark_if_stale, path_stock, request_id};
use crate::{catalog::Consistency, legacy, lookup::Found};

/// `?consistency=stale`.
#[derive(Debug, Deserialize)]
pub(crate) struct ConsistencyQuery {
    consistency: Option<String>,
}

impl ConsistencyQuery {
    pub(crate) fn read(&self) -> Result<Consistency, ApiFailure> {
        match self.consistency.as_deref() {
            None => Ok(Consistency::Current),
            Some("stale") => Ok(Consistency::Stale),
            Some(_) => Err(ApiFailure::invalid("the parameter consistency can only be 'stale'")),
        }
    }
}

/// `GET /stocks/{name}`.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Query(query): Query<ConsistencyQuery>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiFailure> {
    answer_stock(&app, path_stock(path)?, query.read()?, &request_id(&request), request.headers()).await
}

/// Answers a lookup in the present form.
pub(crate) async fn answer_stock(
    app: &App,
    name: StockName,
    consistency: Consistency,
    id: &RequestId,
    asked: &HeaderMap,
) -> Result<Response, ApiFailure> {
    match look_up(app, name, consistency, id).await {
        Ok(found) => Ok(stock_response(&found, asked, found.answer.body.clone())),
        // An old copy may lack a stock that is listed.
        Err(error) if consistency == Consistency::Stale && error.kind == ErrorKind::StockNotFound => {
            let mut response = ApiFailure(error).into_response();
            mark_if_stale(&mut response, true);
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

/// Looks a stock up.
///
/// # Errors
/// The catalog's own error, or `catalog_unavailable`.
pub(crate) async fn look_up(
    app: &App,
    name: StockName,
    consistency: Consistency,
    id: &RequestId,
) -> Result<Found, ApiError> {
    let _timer = Timer::start(&app.timings.lookup);
    match consistency {
        Consistency::Current => app.lookups.stock(name, id).await,
        Consistency::Stale => app.lookups.stale_stock(name, id).await,
    }
}

/// The answer to a lookup, with this body unless the client has it already.
pub(crate) fn stock_response(found: &Found, asked: &HeaderMap, body: impl Into<Body>) -> Response {
    let known = asked.get_all(header::IF_NONE_MATCH).iter().any(|tags| names_tag(tags, &found.answer.etag));
    let mut response = if known {
        let mut unchanged = Response::new(Body::empty());
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        json_bytes(StatusCode::OK, body)
    };
    let head = response.headers_mut();
    head.insert(header::ETAG, found.answer.etag.clone());
    head.insert(headers::CACHE, HeaderValue::from_static(found.cache_use.as_str()));
    mark_if_stale(&mut response, found.stale);
    response
}

/// Whether an `If-None-Match` header names the tag, by weak comparison.
fn names_tag(tags: &HeaderValue, wanted: &HeaderValue) -> bool {
    tags.as_bytes().split(|byte| *byte == b',').any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == wanted.as_bytes()
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    /// The older form asks for one stock here.
    stock_name: Option<String>,
    consistency: Option<String>,
}

/// `GET /stocks`, and the older `GET /stocks?stock_name=X`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
    request: Request,
) -> Result<Response, ApiFailure> {
    let id = request_id(&request);
    let consistency = ConsistencyQuery { consistency: query.consistency }.read()?;
    if let Some(name) = query.stock_name {
        return legacy::flat_stock(&app, &name, consistency, &id, request.headers()).await;
    }
    let _timer = Timer::start(&app.timings.list);
    let stocks = app.catalog.stocks(consistency, &id).await?;
    let mut response = json_bytes(StatusCode::OK, stocks.body);
    if let Some(log_index) = stocks.log_index {
        response.headers_mut().insert(headers::LOG_INDEX, log_index);
    }
    mark_if_stale(&mut response, stocks.stale);
    Ok(response)
}
