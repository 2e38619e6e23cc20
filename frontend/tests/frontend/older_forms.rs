//! The forms of older clients, to the letter.

use crate::fakes::{Bazaar, Got, bazaar, bazaar_with, got};

fn plain(answer: &Got) -> (u16, &str) {
    (answer.status, answer.text.as_str())
}

#[tokio::test]
async fn a_flat_stock() {
    let bazaar = bazaar().await;
    let found = bazaar.get("/stocks?stock_name=GameStart").await;
    let wanted = r#"{"stock_name":"GameStart","price":15.99,"trade_volume":0,"quantity":100}"#;
    assert_eq!(plain(&found), (200, wanted));
    for name in ["Nobody", "", "no%20name"] {
        let missing = bazaar.get(&format!("/stocks?stock_name={name}")).await;
        assert_eq!(plain(&missing), (404, r#"{"error":{"code":404,"message":"Stock not found"}}"#));
    }
    assert_eq!((found.header("x-cache"), found.header("etag")), ("miss", "\"1\""), "the headers of a lookup");
    let stale = bazaar.get("/stocks?stock_name=GameStart&consistency=stale").await;
    assert_eq!((plain(&stale), stale.header("x-consistency")), ((200, wanted), "stale"));
    assert_eq!(bazaar.get("/stocks?stock_name=GameStart&consistency=any").await.status, 400);
    let missing = bazaar.get("/stocks?stock_name=Nobody&consistency=stale").await;
    assert_eq!((missing.status, missing.header("x-consistency")), (404, "stale"));
}

#[tokio::test]
async fn a_lookup_is_as_a_stock() {
    let bazaar = bazaar().await;
    let older = bazaar.get("/lookup?stock=GameStart").await;
    let present = bazaar.get("/stocks/GameStart").await;
    assert_eq!((plain(&older), older.header("etag")), (plain(&present), present.header("etag")));
    let missing = bazaar.get("/lookup?stock=Nobody").await;
    assert_eq!((missing.status, missing.json()["error"]["message"].as_str()), (404, Some("stock not found")));
    assert_eq!(bazaar.get("/lookup").await.status, 400);
    let stale = bazaar.get("/lookup?stock=GameStart&consistency=stale").await;
    assert_eq!(stale.header("x-consistency"), "stale");
}

#[tokio::test]
async fn a_trade_with_the_older_fields() {
    let bazaar = bazaar().await;
    let body = r#"{"stock_name":"GameStart","trade_type":"buy","quantity":3}"#;
    let first = bazaar.post_keyed("k", body).await;
    assert_eq!((plain(&first), first.header("idempotency-key")), ((200, r#"{"order_no":1}"#), "k"));
    let again = bazaar.post_keyed("k", body).await;
    assert_eq!((plain(&again), again.header("idempotency-replayed")), ((200, r#"{"order_no":1}"#), "true"));
}

#[tokio::test]
async fn a_failed_trade_with_the_older_fields() {
    let bazaar = bazaar_with("trade_deadline_ms = 200").await;
    let trade =
        |name: &str, quantity: &str| format!(r#"{{"stock_name":"{name}","trade_type":"buy","quantity":{quantity}}}"#);
    let missing = bazaar.post("/orders", trade("Nobody", "1")).await;
    let text: serde_json::Value = missing.json();
    assert_eq!((missing.status, text), (404, serde_json::json!({"order_no": -1, "message": "stock not found"})));
    let poor = bazaar.post("/orders", trade("MenhirCo", "1")).await;
    assert_eq!((poor.status, poor.json()["order_no"].as_i64()), (409, Some(-1)));
    let malformed = bazaar.post("/orders", trade("GameStart", "0")).await;
    assert_eq!((malformed.status, malformed.json()["order_no"].as_i64()), (400, Some(-1)));
    bazaar.shared.world().leader = None;
    let late = bazaar.post("/orders", trade("GameStart", "1")).await;
    assert_eq!((late.status, late.header("retry-after")), (503, "1"));
    assert_eq!(late.json()["order_no"], -1);
}

async fn form(bazaar: &Bazaar, body: &'static str) -> Got {
    got(bazaar.post_to("/order").header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

#[tokio::test]
async fn a_trade_as_a_form() {
    let bazaar = bazaar().await;
    let answer = form(&bazaar, "name=GameStart&quantity=3&order_type=sell").await;
    assert_eq!(plain(&answer), (200, r#"{"data":{"transaction_number":1,"stock_version":2}}"#));
    assert!(!answer.header("idempotency-key").is_empty());
    for body in ["", "name=GameStart", "name=GameStart&quantity=0&order_type=buy", "name=a&quantity=1&order_type=take"]
    {
        let answer = form(&bazaar, body).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "invalid_request"), "{body}");
    }
    assert_eq!(bazaar.post("/order", "{}").await.status, 415);
}

#[tokio::test]
async fn an_order_by_the_older_parameters() {
    let bazaar = bazaar().await;
    bazaar.post_keyed("k", r#"{"name":"GameStart","type":"buy","quantity":3}"#).await;
    let older = bazaar.get("/orders?order_no=1").await;
    let wanted = r#"{"data":{"order_no":1,"stock_name":"GameStart","trade_type":"buy","quantity":3}}"#;
    assert_eq!(plain(&older), (200, wanted));
    let missing = bazaar.get("/orders?order_no=2").await;
    assert_eq!((missing.status, missing.json()["error"]["message"].as_str()), (404, Some("order not found")));
    let other = bazaar.get("/order?order_number=1").await;
    assert_eq!(plain(&other), plain(&bazaar.get("/orders/1").await));
    assert_eq!(bazaar.get("/order?order_number=x").await.status, 400);
}

#[tokio::test]
async fn a_removal_from_the_cache() {
    let bazaar = bazaar().await;
    assert_eq!(bazaar.get("/stocks/GameStart").await.header("x-cache"), "miss");
    let remove = || got(bazaar.client.get(format!("http://{}/rm?stock_name=GameStart", bazaar.internal)));
    let removed = remove().await;
    let wanted = serde_json::json!({"stock_name": "GameStart", "message": "removed successfully"});
    assert_eq!((removed.status, removed.json()), (200, wanted));
    let again = remove().await;
    assert_eq!(again.json(), serde_json::json!({"message": "this stock isn't exist in cache"}));
    assert_eq!(bazaar.get("/stocks/GameStart").await.header("x-cache"), "miss");
}
