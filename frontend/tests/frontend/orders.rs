//! Order reads.

use serde_json::json;

use crate::fakes::{Bazaar, bazaar};

async fn with_orders(count: usize) -> Bazaar {
    let bazaar = bazaar().await;
    for number in 1..=count {
        let key = format!("key/{number} ?");
        let answer = bazaar.post_keyed(&key, r#"{"name":"BoarCo","type":"sell","quantity":2}"#).await;
        assert_eq!(answer.status, 200);
    }
    bazaar
}

#[tokio::test]
async fn an_order_is_read_back_as_it_was_made() {
    let answer = with_orders(2).await.get("/orders/2").await;
    assert_eq!(answer.status, 200);
    let wanted = r#"{"data":{"number":2,"name":"BoarCo","type":"sell","quantity":2,"price":23.75,"stock_version":3,"key":"key/2 ?"}}"#;
    assert_eq!(answer.text, wanted);
}

#[tokio::test]
async fn numbers_that_no_order_has_are_404_and_other_texts_are_400() {
    let bazaar = with_orders(1).await;
    for number in ["0", "2", "00", "18446744073709551616", "99999999999999999999999999"] {
        let answer = bazaar.get(&format!("/orders/{number}")).await;
        assert_eq!((answer.status, answer.kind().as_str()), (404, "order_not_found"), "{number}");
        assert_eq!(answer.json()["error"]["message"], "order not found");
    }
    for text in ["abc", "-1", "1.5", "1e3", "%00", "%20", "%FF", "by-key"] {
        let answer = bazaar.get(&format!("/orders/{text}")).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "invalid_request"), "{text}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_up_to_a_null() {
    let bazaar = with_orders(3).await;
    let first = bazaar.get("/orders?limit=2").await;
    let numbers = |answer: &crate::fakes::Got| {
        let data = answer.json()["data"].as_array().unwrap().clone();
        data.iter().map(|order| order["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((numbers(&first), first.json()["next_after"].clone()), (vec![1, 2], json!(2)));
    assert_eq!(first.header("x-log-index"), bazaar.shared.world().log_index.to_string());
    let second = bazaar.get("/orders?after=2&limit=2").await;
    assert_eq!((numbers(&second), second.json()["next_after"].clone()), (vec![3], json!(null)));
    for query in ["limit=0", "limit=1001", "limit=x", "after=-1", "after=18446744073709551616"] {
        let answer = bazaar.get(&format!("/orders?{query}")).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "invalid_request"), "{query}");
    }
}

#[tokio::test]
async fn a_key_tells_what_became_of_it() {
    let bazaar = with_orders(1).await;
    bazaar.post_keyed("poor", r#"{"name":"MenhirCo","type":"buy","quantity":1}"#).await;
    let order = bazaar.get("/orders/by-key/key/1%20%3F").await;
    assert_eq!((order.status, order.json()["data"]["number"].clone()), (200, json!(1)));
    let rejected = bazaar.get("/orders/by-key/poor").await;
    assert_eq!(rejected.status, 200);
    assert_eq!(
        rejected.json()["data"],
        json!({"rejection": {"kind": "insufficient_quantity", "message": "insufficient quantity: 0 available"}})
    );
    let unknown = bazaar.get("/orders/by-key/nobody%2Fever").await;
    assert_eq!((unknown.status, unknown.kind().as_str()), (404, "key_not_found"));
    assert_eq!(bazaar.get("/orders/by-key/%00").await.status, 400);
}
