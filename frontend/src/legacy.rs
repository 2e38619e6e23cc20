//! The forms that older clients of this system speak. They compare answers to the letter, so these never change.

pub(crate) mod describe;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Form, FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bazaar_domain::{
    ApiError, ErrorKind, Quantity, Side, StockName,
    api::{Data, OrderView, TradeBody},
    limits::TRADE_BODY_BYTES_MAX,
};
use bazaar_service::{
    ApiFailure, Payload, Query, RequestId,
    auth::Sender,
    payload::{accept_media_type, parse_json},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json as json_value;

use crate::{
    catalog::Consistency,
    http::{
        App, ConsistencyQuery, Timer, answer_stock, json, look_up, mark_if_stale, one_order, request_id,
        stock_response,
        trades::{TradeKey, not_applied, trade_once, trade_response},
    },
};

#[derive(Serialize)]
struct FlatStock<'a> {
    stock_name: &'a StockName,
    price: bazaar_domain::Cents,
    trade_volume: u64,
    quantity: u64,
}

/// `GET /stocks?stock_name=X`: the stock without a `data` around it.
pub(crate) async fn flat_stock(
    app: &App,
    name: &str,
    consistency: Consistency,
    id: &RequestId,
    asked: &HeaderMap,
) -> Result<Response, ApiFailure> {
    // A name that no stock can have is, to an older client, a stock that is not there.
    let Ok(name) = StockName::new(name) else { return Ok(flat_not_found()) };
    match look_up(app, name, consistency, id).await {
        Ok(found) => {
            let stock = &found.answer.stock;
            let flat = FlatStock {
                stock_name: &stock.name,
                price: stock.price,
                trade_volume: stock.trade_volume,
                quantity: stock.quantity,
            };
            let body = serde_json::to_vec(&flat).expect("a stock is plain JSON");
            Ok(stock_response(&found, asked, body))
        }
        Err(error) if error.kind == ErrorKind::StockNotFound => {
            let mut response = flat_not_found();
            mark_if_stale(&mut response, consistency == Consistency::Stale);
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

fn flat_not_found() -> Response {
    json(StatusCode::NOT_FOUND, &json_value!({"error": {"code": 404, "message": "Stock not found"}}))
}

#[derive(Debug, Deserialize)]
pub(crate) struct LookupQuery {
    stock: String,
    #[serde(flatten)]
    consistency: ConsistencyQuery,
}

/// `GET /lookup?stock=X`, as `GET /stocks/X`.
pub(crate) async fn lookup(
    State(app): State<Arc<App>>,
    Query(query): Query<LookupQuery>,
    request: Request,
) -> Result<Response, ApiFailure> {
    let name = StockName::new(&query.stock)?;
    answer_stock(&app, name, query.consistency.read()?, &request_id(&request), request.headers()).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OlderTradeBody {
    stock_name: StockName,
    trade_type: Side,
    quantity: Quantity,
}

/// Either of these fields tells the older form from the present one.
#[derive(Deserialize)]
struct OlderFields {
    stock_name: Option<IgnoredAny>,
    trade_type: Option<IgnoredAny>,
}

/// Reads a body of `POST /orders` in the older form: the trade, or what is wrong with it; none if it is not that form.
pub(crate) fn older_trade(bytes: &[u8]) -> Option<Result<TradeBody, ApiFailure>> {
    let fields: OlderFields = serde_json::from_slice(bytes).ok()?;
    fields.stock_name.or(fields.trade_type)?;
    let body = parse_json::<OlderTradeBody>(bytes);
    Some(body.map(|body| TradeBody { name: body.stock_name, side: body.trade_type, quantity: body.quantity }))
}

/// Trades, and answers in the older form.
pub(crate) async fn trade_json(app: &App, key: &TradeKey, body: Result<TradeBody, ApiFailure>) -> Response {
    let traded = match body {
        Ok(body) => trade_once(app, key, body).await,
        Err(failure) => return older_failure(&failure.0),
    };
    let response = match &traded.answer {
        Ok(receipt) => json(StatusCode::OK, &json_value!({"order_no": receipt.transaction_number})),
        Err(error) => older_failure(error),
    };
    traded.onto(response)
}

fn older_failure(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &json_value!({"order_no": -1, "message": error.message}));
    if let Some(seconds) = error.kind.retry_after_secs() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TradeForm {
    name: StockName,
    quantity: Quantity,
    order_type: Side,
}

/// `POST /order` with a form, as `POST /orders`.
pub(crate) async fn trade_form(State(app): State<Arc<App>>, request: Request) -> Response {
    let _timer = Timer::start(&app.timings.trade);
    let key = match TradeKey::of(&request) {
        Ok(key) => key,
        Err(failure) => return failure.into_response(),
    };
    let response = match read_form(request).await {
        Ok(body) => trade_response(&trade_once(&app, &key, body).await),
        Err(failure) => not_applied(failure.0).into_response(),
    };
    key.onto(response)
}

async fn read_form(request: Request) -> Result<TradeBody, ApiFailure> {
    const FORM: &str = "application/x-www-form-urlencoded";
    accept_media_type(request.headers(), FORM)?;
    let Payload(bytes) = Payload::<TRADE_BODY_BYTES_MAX>::from_request(request, &()).await?;
    let mut form = Request::new(Body::from(bytes));
    *form.method_mut() = axum::http::Method::POST;
    form.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
    let Form(body) = Form::<TradeForm>::from_request(form, &())
        .await
        .map_err(|error| ApiFailure::invalid(format!("the form is not what is expected: {}", error.body_text())))?;
    Ok(TradeBody { name: body.name, side: body.order_type, quantity: body.quantity })
}

#[derive(Serialize)]
struct OlderOrder {
    order_no: u64,
    stock_name: StockName,
    trade_type: Side,
    quantity: Quantity,
}

/// `GET /orders?order_no=7`.
pub(crate) async fn older_order(app: &App, number: &str) -> Result<Response, ApiFailure> {
    let order = one_order(app, number).await?;
    let older =
        OlderOrder { order_no: order.number, stock_name: order.name, trade_type: order.side, quantity: order.quantity };
    Ok(json(StatusCode::OK, &Data { data: older }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OrderQuery {
    order_number: String,
}

/// `GET /order?order_number=7`, as `GET /orders/7`.
pub(crate) async fn order(
    State(app): State<Arc<App>>,
    sender: Sender,
    Query(query): Query<OrderQuery>,
) -> Result<Response, ApiFailure> {
    let order = one_order(&app, &query.order_number).await?;
    Ok(json(StatusCode::OK, &Data { data: OrderView::seen_by(&order, sender.scope()) }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct RemoveQuery {
    stock_name: String,
}

/// `GET /rm?stock_name=X` of the internal listener.
pub(crate) async fn remove(State(app): State<Arc<App>>, Query(query): Query<RemoveQuery>) -> Response {
    let removed = StockName::new(&query.stock_name).is_ok_and(|name| app.lookups.drop_stock(&name));
    if removed {
        json(StatusCode::OK, &json_value!({"stock_name": query.stock_name, "message": "removed successfully"}))
    } else {
        json(StatusCode::OK, &json_value!({"message": "this stock isn't exist in cache"}))
    }
}
