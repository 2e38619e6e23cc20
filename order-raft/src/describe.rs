//! What the description says of a replica's routes, on the service and the admin listener.

use bazaar_domain::{
    Cents, ErrorKind, StockName,
    api::{
        BatchAnswer, DigestView, Founder, FoundingView, Health, MemberChange, MemberView, Members, OrderPage,
        OrderView, Role, TradeBatchBody, TradeBody, TradeReceipt,
    },
    limits::{PAGE_ORDERS_DEFAULT, PAGE_ORDERS_MAX},
};
use bazaar_service::describe::{
    About, Body, Operation,
    schemas::{
        Described, closed, free, list, object, one_of, one_word_of, or_null, text, text_like, whole, whole_or_null,
        whole_to, word, yes_or_no,
    },
};
use serde_json::json;

/// The service listener.
pub(crate) const SERVICE: About = About {
    title: "Stock bazaar: order replica, service",
    text: "Trades, order reads, leases and health. Only the leader takes trades and reads; another replica answers 421 \
           `not_leader` and names it. A replica that waits to be taken into a cluster answers 503 `no_leader` to nearly \
           everything. What our own processes say to each other are records: a version byte, then postcard; the types are \
           in `domain/src/internal.rs`.",
};
/// The admin listener.
pub(crate) const ADMIN: About = About {
    title: "Stock bazaar: order replica, admin",
    text: "This replica's own state, which no quorum confirmed and which need not be released yet; snapshots, transfers of \
           the leadership, and changes of membership. A replica that waits to be taken into a cluster answers 503 \
           `no_leader` to nearly everything.",
};

/// Why this replica does not do what only a ready leader does.
const LEADER_FAILS: [ErrorKind; 3] = [ErrorKind::NotLeader, ErrorKind::NoLeader, ErrorKind::NoQuorum];
const SUBMIT_FAILS: [ErrorKind; 2] = [ErrorKind::Overloaded, ErrorKind::OutcomeUnknown];
const TRADE_FAILS: [ErrorKind; 4] =
    [ErrorKind::StockNotFound, ErrorKind::InsufficientQuantity, ErrorKind::QuantityLimit, ErrorKind::KeyReused];
const KEY_HEADERS: [&str; 2] = ["Idempotency-Key", "Idempotency-Replayed"];
/// Most log entries of an answer.
pub(crate) const LOG_ENTRIES_MAX: usize = 1_000;
/// A digest, in hexadecimal.
const DIGEST: &str = "^[0-9a-f]{64}$";

/// A replica that joins refuses it.
fn members_only(id: &str, group: &str, summary: &str) -> Operation {
    Operation::new(id, group, summary).fails(&[ErrorKind::NoLeader])
}

fn by_leader(id: &str, group: &str, summary: &str) -> Operation {
    Operation::new(id, group, summary).fails(&LEADER_FAILS)
}

pub(crate) fn submit_trades() -> Operation {
    let one = Body::json::<TradeBody>().example("a trade", json!({"name": "GameStart", "type": "buy", "quantity": 3}));
    let many = Body::json::<TradeBatchBody>()
        .example("a batch", json!({"orders": [{"key": "k1", "name": "GameStart", "type": "buy", "quantity": 3}]}));
    let receipt = json!({"data": {"transaction_number": 7, "stock_version": 12}});
    let receipts = json!({"data": [{"transaction_number": 7, "stock_version": 12}]});
    let answer = Body::data::<TradeReceipt>().example("a trade", receipt);
    let answers = Body::list::<BatchAnswer>().example("a batch", receipts);
    by_leader("submit_trades", "trades", "Trades once, or many times")
        .about("A single trade needs its key in the header; in a batch each trade has its own.")
        .key_header("The key of a single trade.")
        .takes([one.or(many), Body::record("SubmitTrades")])
        .answers_with(200, "What became of them.", [answer.or(answers), Body::record("Submitted")])
        .fails(&SUBMIT_FAILS)
        .fails(&TRADE_FAILS)
        .tells_outcomes()
        .with_headers(&KEY_HEADERS)
        .with_headers_of_failures(&KEY_HEADERS)
}

pub(crate) fn order() -> Operation {
    let order = json!({"number": 7, "name": "GameStart", "type": "buy", "quantity": 3, "price": 15.99, "stock_version": 12, "key": "k1"});
    by_leader("order", "orders", "One order")
        .path("number", "Its number.", whole_to(1, u64::MAX))
        .answers("The order.", Body::data::<OrderView>().example("an order", json!({ "data": order })))
        .fails(&[ErrorKind::OrderNotFound])
}

pub(crate) fn order_page() -> Operation {
    let limit = format!("Most orders of the page; {PAGE_ORDERS_DEFAULT} if it is not given.");
    by_leader("orders", "orders", "A page of orders")
        .query(
            "after",
            "The number before the first order that is wanted; 0 if it is not given.",
            whole_to(0, u64::MAX),
        )
        .query("limit", &limit, whole_to(1, PAGE_ORDERS_MAX as u64))
        .answers(
            "The orders, by number.",
            Body::json::<OrderPage>().example("the last page", json!({"data": [], "next_after": null})),
        )
}

fn internal(operation: Operation, takes: &str, answers: &str) -> Operation {
    operation.takes([Body::record(takes)]).answers("The answer.", Body::record(answers))
}

pub(crate) fn reads() -> Operation {
    internal(
        by_leader("reads", "internal", "Order reads that share one confirmation"),
        "Vec<OrderRead>",
        "Vec<OrderReadAnswer>",
    )
}

pub(crate) fn submit_listings() -> Operation {
    let operation = by_leader("submit_listings", "internal", "Listing changes").fails(&SUBMIT_FAILS).tells_outcomes();
    internal(operation, "SubmitListings", "Submitted")
}

pub(crate) fn lease() -> Operation {
    internal(by_leader("lease", "internal", "Gives the catalog a lease"), "LeaseRequest", "LeaseGrant")
}

pub(crate) fn ping() -> Operation {
    let alive = object([("alive order server", whole(1).into()), ("port", whole_to(0, 65_535).into())]);
    members_only("ping", "probes", "Whether the process runs, in the older form").deprecated().answers(
        "It does.",
        Body::json_like(alive).example("replica 3", json!({"alive order server": 3, "port": 16008})),
    )
}

pub(crate) fn health() -> Operation {
    let health = json!({"data": {
        "id": 3, "role": "leader", "leader": 3, "term": 5, "ready": true, "quorum_ack_age_ms": 12, "last_log_index": 40,
        "committed": 40, "applied": 40, "orders": 25, "cluster_id": "bazaar-1",
        "voters": [{"id": 3, "service": "127.0.0.1:16008"}],
    }});
    Operation::new("health", "probes", "What this replica is")
        .answers("Its health.", Body::data::<Health>().example("a leader", health))
}

pub(crate) fn ready() -> Operation {
    members_only("readyz", "probes", "Whether it leads with a quorum, or hears the leader that it follows")
        .answers("It does.", Body::line("ready"))
}

/// A position in the log, or null before the first one.
fn position() -> Described {
    or_null(object([("term", whole(0).into()), ("index", whole(0).into())]))
}

pub(crate) fn raft() -> Operation {
    let vote = object([("term", whole(0).into()), ("for", whole(0).into()), ("committed", yes_or_no().into())]);
    let log = object([
        ("first", whole_or_null(0).into()),
        ("last", whole_or_null(0).into()),
        ("committed", position()),
        ("applied", position()),
        ("purged", position()),
    ]);
    let follower = object([
        ("id", whole(1).into()),
        ("life", whole(0).into()),
        ("matched", whole_or_null(0).into()),
        ("lag", whole_or_null(0).into()),
        ("lag_ms", whole_or_null(0).into()),
    ]);
    let membership = object([("set_at", position()), ("members", list(word::<MemberView>()))]);
    let disk = object([
        ("log_bytes", whole(0).into()),
        ("state_bytes", whole(0).into()),
        ("state_bytes_per_order", whole_or_null(0).into()),
    ]);
    let event = object([
        ("unix_ms", whole(0).into()),
        ("term", whole(0).into()),
        ("kind", text_like("^[a-z_]+$").into()),
        ("what", text().into()),
    ]);
    let everything = object([
        ("id", whole(1).into()),
        ("cluster_id", text().into()),
        ("role", word::<Role>()),
        ("term", whole(0).into()),
        ("vote", vote.into()),
        ("leader", whole_or_null(1).into()),
        ("log", log.into()),
        ("snapshot", position()),
        ("membership", membership.into()),
        ("followers", list(follower)),
        ("quorum_ack_age_ms", whole_or_null(0).into()),
        ("released", whole(0).into()),
        ("catalog_exposed", whole_or_null(0).into()),
        ("disk", disk.into()),
        ("digest", object([("number", whole(0).into()), ("digest", text_like(DIGEST).into())]).into()),
        ("events", list(event)),
    ]);
    members_only("raft", "raft", "Where this replica stands").answers("All of it.", Body::data_like(everything))
}

pub(crate) fn log() -> Operation {
    let entry = |last| {
        let kind = one_word_of(["blank", "membership", "trades", "listings"]);
        object([("index", whole(0).into()), ("term", whole(0).into()), ("kind", kind.into()), last])
    };
    // Either form in each entry, not in the list: an empty list would be of both.
    let (shown, counted) = (entry(("items", list(free()))), entry(("count", whole(0).into())));
    members_only("log", "raft", "Decoded log entries")
        .about("An answer holds about 1 MiB of entries, so it may be shorter than `limit`.")
        .query(
            "after",
            "The index before the first entry that is wanted; the first one that is left if it is not given.",
            whole_to(0, u64::MAX),
        )
        .query("limit", "Most entries; 100 if it is not given.", whole_to(1, LOG_ENTRIES_MAX as u64))
        .query("brief", "Whether items are counted instead of shown.", yes_or_no())
        .answers("The entries.", Body::data_like(list(one_of([shown.into(), counted.into()]))))
}

pub(crate) fn digest() -> Operation {
    members_only("digest", "raft", "The digest over the first orders")
        .query("number", "How many of them; all if it is not given.", whole_to(0, u64::MAX))
        .answers("The digest.", Body::data::<DigestView>())
        .fails(&[ErrorKind::OrderNotFound])
}

pub(crate) fn inventory() -> Operation {
    let amount = || whole(0).into();
    let stock = object([
        ("name", word::<StockName>()),
        ("price", word::<Cents>()),
        ("quantity", amount()),
        ("trade_volume", amount()),
        ("version", whole(1).into()),
        ("listed", amount()),
    ]);
    let inventory = object([("log_index", whole(0).into()), ("stocks", list(stock))]);
    members_only("inventory", "raft", "Every stock, with what was put on offer")
        .answers("The inventory.", Body::data_like(inventory))
}

pub(crate) fn backup() -> Operation {
    let bytes = text().content_media_type("application/octet-stream");
    members_only("backup", "operations", "A backup of the applied state")
        .about("The form is in `order-raft/src/backup/format.rs`. `bazaar backup` checks it.")
        .answers("The backup.", Body::new(crate::backup::serve::MEDIA_TYPE, bytes))
        .fails(&[ErrorKind::Overloaded])
}

pub(crate) fn snapshot() -> Operation {
    let started = object([("started", yes_or_no().into())]);
    members_only("snapshot", "operations", "Starts a snapshot").answers("It was started.", Body::data_like(started))
}

pub(crate) fn transfer() -> Operation {
    let to = || whole_to(0, u64::MAX);
    let asked = Body::json_like(closed([("to", to().into())]));
    by_leader("transfer", "operations", "Hands the leadership to another voter")
        .about("The answer comes when the other one leads.")
        .takes([asked.example("to replica 2", json!({"to": 2}))])
        .answers(
            "It leads.",
            Body::data_like(object([("to", to().into())])).example("replica 2", json!({"data": {"to": 2}})),
        )
        .fails(&[ErrorKind::TransferFailed])
        .tells_outcomes()
}

pub(crate) fn members() -> Operation {
    members_only("members", "operations", "The members").answers("The members.", Body::data::<Members>())
}

pub(crate) fn change_members() -> Operation {
    let add = json!({"action": "add", "id": 4, "service": "127.0.0.1:16009", "peers": "127.0.0.1:16019", "admin": "127.0.0.1:16029"});
    let change = Body::json::<MemberChange>()
        .example("add", add)
        .example("promote", json!({"action": "promote", "id": 4}))
        .example("remove", json!({"action": "remove", "id": 4}));
    by_leader("change_members", "operations", "One step of a change of membership")
        .takes([change])
        .answers("The members afterwards.", Body::data::<Members>())
        .fails(&[ErrorKind::MembershipConflict, ErrorKind::MembershipBusy])
}

pub(crate) fn join() -> Operation {
    internal(
        Operation::new("join", "internal", "The leader's invitation to a replica that joins"),
        "JoinRequest",
        "JoinReply",
    )
    .fails(&[ErrorKind::WrongCluster])
}

pub(crate) fn founding() -> Operation {
    Operation::new("founding", "operations", "Where this replica stands in the founding of a cluster")
        .answers("Its part.", Body::data::<FoundingView>())
}

pub(crate) fn founding_step() -> Operation {
    let step = closed([
        ("step", one_word_of(["prepare", "begin"]).into()),
        ("cluster_id", text().into()),
        ("founders", list(word::<Founder>())),
    ]);
    let founder = json!({
        "id": 1, "life": 42, "service": "127.0.0.1:16006", "peers": "127.0.0.1:16016", "admin": "127.0.0.1:16026"
    });
    let example = json!({"step": "prepare", "cluster_id": "bazaar-1", "founders": [founder]});
    Operation::new("founding_step", "operations", "One step of the founding of a cluster (`bazaar init`)")
        .takes([Body::json_like(step).example("agree", example)])
        .answers("Its part afterwards.", Body::data::<FoundingView>())
        .fails(&[ErrorKind::WrongCluster, ErrorKind::MembershipConflict])
}
