//! The service listener: trades, order reads, leases, health. Routes and handlers only.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bazaar_domain::{
    ApiError, ErrorKind, IdempotencyKey, Trade,
    api::{BatchAnswer, Data, OrderPage, OrderView, TradeBatchBody, TradeBody, trade_answer},
    codec::{self, RECORD_MEDIA_TYPE},
    internal::{LeaseRequest, OrderRead, OrderReadAnswer, SubmitListings, SubmitTrades, Submitted, headers},
    limits::{BATCH_TRADES_MAX, INTERNAL_BODY_BYTES_MAX, PAGE_ORDERS_DEFAULT, PAGE_ORDERS_MAX, READS_ORDERS_MAX},
};
use bazaar_service::{
    ApiFailure, Payload, Query, Record, RequestId, Tls,
    describe::Routes,
    payload::{accept_media_type, is_media_type, parse_object},
    remarks,
    tls::Identity,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use crate::{describe, intake_task::Items, node::Node};

/// Order reads that may share one request.
const READS_MAX: usize = READS_ORDERS_MAX;

type Shared = State<Arc<Node>>;

/// The routes of the service listener.
pub fn routes(node: Arc<Node>, tls: &Tls) -> Router {
    let from_frontends = Routes::default()
        .post("/orders", describe::submit_trades(), submit_trades)
        .post("/reads", describe::reads(), reads)
        .wrapped(|routes| tls.only(|who| who == Identity::Frontend, routes));
    let from_catalog = Routes::default()
        .post("/listings", describe::submit_listings(), submit_listings)
        .post("/lease", describe::lease(), lease)
        .wrapped(|routes| tls.only(|who| who == Identity::Catalog, routes));
    let routes = Routes::default()
        .get("/orders", describe::order_page(), order_page)
        .get("/orders/{number}", describe::order(), order)
        .merge(from_frontends)
        .merge(from_catalog)
        .with_state(Arc::clone(&node));
    routes.merge(standing_routes(node)).with_liveness().into_router(describe::SERVICE)
}

/// Health in its several forms, for the service and the admin listener.
pub fn standing_routes(node: Arc<Node>) -> Routes {
    Routes::default()
        .get("/ping", describe::ping(), ping)
        .get("/health", describe::health(), async |State(node): Shared| axum::Json(Data { data: node.health() }))
        .get("/readyz", describe::ready(), ready)
        .with_state(node)
}

async fn ping(State(node): Shared) -> impl IntoResponse {
    let port = node.config.replica(node.id).map_or(0, |replica| replica.service.port());
    axum::Json(json!({ "alive order server": node.id, "port": port }))
}

async fn ready(State(node): Shared) -> Response {
    if node.health().ready {
        return (StatusCode::OK, "ready\n").into_response();
    }
    // A leader knows best why it is not ready; others lack a leader.
    let reason = node.admit().err().filter(|error| error.kind != ErrorKind::NotLeader);
    let reason = reason.map(|error| ApiError { outcome: None, ..error });
    let otherwise =
        || ApiError::new(ErrorKind::NoLeader, "no leader speaks to this replica; an election may be under way");
    ApiFailure(reason.unwrap_or_else(otherwise)).into_response()
}

async fn submit_trades(State(node): Shared, id: axum::Extension<RequestId>, request: Request) -> Response {
    let request_headers = request.headers().clone();
    let body =
        match <Payload<INTERNAL_BODY_BYTES_MAX> as axum::extract::FromRequest<()>>::from_request(request, &()).await {
            Ok(Payload(body)) => body,
            Err(failure) => return failure.into_response(),
        };
    let media_type = request_headers.get(header::CONTENT_TYPE);
    if media_type.is_some_and(|found| is_media_type(found.as_bytes(), RECORD_MEDIA_TYPE)) {
        if let Err(failure) = accept_media_type(&request_headers, RECORD_MEDIA_TYPE) {
            return failure.into_response();
        }
        return match codec::decode::<SubmitTrades>(&body) {
            Ok(SubmitTrades { trades }) => answer_record(submit(&node, &id, trades).await),
            Err(error) => ApiFailure::invalid(error.to_string()).into_response(),
        };
    }
    if let Err(failure) = accept_media_type(&request_headers, "application/json") {
        return failure.into_response();
    }
    submit_json(&node, &id, &request_headers, &body).await.unwrap_or_else(IntoResponse::into_response)
}

/// One trade, or a batch, as JSON: for people and scripts that talk to a replica directly.
async fn submit_json(
    node: &Node,
    id: &RequestId,
    request_headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ApiFailure> {
    let key = key_of(request_headers)?;
    if is_batch(body)? {
        let TradeBatchBody { orders } = parse_object(body)?;
        let trades = orders
            .into_iter()
            .map(|order| Trade { key: order.key, name: order.name, side: order.side, quantity: order.quantity })
            .collect();
        let submitted = submit(node, id, trades).await?;
        let answers: Vec<BatchAnswer> =
            submitted.decisions.iter().map(|decision| trade_answer(decision).1.into()).collect();
        return Ok(axum::Json(Data { data: answers }).into_response());
    }
    let TradeBody { name, side, quantity } = parse_object(body)?;
    let key = key.ok_or_else(|| ApiFailure::invalid("send an Idempotency-Key header with the trade"))?;
    let submitted = submit(node, id, vec![Trade { key: key.clone(), name, side, quantity }]).await?;
    let (replayed, answer) = trade_answer(submitted.decisions.first().expect("one decision a trade"));
    let mut response = match answer {
        Ok(receipt) => axum::Json(Data { data: receipt }).into_response(),
        Err(error) => ApiFailure(error).into_response(),
    };
    if let Ok(value) = key.as_str().parse() {
        response.headers_mut().insert(headers::IDEMPOTENCY_KEY, value);
    }
    if replayed {
        response.headers_mut().insert(headers::IDEMPOTENCY_REPLAYED, "true".parse().expect("a word"));
    }
    Ok(response)
}

/// Told by its one field, so that what is wrong with a batch is not told of a trade. Of what is no JSON object it cannot be
/// told, and that is then what is wrong.
fn is_batch(body: &[u8]) -> Result<bool, ApiFailure> {
    #[derive(Deserialize)]
    struct Fields {
        orders: Option<IgnoredAny>,
    }
    let Fields { orders } = parse_object(body)?;
    Ok(orders.is_some())
}

/// The key in the header. A batch needs none, but one that is wrong is wrong there too.
fn key_of(request_headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiFailure> {
    let mut keys = request_headers.get_all(headers::IDEMPOTENCY_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(_), Some(_)) => Err(ApiFailure::invalid("send one idempotency key, not several")),
        (Some(key), None) => Ok(Some(IdempotencyKey::new(key.to_str().unwrap_or_default())?)),
        (None, _) => Ok(None),
    }
}

async fn submit(node: &Node, id: &RequestId, trades: Vec<Trade>) -> Result<Submitted, ApiFailure> {
    if trades.is_empty() || trades.len() > BATCH_TRADES_MAX {
        return Err(ApiFailure::invalid(format!("send 1 to {BATCH_TRADES_MAX} trades at a time")));
    }
    let count = trades.len();
    let started = Instant::now();
    let submitted = node.submit(Items::Trades(trades)).await?;
    let (request, index, took) = (id.as_str(), submitted.log_index, started.elapsed());
    if remarks::is_slow(took) && remarks::may_remark() {
        tracing::warn!(request, index, count, took_ms = took.as_millis() as u64, "trades were answered slowly");
    } else {
        tracing::debug!(request, index, count, "trades are answered");
    }
    Ok(submitted)
}

fn answer_record(result: Result<Submitted, ApiFailure>) -> Response {
    match result {
        Ok(submitted) => Record::<_, 0>(submitted).into_response(),
        Err(failure) => failure.into_response(),
    }
}

async fn submit_listings(State(node): Shared, Record(body): Record<SubmitListings>) -> Response {
    if body.listings.is_empty() || body.listings.len() > BATCH_TRADES_MAX {
        return ApiFailure::invalid(format!("send 1 to {BATCH_TRADES_MAX} changes at a time")).into_response();
    }
    answer_record(node.submit(Items::Listings(body.listings)).await.map_err(ApiFailure))
}

async fn reads(
    State(node): Shared,
    Record(reads): Record<Vec<OrderRead>>,
) -> Result<Record<Vec<OrderReadAnswer>>, ApiFailure> {
    if reads.len() > READS_MAX {
        return Err(ApiFailure::invalid(format!("send at most {READS_MAX} reads at a time")));
    }
    let orders: usize = reads.iter().map(OrderRead::orders_max).fold(0, usize::saturating_add);
    if orders > READS_ORDERS_MAX {
        return Err(ApiFailure::invalid(format!("ask for at most {READS_ORDERS_MAX} orders at a time")));
    }
    Ok(Record(node.read(&reads).await?))
}

async fn order(State(node): Shared, Path(number): Path<String>) -> Result<axum::Json<Data<OrderView>>, ApiFailure> {
    // A number may be read from '+7' too, which no order is called.
    let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten();
    let number = number.ok_or_else(|| ApiFailure::invalid("an order's number is a whole number"))?;
    let answers = node.read(&[OrderRead::ByNumber(number)]).await?;
    match answers.into_iter().next() {
        Some(OrderReadAnswer::Order(Some(order))) => Ok(axum::Json(Data { data: OrderView::from(&order) })),
        _ => Err(ApiFailure::new(ErrorKind::OrderNotFound, "order not found")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn order_page(State(node): Shared, Query(query): Query<PageQuery>) -> Result<axum::Json<OrderPage>, ApiFailure> {
    let limit = query.limit.unwrap_or(PAGE_ORDERS_DEFAULT);
    if !(1..=PAGE_ORDERS_MAX).contains(&limit) {
        return Err(ApiFailure::invalid(format!("limit is 1 to {PAGE_ORDERS_MAX}")));
    }
    let answers = node.read(&[OrderRead::After { after: query.after, limit }]).await?;
    match answers.into_iter().next() {
        Some(OrderReadAnswer::Page { orders, more, .. }) => {
            let next_after = orders.last().filter(|_| more).map(|order| order.number);
            Ok(axum::Json(OrderPage { data: orders.iter().map(OrderView::from).collect(), next_after }))
        }
        _ => Err(ApiError::new(ErrorKind::Internal, "a page was asked for and something else was read").into()),
    }
}

async fn lease(State(node): Shared, Record(request): Record<LeaseRequest>) -> Response {
    match node.grant(request.incarnation) {
        Ok(grant) => {
            tracing::debug!(incarnation = request.incarnation, floor = grant.floor, "a lease is granted");
            Record::<_, 0>(grant).into_response()
        }
        Err(error) => ApiFailure(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_batch;

    #[test]
    fn a_batch_is_told_from_a_trade_by_its_field() {
        assert!(is_batch(br#"{"orders": [{"key": "k-1"}]}"#).unwrap());
        assert!(!is_batch(br#"{"name": "GameStart", "type": "buy", "quantity": 1}"#).unwrap());
    }

    #[test]
    fn of_a_batch_that_is_no_json_it_is_said_where_it_is_broken() {
        for (body, wanted) in [
            (&br#"{"orders": [{"key": }]}"#[..], "expected value at line 1 column 21"),
            (br#"{"orders": [{"key": "k-1"}]"#, "EOF while parsing"),
            (br#"{"orders": []} x"#, "trailing characters"),
            (br#"[{"orders": []}]"#, "not a JSON object"),
        ] {
            let message = is_batch(body).unwrap_err().0.message;
            assert!(message.contains(wanted), "{message}");
        }
    }
}
