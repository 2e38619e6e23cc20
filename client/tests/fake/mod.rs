//! A small frontend, catalog and replica in one, that keeps its word or breaks it as a test wants.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bazaar_domain::{
    Cents, ErrorKind, IdempotencyKey, Side, StockName,
    api::{OrderView, StockView, TradeBody, TradeReceipt},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What each stock has at the start.
const LISTED: u64 = 1_000;

/// What the fake holds, and how it misbehaves.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) stocks: BTreeMap<StockName, StockView>,
    pub(crate) orders: Vec<OrderView>,
    /// An order of this number is answered as not found.
    pub(crate) lost: Option<u64>,
    /// So many of the next trades are answered with 503 without happening.
    pub(crate) refused_trades: u32,
    /// So many of the next trades happen, but are answered with 504.
    pub(crate) unknown_trades: u32,
    /// So many of the next trades happen, but a proxy answers that it does not reach the frontend.
    pub(crate) foreign_trades: u32,
    /// Who asked for the list of stocks, as its header says.
    pub(crate) authorizations: Vec<String>,
    /// Lookups show this version instead of the real one.
    pub(crate) shown_version: Option<u64>,
    /// How long each lookup takes.
    pub(crate) lookup_pause_ms: u64,
    /// Each stream of orders breaks off after so many of them.
    pub(crate) stream_breaks_after: Option<usize>,
    /// Streams leave the order of this number out.
    pub(crate) stream_skips: Option<u64>,
    /// Behind which order each stream was asked to begin.
    pub(crate) streams: Vec<u64>,
    /// The keys of all trades, as they came.
    pub(crate) keys: Vec<String>,
    receipts: HashMap<String, TradeReceipt>,
}

/// A running fake; it ends with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) books: Arc<Mutex<Books>>,
    pub(crate) address: SocketAddr,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listed = ["BoarCo", "GameStart", "MenhirCo"].map(|name| StockName::new(name).unwrap());
        let stock =
            |name| StockView { name, price: Cents::new(1_599).unwrap(), quantity: LISTED, trade_volume: 0, version: 1 };
        let stocks = listed.into_iter().map(|name| (name, stock(name))).collect();
        let books = Arc::new(Mutex::new(Books { stocks, ..Books::default() }));
        let address = serve(&books).await;
        Self { books, address }
    }

    /// Another listener with the same books.
    pub(crate) async fn another(&self) -> SocketAddr {
        serve(&self.books).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

async fn serve(books: &Arc<Mutex<Books>>) -> SocketAddr {
    let routes = Router::new()
        .route("/readyz", get(|| async { "ready" }))
        .route("/stocks", get(stocks))
        .route("/stocks/{name}", get(stock))
        .route("/orders", post(trade).get(orders))
        .route("/orders/stream", get(stream))
        .route("/orders/{number}", get(order))
        .route("/health", get(health))
        .route("/admin/digest", get(digest))
        .route("/admin/inventory", get(inventory))
        .route("/admin/log", get(log))
        .with_state(Arc::clone(books));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

type Shared = State<Arc<Mutex<Books>>>;

fn error(kind: ErrorKind, retry_after: Option<&'static str>) -> Response {
    let status = StatusCode::from_u16(kind.status()).unwrap();
    let mut body = json!({"error": {"code": kind.status(), "message": "as the test wants", "kind": kind}});
    // Of these kinds only trades are answered here.
    match kind {
        ErrorKind::NoLeader | ErrorKind::InsufficientQuantity => body["error"]["outcome"] = "not_applied".into(),
        ErrorKind::OutcomeUnknown => body["error"]["outcome"] = "unknown".into(),
        _ => {}
    }
    let mut response = (status, Json(body)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", HeaderValue::from_static(seconds));
    }
    response
}

async fn stocks(State(books): Shared, headers: HeaderMap) -> Json<Value> {
    let mut books = books.lock().unwrap();
    books.authorizations.extend(headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()));
    Json(json!({"data": books.stocks.values().collect::<Vec<_>>()}))
}

async fn stock(State(books): Shared, Path(name): Path<String>) -> Response {
    let pause_ms = books.lock().unwrap().lookup_pause_ms;
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    let books = books.lock().unwrap();
    let Some(stock) = StockName::new(&name).ok().and_then(|name| books.stocks.get(&name)) else {
        return error(ErrorKind::StockNotFound, None);
    };
    let shown = StockView { version: books.shown_version.unwrap_or(stock.version), ..stock.clone() };
    ([("x-cache", "hit")], Json(json!({"data": shown}))).into_response()
}

async fn trade(State(books): Shared, headers: HeaderMap, Json(body): Json<TradeBody>) -> Response {
    let mut books = books.lock().unwrap();
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    books.keys.push(key.clone());
    if books.refused_trades > 0 {
        books.refused_trades -= 1;
        return error(ErrorKind::NoLeader, Some("0"));
    }
    if let Some(receipt) = books.receipts.get(&key) {
        return ([("idempotency-replayed", "true")], Json(json!({"data": receipt}))).into_response();
    }
    let number = books.orders.len() as u64 + 1;
    let Some(stock) = books.stocks.get_mut(&body.name) else { return error(ErrorKind::StockNotFound, None) };
    let quantity = body.quantity.get();
    match body.side {
        Side::Buy if stock.quantity < quantity => return error(ErrorKind::InsufficientQuantity, None),
        Side::Buy => stock.quantity -= quantity,
        Side::Sell => stock.quantity += quantity,
    }
    stock.trade_volume += quantity;
    stock.version += 1;
    let (stock_version, price) = (stock.version, stock.price);
    let TradeBody { name, side, quantity } = body;
    let kept = IdempotencyKey::new(&key).unwrap();
    books.orders.push(OrderView { number, name, side, quantity, price, stock_version, key: kept });
    let receipt = TradeReceipt { transaction_number: number, stock_version };
    books.receipts.insert(key, receipt);
    if books.unknown_trades > 0 {
        books.unknown_trades -= 1;
        return error(ErrorKind::OutcomeUnknown, None);
    }
    if books.foreign_trades > 0 {
        books.foreign_trades -= 1;
        return (StatusCode::BAD_GATEWAY, "<h1>Bad Gateway</h1>").into_response();
    }
    Json(json!({"data": receipt})).into_response()
}

async fn order(State(books): Shared, Path(number): Path<u64>) -> Response {
    let books = books.lock().unwrap();
    match books.orders.iter().find(|order| order.number == number && books.lost != Some(number)) {
        Some(order) => Json(json!({"data": order})).into_response(),
        None => error(ErrorKind::OrderNotFound, None),
    }
}

async fn orders(State(books): Shared, Query(query): Query<HashMap<String, u64>>) -> Json<Value> {
    let books = books.lock().unwrap();
    let (after, limit) = (query["after"], query["limit"] as usize);
    let rest: Vec<_> = books.orders.iter().filter(|order| order.number > after).collect();
    let page = &rest[..rest.len().min(limit)];
    let next = (rest.len() > limit).then(|| page.last().unwrap().number);
    Json(json!({"data": page, "next_after": next}))
}

async fn health(State(books): Shared) -> Json<Value> {
    let orders = books.lock().unwrap().orders.len();
    Json(json!({"data": {
        "id": 1, "role": "leader", "leader": 1, "term": 5, "ready": true, "quorum_ack_age_ms": 3,
        "last_log_index": orders, "committed": orders, "applied": orders, "orders": orders,
    }}))
}

async fn digest(State(books): Shared, Query(query): Query<HashMap<String, u64>>) -> Json<Value> {
    let orders = books.lock().unwrap().orders.len();
    Json(json!({"data": {"number": query["number"], "digest": "ab".repeat(32), "orders": orders}}))
}

async fn inventory(State(books): Shared) -> Json<Value> {
    let books = books.lock().unwrap();
    let listed = |stock: &StockView| {
        let mut value = serde_json::to_value(stock).unwrap();
        value["listed"] = LISTED.into();
        value
    };
    Json(
        json!({"data": {"log_index": books.orders.len(), "stocks": books.stocks.values().map(listed).collect::<Vec<_>>()}}),
    )
}

async fn log(State(books): Shared, Query(query): Query<HashMap<String, u64>>) -> Json<Value> {
    let books = books.lock().unwrap();
    let (after, limit) = (query["after"], query["limit"] as usize);
    let entry = |order: &OrderView| {
        let item = json!({"name": order.name, "side": order.side, "quantity": order.quantity, "key": order.key});
        json!({"index": order.number, "term": 5, "kind": "trades", "items": [item]})
    };
    let wanted = books.orders.iter().filter(|order| order.number > after).take(limit);
    Json(json!({"data": wanted.map(entry).collect::<Vec<_>>()}))
}

/// The orders that there are behind `Last-Event-ID`, and then the end: a client that follows has to come again.
async fn stream(State(books): Shared, headers: HeaderMap) -> Response {
    let mut books = books.lock().unwrap();
    let after: u64 = headers["last-event-id"].to_str().unwrap().parse().unwrap();
    books.streams.push(after);
    let rest = books.orders.iter().filter(|order| order.number > after && books.stream_skips != Some(order.number));
    let events = rest.take(books.stream_breaks_after.unwrap_or(usize::MAX)).map(|order| {
        let data = serde_json::to_string(order).unwrap();
        format!("event: order\nid: {}\ndata: {data}\n\n", order.number)
    });
    let mut body = events.fold(": keep-alive\n\n".to_owned(), |body, event| body + &event);
    if books.stream_breaks_after.is_some() {
        // In the middle of an event.
        body += "event: order\ndata: {\"numb";
    }
    ([("content-type", "text/event-stream")], body).into_response()
}
