//! Order reads: `GET /orders/{number}`, `GET /orders?after=`, `GET /orders/by-key/{key}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode},
    response::Response,
};
use bazaar_domain::{
    ApiError, ErrorKind, IdempotencyKey, Order,
    api::{Data, KeyAnswer, OrderPage, OrderView},
    internal::{OrderRead, OrderReadAnswer, headers},
    limits::{PAGE_ORDERS_DEFAULT, PAGE_ORDERS_MAX},
    order::{Outcome, StoredOutcome},
};
use bazaar_service::{ApiFailure, Query, auth::Sender};
use serde::Deserialize;

use super::{App, Timer, json, path_text};
use crate::legacy;

/// `GET /orders/{number}`.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    sender: Sender,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiFailure> {
    let order = one_order(&app, &path_text(path)?).await?;
    Ok(json(StatusCode::OK, &Data { data: OrderView::seen_by(&order, sender.scope()) }))
}

/// Reads one order.
///
/// # Errors
/// `invalid_request` if the text is no number, `order_not_found`, or why the leader could not be asked.
pub(crate) async fn one_order(app: &App, number: &str) -> Result<Order, ApiFailure> {
    let _timer = Timer::start(&app.timings.order);
    let not_found = || ApiFailure::new(ErrorKind::OrderNotFound, "order not found");
    let number = order_number(number)?.ok_or_else(not_found)?;
    match app.gateway.read(OrderRead::ByNumber(number)).await? {
        OrderReadAnswer::Order(order) => order.ok_or_else(not_found),
        _ => Err(mismatch()),
    }
}

/// Reads an order's number; none if it is one that no order can have.
///
/// # Errors
/// If it is not made of digits.
fn order_number(text: &str) -> Result<Option<u64>, ApiFailure> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ApiFailure::invalid("an order's number is a whole number from 1"));
    }
    Ok(text.parse().ok().filter(|number| *number > 0))
}

#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    after: Option<u64>,
    limit: Option<usize>,
    /// The older form asks for one order here.
    order_no: Option<String>,
}

/// `GET /orders?after=&limit=`, and the older `GET /orders?order_no=7`.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    sender: Sender,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiFailure> {
    if let Some(number) = query.order_no {
        return legacy::older_order(&app, &number).await;
    }
    let _timer = Timer::start(&app.timings.order_page);
    let limit = query.limit.unwrap_or(PAGE_ORDERS_DEFAULT);
    if !(1..=PAGE_ORDERS_MAX).contains(&limit) {
        return Err(ApiFailure::invalid(format!("limit is 1 to {PAGE_ORDERS_MAX}")));
    }
    let after = query.after.unwrap_or(0);
    let OrderReadAnswer::Page { orders, more, log_index } = app.gateway.read(OrderRead::After { after, limit }).await?
    else {
        return Err(mismatch());
    };
    let next_after = orders.last().filter(|_| more).map(|order| order.number);
    let page =
        OrderPage { data: orders.iter().map(|order| OrderView::seen_by(order, sender.scope())).collect(), next_after };
    let mut response = json(StatusCode::OK, &page);
    response.headers_mut().insert(headers::LOG_INDEX, HeaderValue::from(log_index));
    Ok(response)
}

/// `GET /orders/by-key/{key}`.
pub(super) async fn by_key(
    State(app): State<Arc<App>>,
    sender: Sender,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiFailure> {
    let _timer = Timer::start(&app.timings.order_by_key);
    let key = IdempotencyKey::new(&path_text(path)?)?.scoped(sender.scope());
    match app.gateway.read(OrderRead::ByKey(key)).await? {
        OrderReadAnswer::Key(Some(found)) => Ok(json(StatusCode::OK, &Data { data: key_answer(found, &sender)? })),
        OrderReadAnswer::Key(None) => Err(ApiFailure::new(ErrorKind::KeyNotFound, "key not found")),
        _ => Err(mismatch()),
    }
}

fn key_answer((stored, order): (StoredOutcome, Option<Order>), sender: &Sender) -> Result<KeyAnswer, ApiFailure> {
    match (stored.outcome, order) {
        (Outcome::Accepted { .. }, Some(order)) => Ok(KeyAnswer::Order(OrderView::seen_by(&order, sender.scope()))),
        (Outcome::Accepted { .. }, None) => Err(mismatch()),
        (Outcome::Rejected(rejection), _) => Ok(KeyAnswer::Rejected { rejection: rejection.into() }),
        (Outcome::Listed { stock_version }, _) => Ok(KeyAnswer::Listed { stock_version }),
    }
}

fn mismatch() -> ApiFailure {
    ApiError::new(ErrorKind::Internal, "the order leader answered something else than it was asked").into()
}
