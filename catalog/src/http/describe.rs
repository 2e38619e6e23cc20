//! What the description says of the catalog's routes.

use bazaar_domain::{Cents, ErrorKind, IdempotencyKey, StockName, api::StockView, limits::STOCK_QUANTITY_MAX};
use bazaar_service::describe::{
    About, Body, Operation,
    schemas::{Described, Fields, closed, object, one_word_of, or_null, price_asked, whole, whole_to, word},
};
use serde_json::{Value, json};

/// The one listener.
pub(super) const ABOUT: About = About {
    title: "Stock bazaar: catalog",
    text: "Price, quantity and trading volume of every stock. This listener is not public. What our own processes say to \
           each other are records: a version byte, then postcard; the types are in `domain/src/internal.rs`.",
};

const READ_FAILS: [ErrorKind; 2] = [ErrorKind::NoLeader, ErrorKind::CatalogUnavailable];
const READ_HEADERS: [&str; 3] = ["X-Log-Index", "X-Cacheable", "X-Consistency"];
const CHANGE_FAILS: [ErrorKind; 9] = [
    ErrorKind::StockNotFound,
    ErrorKind::QuantityLimit,
    ErrorKind::AlreadyListed,
    ErrorKind::TooManyStocks,
    ErrorKind::KeyReused,
    ErrorKind::NoLeader,
    ErrorKind::NoQuorum,
    ErrorKind::Overloaded,
    ErrorKind::OutcomeUnknown,
];
const KEY_HEADERS: [&str; 2] = ["Idempotency-Key", "Idempotency-Replayed"];

fn stock_example() -> Value {
    json!({"name": "GameStart", "price": 15.99, "quantity": 100, "trade_volume": 0, "version": 1})
}

fn read(id: &str, summary: &str) -> Operation {
    let stale =
        "`stale` accepts whatever the catalog has, marked by `X-Consistency`, while it cannot promise a current value.";
    Operation::new(id, "stocks", summary)
        .query("consistency", stale, one_word_of(["stale"]))
        .fails(&READ_FAILS)
        .with_headers(&READ_HEADERS)
}

fn read_one(id: &str, summary: &str) -> Operation {
    read(id, summary).fails(&[ErrorKind::StockNotFound]).with_headers(&["ETag"]).with_headers_of_failures(&READ_HEADERS)
}

pub(super) fn lookup() -> Operation {
    read_one("lookup", "One stock")
        .path("name", "The stock.", word::<StockName>())
        .answers("The stock.", Body::data::<StockView>().example("a stock", json!({ "data": stock_example() })))
}

pub(super) fn list() -> Operation {
    read("stocks", "All stocks")
        .about("By name, as of one log index.")
        .answers("The stocks.", Body::list::<StockView>().example("stocks", json!({"data": [stock_example()]})))
}

pub(super) fn query() -> Operation {
    let amount = || whole_to(0, STOCK_QUANTITY_MAX).into();
    let flat = object([
        ("stock_name", word::<StockName>()),
        ("price", word::<Cents>()),
        ("trade_volume", amount()),
        ("quantity", amount()),
    ]);
    let example = json!({"data": {"stock_name": "GameStart", "price": 15.99, "trade_volume": 0, "quantity": 100}});
    read_one("query", "As GET /stocks/{name}, in the older form")
        .deprecated()
        .required_query("stock_name", "The stock.", word::<StockName>())
        .answers("The stock.", Body::data_like(flat).example("a stock", example))
}

pub(super) fn ready() -> Operation {
    Operation::new("readyz", "probes", "Whether lookups are answered as current")
        .answers("They are, and the stocks of the first start are listed.", Body::line("ready"))
        .fails(&READ_FAILS)
}

pub(super) fn publish() -> Operation {
    internal("publish", "Committed trades, from the leader", "PublishBatch", "PublishReply").fails(&[
        ErrorKind::WrongCluster,
        ErrorKind::Overloaded,
        ErrorKind::CatalogUnavailable,
    ])
}

pub(super) fn replace() -> Operation {
    internal("replace", "The whole inventory, from the leader", "InventorySnapshot", "PublishReply").fails(&[
        ErrorKind::WrongCluster,
        ErrorKind::Overloaded,
        ErrorKind::CatalogUnavailable,
    ])
}

pub(super) fn subscribe() -> Operation {
    internal("subscribe", "Gives a frontend's cache a lease", "SubscribeRequest", "SubscribeReply")
}

pub(super) fn unsubscribe() -> Operation {
    internal("unsubscribe", "Takes a frontend's lease back", "UnsubscribeRequest", "nothing")
}

fn internal(id: &str, summary: &str, takes: &str, answers: &str) -> Operation {
    Operation::new(id, "internal", summary).takes([Body::record(takes)]).answers("The answer.", Body::record(answers))
}

pub(super) fn change_listing() -> Operation {
    let receipt = object([("name", word::<StockName>()), ("stock_version", whole(1).into())]);
    let example = json!({"data": {"name": "NewCo", "stock_version": 1}});
    Operation::new("change_listing", "stocks", "Lists, reprices or restocks a stock")
        .about("The change goes through the log, like a trade, and shares the space of keys with trades.")
        .key_header("The key of the change; it may stand in the body instead.")
        .takes([listing().or(repricing()).or(restocking())])
        .answers("It happened.", Body::data_like(receipt).example("listed", example))
        .fails(&CHANGE_FAILS)
        .tells_outcomes()
        .with_headers(&KEY_HEADERS)
        .with_headers_of_failures(&KEY_HEADERS)
}

fn listing() -> Body {
    let fields = change("list", [("price", price_asked()), ("quantity", whole_to(0, STOCK_QUANTITY_MAX).into())]);
    let most = or_null(whole_to(0, STOCK_QUANTITY_MAX));
    Body::json_like(fields.property("max_quantity", most)).example(
        "list",
        json!({"action": "list", "name": "NewCo", "price": 9.99, "quantity": 500, "max_quantity": 1000, "key": "list-newco"}),
    )
}

fn repricing() -> Body {
    Body::json_like(change("reprice", [("price", price_asked())]))
        .example("reprice", json!({"action": "reprice", "name": "NewCo", "price": 10.49}))
}

fn restocking() -> Body {
    Body::json_like(change("restock", [("quantity", whole_to(1, STOCK_QUANTITY_MAX).into())]))
        .example("restock", json!({"action": "restock", "name": "NewCo", "quantity": 100}))
}

fn change<const N: usize>(action: &str, fields: [(&str, Described); N]) -> Fields {
    let change = closed([("action", one_word_of([action]).into()), ("name", word::<StockName>())]);
    let change = change.property("key", or_null(word::<IdempotencyKey>()));
    fields.into_iter().fold(change, |change, (name, schema)| change.property(name, schema).required(name))
}
