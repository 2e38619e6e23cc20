//! Lookups: answered as current under a lease, or, if the client asks for it, as possibly stale.

use std::sync::atomic::Ordering;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bazaar_domain::{
    Cents, ErrorKind, Rejection, Stock, StockName,
    api::{Data, StockView},
    internal::headers,
};
use bazaar_service::{ApiFailure, Query};
use serde::{Deserialize, Serialize};

use super::Parts;
use crate::{
    ledger::{Reading, Serving},
    meters::REFUSED_LOOKUPS,
};

/// How current an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Consistency {
    /// Whatever the catalog has.
    Stale,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadQuery {
    consistency: Option<Consistency>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LegacyQuery {
    stock_name: String,
    consistency: Option<Consistency>,
}

/// A stock as older clients read it.
#[derive(Debug, Serialize)]
struct LegacyStock {
    stock_name: StockName,
    price: Cents,
    trade_volume: u64,
    quantity: u64,
}

/// `GET /stocks/{name}`.
pub(super) async fn lookup(
    State(parts): State<Parts>,
    path: Result<Path<String>, PathRejection>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, ApiFailure> {
    let Path(name) = path.map_err(|error| ApiFailure::invalid(error.body_text()))?;
    answer_stock(&parts, &name, query.consistency, |stock| {
        axum::Json(Data { data: StockView::from(stock) }).into_response()
    })
}

/// `GET /query?stock_name=X`, the older form.
pub(super) async fn query(
    State(parts): State<Parts>,
    Query(query): Query<LegacyQuery>,
) -> Result<Response, ApiFailure> {
    answer_stock(&parts, &query.stock_name, query.consistency, |stock| {
        let Stock { name, price, trade_volume, quantity, .. } = *stock;
        axum::Json(Data { data: LegacyStock { stock_name: name, price, trade_volume, quantity } }).into_response()
    })
}

fn answer_stock(
    parts: &Parts,
    name: &str,
    consistency: Option<Consistency>,
    body: impl FnOnce(&Stock) -> Response,
) -> Result<Response, ApiFailure> {
    let name = StockName::new(name)?;
    let reading = {
        let ledger = parts.catalog.read();
        ledger.lookup(name, parts.catalog.clock.now())
    };
    let extra = read_headers(&reading, consistency)?;
    let mut response = match &reading.value {
        Some(stock) => ([(header::ETAG, format!("\"{}\"", stock.version))], body(stock)).into_response(),
        None => stock_not_found().into_response(),
    };
    response.headers_mut().extend(extra);
    Ok(response)
}

/// Unlike the rejection of a trade, this says nothing of an outcome.
fn stock_not_found() -> ApiFailure {
    ApiFailure::new(ErrorKind::StockNotFound, Rejection::StockNotFound.to_string())
}

/// `GET /stocks`.
pub(super) async fn list(State(parts): State<Parts>, Query(query): Query<ReadQuery>) -> Result<Response, ApiFailure> {
    let mut reading = {
        let ledger = parts.catalog.read();
        ledger.list(parts.catalog.clock.now())
    };
    let extra = read_headers(&reading, query.consistency)?;
    reading.value.sort_unstable_by_key(|stock| stock.name);
    let data: Vec<StockView> = reading.value.iter().map(StockView::from).collect();
    Ok((extra, axum::Json(Data { data })).into_response())
}

/// `GET /readyz`.
pub(super) async fn ready(State(parts): State<Parts>) -> Result<(StatusCode, &'static str), ApiFailure> {
    let serving = {
        let ledger = parts.catalog.read();
        ledger.serving(parts.catalog.clock.now())
    };
    refuse_unless_current(serving)?;
    if !parts.catalog.has_first_stocks.load(Ordering::Acquire) {
        return Err(ApiFailure::new(ErrorKind::CatalogUnavailable, "the first stocks are not listed yet"));
    }
    Ok((StatusCode::OK, "ready\n"))
}

fn read_headers<T>(reading: &Reading<T>, consistency: Option<Consistency>) -> Result<HeaderMap, ApiFailure> {
    let mut extra = HeaderMap::new();
    let is_stale = consistency == Some(Consistency::Stale);
    if is_stale {
        if reading.index == 0 {
            // Old is one thing; to say of every stock that it is not there is another.
            return Err(ApiFailure::new(ErrorKind::CatalogUnavailable, "the catalog holds nothing yet; try again"));
        }
        extra.insert(HeaderName::from_static(headers::CONSISTENCY), HeaderValue::from_static("stale"));
    } else {
        refuse_unless_current(reading.serving).inspect_err(|_| REFUSED_LOOKUPS.counter().increment(1))?;
    }
    let cacheable = if reading.cacheable && !is_stale { "yes" } else { "no" };
    extra.insert(HeaderName::from_static(headers::CACHEABLE), HeaderValue::from_static(cacheable));
    extra.insert(HeaderName::from_static(headers::LOG_INDEX), HeaderValue::from(reading.index));
    Ok(extra)
}

fn refuse_unless_current(serving: Serving) -> Result<(), ApiFailure> {
    let (kind, message) = match serving {
        Serving::Yes => return Ok(()),
        Serving::Silent => {
            (ErrorKind::CatalogUnavailable, "the catalog has just started and waits until older leases are over")
        }
        Serving::NoLease => {
            (ErrorKind::NoLeader, "no order leader gives the catalog a lease, so it cannot promise a current value")
        }
        Serving::Behind => {
            (ErrorKind::CatalogUnavailable, "the catalog does not have everything yet that the order leader committed")
        }
    };
    Err(ApiFailure::new(kind, format!("{message}; try again, or add consistency=stale to accept an older value")))
}
