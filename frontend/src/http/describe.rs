//! What the description says of the public routes.

use bazaar_domain::{
    ErrorKind, IdempotencyKey, StockName,
    api::{
        BatchAnswer, LeaderView, OrderPage, OrderView, RejectionView, StockView, TradeBatchBody, TradeBody,
        TradeReceipt,
    },
    limits::{PAGE_ORDERS_DEFAULT, PAGE_ORDERS_MAX},
};
use bazaar_service::describe::{
    About, Body, Operation,
    schemas::{closed, object, one_word_of, text, text_like, whole, whole_to, word},
};
use serde_json::{Value, json};

use crate::legacy::describe as older;

/// Why the leader could not be asked.
const LEADER_FAILS: [ErrorKind; 3] = [ErrorKind::NoLeader, ErrorKind::NoQuorum, ErrorKind::Overloaded];
/// Why a stock could not be looked up.
const LOOKUP_FAILS: [ErrorKind; 3] = [ErrorKind::NoLeader, ErrorKind::CatalogUnavailable, ErrorKind::Overloaded];
/// Why a trade did not happen, or is not known to have happened.
const TRADE_FAILS: [ErrorKind; 8] = [
    ErrorKind::StockNotFound,
    ErrorKind::InsufficientQuantity,
    ErrorKind::QuantityLimit,
    ErrorKind::KeyReused,
    ErrorKind::NoLeader,
    ErrorKind::NoQuorum,
    ErrorKind::Overloaded,
    ErrorKind::OutcomeUnknown,
];
const LOOKUP_HEADERS: [&str; 3] = ["ETag", "X-Cache", "X-Consistency"];
const TRADE_HEADERS: [&str; 2] = ["Idempotency-Key", "Idempotency-Replayed"];
/// The digits of an order's number, where it is read as text.
const NUMBER: &str = "^[0-9]+$";

/// The public listener.
pub(super) const ABOUT: About = About {
    title: "Stock bazaar",
    text: "Looks stocks up, trades them, and reads orders back. A request to a path that is not here is answered with 404 \
           and the kind `not_found`. With `application/problem+json` in `Accept`, errors come in the form of RFC 9457.",
};

fn stock_example() -> Value {
    json!({"name": "GameStart", "price": 15.99, "quantity": 100, "trade_volume": 0, "version": 1})
}

pub(crate) fn order_example() -> Value {
    json!({"number": 7, "name": "GameStart", "type": "buy", "quantity": 3, "price": 15.99, "stock_version": 12, "key": "k1"})
}

fn one_stock() -> Body {
    Body::data::<StockView>().example("a stock", json!({ "data": stock_example() }))
}

fn receipt() -> Body {
    Body::data::<TradeReceipt>().example("accepted", json!({"data": {"transaction_number": 7, "stock_version": 12}}))
}

pub(crate) fn order() -> Body {
    Body::data::<OrderView>().example("an order", json!({ "data": order_example() }))
}

/// What all lookups have in common.
pub(crate) fn lookup(id: &str, summary: &str) -> Operation {
    let stale =
        "`stale` accepts an older value, marked by `X-Consistency`, from a catalog that cannot promise a current one.";
    Operation::new(id, "stocks", summary)
        .query("consistency", stale, one_word_of(["stale"]))
        .fails(&LOOKUP_FAILS)
        .with_headers_of_failures(&["X-Consistency"])
}

/// A lookup of one stock that the client may have already.
fn cached(operation: Operation) -> Operation {
    operation
        .header("If-None-Match", "Versions that the client has, each in quotes.", text())
        .answers_with(304, "The client has this version already.", [])
        .fails(&[ErrorKind::StockNotFound])
        .with_headers(&LOOKUP_HEADERS)
}

pub(super) fn one() -> Operation {
    cached(lookup("lookup", "One stock"))
        .about("At least as new as every trade that was answered before the request.")
        .path("name", "The stock.", word::<StockName>())
        .answers("The stock.", one_stock())
}

pub(super) fn list() -> Operation {
    let flat = "The older form: one stock, without a `data` around it.";
    cached(lookup("stocks", "All stocks"))
        .about("By name, as of one log index. With `stock_name` it is an older form of a lookup.")
        .older_query("stock_name", flat, text())
        .answers(
            "The stocks.",
            Body::list::<StockView>().example("stocks", json!({"data": [stock_example()]})).or(older::flat()),
        )
        .with_headers(&["X-Log-Index"])
        .fails_also_as(&[404], older::flat_not_found())
}

pub(super) fn older_lookup() -> Operation {
    cached(lookup("older_lookup", "As GET /stocks/{name}"))
        .deprecated()
        .required_query("stock", "The stock.", word::<StockName>())
        .answers("The stock.", one_stock())
}

/// What all ways to trade once have in common.
fn trade_once(id: &str, summary: &str) -> Operation {
    Operation::new(id, "trades", summary)
        .key_header(
            "The trade's key. Without one the frontend makes one. The same trade can be sent again under its key.",
        )
        .fails(&TRADE_FAILS)
        .tells_outcomes()
        .with_headers(&TRADE_HEADERS)
        .with_headers_of_failures(&TRADE_HEADERS)
}

pub(super) fn trade() -> Operation {
    let body = Body::json::<TradeBody>().example("a trade", json!({"name": "GameStart", "type": "buy", "quantity": 3}));
    trade_once("trade", "Trades once")
        .about(
            "An answered trade is durable. It is sent again within the service until its deadline, over changes of the \
             leader too. Older clients send and get another form; the fields of the body tell which one is meant.",
        )
        .takes([body.or(older::trade())])
        .answers("It happened.", receipt().or(older::receipt()))
        .fails_also_as(&[400, 404, 409, 422, 503, 504], older::failure())
}

pub(super) fn older_trade() -> Operation {
    trade_once("older_trade", "As POST /orders, with a form")
        .deprecated()
        .takes([older::form()])
        .answers("It happened.", receipt())
}

pub(super) fn batch() -> Operation {
    let orders = json!({"orders": [{"key": "k1", "name": "GameStart", "type": "buy", "quantity": 3}]});
    let answers = json!({"data": [{"transaction_number": 8, "stock_version": 13}]});
    Operation::new("batch", "trades", "Trades many times")
        .about("Decided in their order. It is no transaction: each has its own answer, in the same order.")
        .takes([Body::json::<TradeBatchBody>().example("one trade", orders)])
        .answers("What became of each.", Body::list::<BatchAnswer>().example("one answer", answers))
        .fails(&LEADER_FAILS)
        .fails(&[ErrorKind::OutcomeUnknown])
        .tells_outcomes()
}

/// What all order reads have in common.
pub(crate) fn order_read(id: &str, summary: &str) -> Operation {
    Operation::new(id, "orders", summary).fails(&LEADER_FAILS)
}

pub(super) fn one_order() -> Operation {
    order_read("order", "One order")
        .path("number", "Its number.", whole(1))
        .answers("The order.", order())
        .fails(&[ErrorKind::OrderNotFound])
}

pub(super) fn page() -> Operation {
    let limit = format!("Most orders of the page; {PAGE_ORDERS_DEFAULT} if it is not given.");
    let page = json!({"data": [order_example()], "next_after": null});
    order_read("orders", "A page of orders")
        .about("With `order_no` it is an older form, which reads one order.")
        .query(
            "after",
            "The number before the first order that is wanted; 0 if it is not given.",
            whole_to(0, u64::MAX),
        )
        .query("limit", &limit, whole_to(1, PAGE_ORDERS_MAX as u64))
        .older_query("order_no", "The older form: the number of one order.", text_like(NUMBER))
        .answers("The orders, by number.", Body::json::<OrderPage>().example("the last page", page).or(older::order()))
        .with_headers(&["X-Log-Index"])
        .fails(&[ErrorKind::OrderNotFound])
}

pub(super) fn by_key() -> Operation {
    let rejected = Body::data_like(object([("rejection", word::<RejectionView>())]));
    let listed = Body::data_like(closed([("stock_version", whole(1).into())]));
    order_read("by_key", "What a key got")
        .path("key", "The key, percent-encoded where it must be.", word::<IdempotencyKey>())
        .answers("An order, a rejection, or a listing change.", order().or(rejected).or(listed))
        .fails(&[ErrorKind::KeyNotFound])
}

pub(super) fn older_order() -> Operation {
    order_read("older_order", "As GET /orders/{number}")
        .deprecated()
        .required_query("order_number", "Its number.", text_like(NUMBER))
        .answers("The order.", order())
        .fails(&[ErrorKind::OrderNotFound])
}

pub(super) fn stream() -> Operation {
    let event = format!("event: order\nid: 7\ndata: {}\n\n", order_example());
    order_read("stream", "Orders as they are made")
        .about(
            "Server-sent events, one for each order, in order and without a gap: `event: order`, `id` the number, `data` \
             what `GET /orders/{number}` has as `data`. Comments show that the stream lives. It goes on over the death of \
             a leader, and ends when the frontend stops: then ask again with the last number.",
        )
        .query("after", "The number before the first order that is wanted. Without it the stream begins with what is made from now on.", whole_to(0, u64::MAX))
        .header("Last-Event-ID", "The same as `after`, and stronger.", whole_to(0, u64::MAX))
        .answers("The orders.", Body::new("text/event-stream", text()).example("an order", event))
        .with_headers(&["Cache-Control"])
}

pub(super) fn leader() -> Operation {
    let view =
        json!({"data": {"leader": 3, "address": "127.0.0.1:16008", "term": 5, "ready": true, "quorum_ack_age_ms": 12}});
    Operation::new("leader", "probes", "The replica that trades go to")
        .answers("The leader.", Body::data::<LeaderView>().example("a leader", view))
        .fails(&LEADER_FAILS)
}

pub(super) fn readyz() -> Operation {
    Operation::new("readyz", "probes", "Whether requests can be served")
        .answers("There is a leader, and lookups can be answered.", Body::line("ready"))
        .fails(&LEADER_FAILS)
        .fails(&[ErrorKind::CatalogUnavailable])
}
