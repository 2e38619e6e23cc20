//! The catalog over HTTP, in this process, between fakes.

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bazaar_domain::{
    IdempotencyKey, Quantity, Side, StockName, Trade,
    internal::{PublishBatch, PublishedItem, SubscribeReply, SubscribeRequest},
};
use bazaar_service::{CallError, Caller};
use serde_json::{Value, json};
use support::{Cluster, FakeFrontend, RunningCatalog, TTL_MS, eventually};
use tokio::sync::watch;

fn buy(name: &str, quantity: u64) -> PublishedItem {
    PublishedItem::Trade(Trade {
        key: IdempotencyKey::new("k").unwrap(),
        name: StockName::new(name).unwrap(),
        side: Side::Buy,
        quantity: Quantity::new(quantity).unwrap(),
    })
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

async fn body(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

async fn quantity(catalog: &RunningCatalog, path: &str) -> Value {
    body(catalog.get(path).await).await["data"]["quantity"].clone()
}

#[tokio::test]
async fn the_first_start_lists_the_stocks_and_lookups_show_published_trades() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let catalog = cluster.catalog(folder.path()).await;
    catalog.until_listed().await;

    let reply = cluster.leader.publish(vec![buy("GameStart", 30), buy("GameStart", 100), buy("nope", 1)]).await;
    let statuses: Vec<_> = reply.statuses[0].1.iter().map(|item| (item.status, item.stock_version)).collect();
    assert_eq!(statuses, [(200, 2), (409, 2), (404, 0)]);
    assert_eq!((reply.applied, reply.exposed), (2, 2));

    let response = catalog.get("/stocks/GameStart").await;
    assert_eq!((header(&response, "etag"), header(&response, "x-log-index")), ("\"2\"", "2"));
    assert_eq!(header(&response, "x-cacheable"), "yes");
    let stock = json!({"name": "GameStart", "price": 15.99, "quantity": 70, "trade_volume": 30, "version": 2});
    assert_eq!(body(response).await, json!({ "data": stock }));

    let all = body(catalog.get("/stocks").await).await;
    let names: Vec<_> = all["data"].as_array().unwrap().iter().map(|stock| stock["name"].clone()).collect();
    assert_eq!(names, ["BoarCo", "GameStart"]);

    let legacy = body(catalog.get("/query?stock_name=BoarCo").await).await;
    let flat = json!({"stock_name": "BoarCo", "price": 8.5, "trade_volume": 0, "quantity": 10});
    assert_eq!(legacy, json!({ "data": flat }));
    catalog.stop().await;
}

#[tokio::test]
async fn requests_that_are_wrong_get_a_clear_error() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let catalog = cluster.catalog(folder.path()).await;
    catalog.until_listed().await;
    for path in ["/stocks/nope", "/query?stock_name=nope"] {
        let error = json!({"code": 404, "message": "stock not found", "kind": "stock_not_found"});
        assert_eq!(body(catalog.get(path).await).await, json!({ "error": error }));
    }
    let cases = [
        ("/stocks/%00", 400),
        ("/stocks/..%2Fx", 400),
        ("/stocks/%ff", 400),
        ("/stocks/GameStart?consistency=maybe", 400),
        ("/query", 400),
        ("/orders", 405),
        ("/nothing", 404),
    ];
    for (path, status) in cases {
        assert_eq!(catalog.get(path).await.status(), status, "{path}");
    }
    assert_eq!(catalog.post_json("/orders", "{}").await.status(), 415);

    let gap = PublishBatch { cluster_id: "c1".into(), previous: 50, through: 51, entries: Vec::new() };
    let reply = cluster.leader.send(&gap).await.unwrap();
    assert_eq!((reply.applied, reply.statuses), (1, Vec::new()));
    let foreign = PublishBatch { cluster_id: "c2".into(), ..gap };
    let refused = cluster.leader.send(&foreign).await;
    assert!(matches!(refused, Err(CallError::Answered(error)) if error.code == 421));
    catalog.stop().await;
}

#[tokio::test]
async fn a_trade_is_answered_and_shown_only_after_the_subscribed_frontend_acked() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let catalog = cluster.catalog(folder.path()).await;
    catalog.until_listed().await;
    let mut frontend = FakeFrontend::start(9).await;
    let (leased, mut is_leased) = watch::channel(false);
    let renewing = tokio::spawn(keep_subscribed(catalog.url.clone(), frontend.id, frontend.address.clone(), leased));
    is_leased.wait_for(|leased| *leased).await.unwrap();

    let leader = Arc::clone(&cluster.leader);
    let publish = tokio::spawn(async move { leader.publish(vec![buy("GameStart", 30)]).await });
    let pushed = frontend.invalidated.wait_for(|all| !all.is_empty()).await.unwrap().clone();
    assert_eq!((pushed[0].session, pushed[0].index), (1, 2));
    assert_eq!(pushed[0].names, [StockName::new("GameStart").unwrap()]);
    let before = catalog.get("/stocks/GameStart?consistency=stale").await;
    assert_eq!((header(&before, "x-cacheable"), header(&before, "x-log-index")), ("no", "1"));
    assert_eq!(body(before).await["data"]["quantity"], 100);
    assert!(!publish.is_finished());

    frontend.may_ack.send_replace(true);
    assert_eq!(publish.await.unwrap().exposed, 2);
    assert_eq!(quantity(&catalog, "/stocks/GameStart?consistency=stale").await, 70);
    renewing.abort();
    catalog.stop().await;
}

/// Renews the lease of one session for as long as the task lives.
async fn keep_subscribed(url: String, frontend: u128, internal_address: String, leased: watch::Sender<bool>) {
    let (caller, url) = (Caller::new(), format!("{url}/subscribe"));
    let request = SubscribeRequest { frontend, session: 1, internal_address };
    let mut ticks = tokio::time::interval(Duration::from_millis(TTL_MS / 8));
    loop {
        ticks.tick().await;
        let reply: Result<SubscribeReply, _> = caller.post(&url, &request, Duration::from_secs(1), None).await;
        leased.send_replace(reply.is_ok_and(|reply| reply.duration_micros > 0));
    }
}

#[tokio::test]
async fn without_a_lease_lookups_are_refused_unless_a_stale_answer_is_accepted() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let catalog = cluster.catalog(folder.path()).await;
    catalog.until_listed().await;
    cluster.leader.grants.store(false, Ordering::SeqCst);
    let refused = || async { Some(catalog.get("/stocks/GameStart").await).filter(|answer| answer.status() == 503) };
    let answer = eventually("the lease is over", refused).await;
    assert_eq!(header(&answer, "retry-after"), "1");
    assert_eq!(body(answer).await["error"]["kind"], "no_leader");
    for path in ["/stocks", "/stocks/nope", "/query?stock_name=GameStart", "/readyz"] {
        assert_eq!(catalog.get(path).await.status(), 503, "{path}");
    }
    let stale = catalog.get("/stocks/GameStart?consistency=stale").await;
    assert_eq!((header(&stale, "x-consistency"), header(&stale, "x-cacheable")), ("stale", "no"));
    assert_eq!(catalog.get("/stocks/nope?consistency=stale").await.status(), 404);
    assert_eq!(catalog.get("/livez").await.status(), 200);
    catalog.stop().await;
}

#[tokio::test]
async fn the_copy_survives_a_restart_and_is_shown_as_current_only_after_the_silence() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let catalog = cluster.catalog(folder.path()).await;
    catalog.until_listed().await;
    let first = cluster.leader.publish(vec![buy("GameStart", 1)]).await;
    catalog.stop().await;

    let catalog = cluster.catalog(folder.path()).await;
    assert_eq!(quantity(&catalog, "/stocks/GameStart?consistency=stale").await, 99);
    // A repeat of what is applied already is answered too, but not before the silence is over.
    let repeat = PublishBatch { cluster_id: "c1".into(), previous: 0, through: 2, entries: Vec::new() };
    let reply = cluster.leader.send(&repeat).await.unwrap();
    assert_eq!((reply.applied, reply.exposed), (2, 2));
    assert_ne!(reply.incarnation, first.incarnation);
    catalog.until_ready().await;
    assert_eq!(quantity(&catalog, "/stocks/GameStart").await, 99);
    assert_eq!(cluster.leader.committed.load(Ordering::SeqCst), 2, "nothing is listed a second time");
    catalog.stop().await;
}

#[tokio::test]
async fn listing_changes_go_through_the_leader_and_come_back_published() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let catalog = cluster.catalog(folder.path()).await;
    catalog.until_listed().await;
    let listed = catalog.post_json("/admin/stocks", r#"{"name":"New","action":"list","price":2.5,"quantity":7}"#).await;
    assert_eq!(header(&listed, "idempotency-key").len(), 36);
    assert_eq!(body(listed).await, json!({"data": {"name": "New", "stock_version": 1}}));
    assert_eq!(quantity(&catalog, "/stocks/New?consistency=stale").await, 7);

    let repriced = r#"{"key":"my key","name":"New","action":"reprice","price":3}"#;
    let repriced = catalog.post_json("/admin/stocks", repriced).await;
    assert_eq!(header(&repriced, "idempotency-key"), "my key");
    assert_eq!(body(repriced).await["data"]["stock_version"], 2);

    let cases = [
        (r#"{"name":"New","action":"list","price":1,"quantity":1}"#, 409),
        (r#"{"name":"nope","action":"restock","quantity":1}"#, 404),
        (r#"{"name":"New","action":"restock","quantity":0}"#, 400),
        (r#"{"name":"New","action":"restock","quantity":-1}"#, 400),
        (r#"{"name":"New","action":"restock","quantity":1,"price":1}"#, 400),
        (r#"{"name":"New","action":"reprice"}"#, 400),
        (r#"{"name":"New","action":"list","price":1.234,"quantity":1}"#, 400),
        (r#"{"name":"../x","action":"reprice","price":1}"#, 400),
        (r#"{"name":"New","action":"reprice","price":1,"extra":1}"#, 400),
    ];
    for (request, status) in cases {
        let answer = catalog.post_json("/admin/stocks", request).await;
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(body(answer).await["error"]["outcome"], "not_applied", "{request}");
    }
    catalog.stop().await;
}

#[tokio::test]
async fn the_key_of_a_listing_change_may_come_in_the_header() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let catalog = cluster.catalog(folder.path()).await;
    catalog.until_listed().await;
    let restock = async |key: &str, more: &str| {
        let body = format!(r#"{{"name":"BoarCo","action":"restock","quantity":5{more}}}"#);
        let request = Caller::new().http().post(format!("{}/admin/stocks", catalog.url));
        let request = request.header("content-type", "application/json").header("idempotency-key", key);
        bazaar_tests::described::send(request.body(body)).await.unwrap()
    };
    let first = restock("op-7", "").await;
    assert_eq!(header(&first, "idempotency-key"), "op-7");
    let same = restock("op-7", r#","key":"op-7""#).await;
    assert_eq!((same.status().as_u16(), header(&same, "idempotency-key")), (200, "op-7"));
    let different = restock("op-7", r#","key":"op-8""#).await;
    assert_eq!(different.status(), 400);
    catalog.stop().await;
}
