//! `POST /orders` and `POST /orders/batch`.

use serde_json::json;

use crate::fakes::{bazaar, bazaar_with, got};

const BUY_3: &str = r#"{"name":"GameStart","type":"buy","quantity":3}"#;

#[tokio::test]
async fn a_trade_is_answered_with_its_number_and_the_stocks_version() {
    let bazaar = bazaar().await;
    let answer = bazaar.post("/orders", BUY_3).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text, r#"{"data":{"transaction_number":1,"stock_version":2}}"#);
    // The key that was made is a UUIDv7.
    assert_eq!((answer.header("idempotency-key").len(), &answer.header("idempotency-key")[14..15]), (36, "7"));
    assert_eq!(answer.header("idempotency-replayed"), "");
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_marked_as_a_replay() {
    let bazaar = bazaar().await;
    let first = bazaar.post_keyed("my key/1", BUY_3).await;
    let second = bazaar.post_keyed("my key/1", BUY_3).await;
    assert_eq!((first.text.as_str(), first.header("idempotency-key")), (second.text.as_str(), "my key/1"));
    assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));
    let other = bazaar.post_keyed("my key/1", r#"{"name":"GameStart","type":"buy","quantity":4}"#).await;
    assert_eq!((other.status, other.kind().as_str()), (422, "key_reused"));
    assert_eq!((other.header("idempotency-key"), other.header("idempotency-replayed")), ("my key/1", ""));
    assert_eq!(bazaar.shared.world().orders.len(), 1);
}

#[tokio::test]
async fn rejections_are_errors_that_stay_with_the_key() {
    let bazaar = bazaar().await;
    for replayed in ["", "true"] {
        let answer = bazaar.post_keyed("k1", r#"{"name":"MenhirCo","type":"buy","quantity":1}"#).await;
        assert_eq!((answer.status, answer.kind().as_str()), (409, "insufficient_quantity"));
        assert_eq!((answer.header("idempotency-key"), answer.header("idempotency-replayed")), ("k1", replayed));
        assert_eq!(answer.json()["error"]["outcome"], "not_applied");
    }
    let unknown = bazaar.post("/orders", r#"{"name":"Nobody","type":"sell","quantity":1}"#).await;
    assert_eq!((unknown.status, unknown.kind().as_str()), (404, "stock_not_found"));
    assert_eq!(unknown.json()["error"]["message"], "stock not found");
    assert!(!unknown.header("idempotency-key").is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let bazaar = bazaar().await;
    bazaar.shared.world().lost_answers = 1;
    let answer = bazaar.post("/orders", BUY_3).await;
    assert_eq!((answer.status, bazaar.shared.world().orders.len()), (200, 1));
    // The client sent it once: that it was sent twice inside is not its concern.
    assert_eq!(answer.header("idempotency-replayed"), "");
    assert_eq!(bazaar.shared.world().requests, [1, 1]);
}

#[tokio::test]
async fn a_change_of_the_leader_is_not_noticed() {
    let bazaar = bazaar().await;
    assert_eq!(bazaar.post("/orders", BUY_3).await.status, 200);
    bazaar.shared.world().leader = Some(1);
    assert_eq!(bazaar.post("/orders", BUY_3).await.status, 200);
    let leader = bazaar.get("/leader").await;
    assert_eq!((leader.status, leader.json()["data"]["leader"].clone()), (200, json!(1)));
    assert_eq!(leader.json()["data"]["quorum_ack_age_ms"], 12);
    assert!(leader.json()["data"]["address"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn without_a_leader_a_trade_fails_at_its_deadline_as_not_applied() {
    let bazaar = bazaar_with("trade_deadline_ms = 300").await;
    bazaar.shared.world().leader = None;
    let answer = bazaar.post_keyed("k1", BUY_3).await;
    assert_eq!((answer.status, answer.kind().as_str()), (503, "no_leader"));
    assert_eq!((answer.header("retry-after"), answer.header("idempotency-key")), ("1", "k1"));
    assert_eq!(answer.json()["error"]["outcome"], "not_applied");
    let ready = bazaar.get("/readyz").await;
    assert_eq!((ready.status, ready.kind().as_str()), (503, "no_leader"));
}

#[tokio::test]
async fn a_trade_that_may_have_happened_is_unknown_at_its_deadline() {
    let bazaar = bazaar_with("trade_deadline_ms = 300").await;
    bazaar.shared.world().lost_answers = usize::MAX;
    let answer = bazaar.post_keyed("k1", BUY_3).await;
    assert_eq!((answer.status, answer.kind().as_str()), (504, "outcome_unknown"));
    assert_eq!(answer.json()["error"]["outcome"], "unknown");
    bazaar.shared.world().lost_answers = 0;
    let again = bazaar.post_keyed("k1", BUY_3).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"));
    assert_eq!(bazaar.shared.world().orders.len(), 1);
}

#[tokio::test]
async fn more_trades_than_may_wait_are_refused_as_overload() {
    let bazaar = bazaar_with("queued_trades_max = 2").await;
    let batch = r#"{"orders":[{"key":"a","name":"BoarCo","type":"buy","quantity":1},
        {"key":"b","name":"BoarCo","type":"buy","quantity":1},{"key":"c","name":"BoarCo","type":"buy","quantity":1}]}"#;
    let answer = bazaar.post("/orders/batch", batch).await;
    assert_eq!((answer.status, answer.kind().as_str(), answer.header("retry-after")), (503, "overloaded", "1"));
    assert_eq!(answer.json()["error"]["outcome"], "not_applied");
    assert_eq!(bazaar.post("/orders", BUY_3).await.status, 200);
}

#[tokio::test]
async fn a_trade_goes_on_without_its_client() {
    let bazaar = bazaar().await;
    bazaar.shared.world().leader = None;
    let request = bazaar.post_to("/orders").header("content-type", "application/json").body(BUY_3);
    let impatient = request.timeout(std::time::Duration::from_millis(100)).send().await;
    assert!(impatient.unwrap_err().is_timeout());
    bazaar.shared.world().leader = Some(3);
    bazaar.until("the trade", |world| world.orders.len() == 1).await;
}

#[tokio::test]
async fn a_batch_is_answered_one_by_one_in_order() {
    let bazaar = bazaar().await;
    let batch = r#"{"orders":[
        {"key":"a","name":"GameStart","type":"buy","quantity":3},
        {"key":"b","name":"MenhirCo","type":"buy","quantity":1},
        {"key":"a","name":"GameStart","type":"buy","quantity":3},
        {"key":"a","name":"GameStart","type":"sell","quantity":3},
        {"key":"c","name":"BoarCo","type":"sell","quantity":1}]}"#;
    let answer = bazaar.post("/orders/batch", batch).await;
    assert_eq!(answer.status, 200);
    let data = answer.json()["data"].clone();
    assert_eq!(data[0], json!({"transaction_number": 1, "stock_version": 2}));
    assert_eq!(data[1]["error"]["kind"], "insufficient_quantity");
    assert_eq!(data[2], data[0]);
    assert_eq!(data[3]["error"]["kind"], "key_reused");
    assert_eq!(data[4], json!({"transaction_number": 2, "stock_version": 2}));
    assert_eq!(bazaar.shared.world().requests, [5]);
}

#[tokio::test]
async fn one_malformed_trade_refuses_the_whole_batch() {
    let bazaar = bazaar().await;
    let good = r#"{"key":"a","name":"BoarCo","type":"buy","quantity":1}"#;
    let too_many = vec![good; 8_193].join(",");
    for orders in ["", &format!(r#"{good},{{"key":"b","name":"BoarCo","type":"buy","quantity":0}}"#), &too_many] {
        let answer = bazaar.post("/orders/batch", format!(r#"{{"orders":[{orders}]}}"#)).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "invalid_request"));
    }
    assert!(bazaar.shared.world().orders.is_empty());
}

#[tokio::test]
async fn errors_come_as_problem_details_when_asked_for() {
    let bazaar = bazaar().await;
    let request = bazaar.post_to("/orders").header("accept", "application/problem+json").header("idempotency-key", "k");
    let answer = got(request.body(r#"{"name":"MenhirCo","type":"buy","quantity":1}"#)).await;
    assert_eq!((answer.status, answer.header("content-type")), (409, "application/problem+json"));
    assert_eq!((answer.json()["status"].clone(), answer.header("idempotency-key")), (json!(409), "k"));
}
