//! Malformed requests: answered with the contract's errors, never with a 5xx, and nothing is traded.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::fakes::{Bazaar, bazaar, got};

fn with_quantity(quantity: &str) -> Vec<u8> {
    format!(r#"{{"name":"GameStart","type":"buy","quantity":{quantity}}}"#).into_bytes()
}

fn with_name(name: &str) -> Vec<u8> {
    format!(r#"{{"name":{name},"type":"buy","quantity":1}}"#).into_bytes()
}

/// Bodies that `POST /orders` refuses with 400.
fn bad_bodies() -> Vec<Vec<u8>> {
    let quantities = ["0", "-1", "1.5", "\"5\"", "1e3", "null", "9223372036854775808", "18446744073709551616", "[1]"];
    let long = format!("\"{}\"", "x".repeat(10_000));
    let names = ["\"\"", &long, "\"../x\"", "\"\\u0000\"", "\"a\\r\\nb\"", "\"\u{202e}x\"", "null", "7"];
    let others: [&[u8]; 14] = [
        b"",
        b"{",
        b"null",
        b"[]",
        br#"["GameStart","buy",1]"#,
        br#"{"name":"GameStart","type":"buy"}"#,
        br#"{"name":"GameStart","type":"take","quantity":1}"#,
        br#"{"name":"GameStart","type":"buy","quantity":1,"quantity":1}"#,
        br#"{"name":"GameStart","type":"buy","quantity":1,"more":1}"#,
        br#"{"name":"GameStart","type":"buy","quantity":1} x"#,
        br#"{"name":"GameStart","type":"buy","quantity":1"#,
        b"\xef\xbb\xbf{\"name\":\"GameStart\",\"type\":\"buy\",\"quantity\":1}",
        b"{\"name\":\"Game\xff\",\"type\":\"buy\",\"quantity\":1}",
        br#"{"stock_name":"GameStart","stock_name":"GameStart","trade_type":"buy","quantity":1}"#,
    ];
    let mut bodies: Vec<Vec<u8>> = quantities.iter().map(|quantity| with_quantity(quantity)).collect();
    bodies.extend(names.iter().map(|name| with_name(name)));
    bodies.extend(others.iter().map(|body| body.to_vec()));
    // As deep as fits into the largest body.
    bodies.push("[".repeat(16_000).into_bytes());
    bodies.push("{\"a\":".repeat(3_000).into_bytes());
    bodies
}

#[tokio::test]
async fn a_malformed_trade_is_400_and_carries_its_key() {
    let bazaar = bazaar().await;
    for body in bad_bodies() {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = bazaar.post("/orders", body).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "invalid_request"), "{shown:.80}");
        assert_eq!(answer.json()["error"]["outcome"], "not_applied", "{shown:.80}");
        assert!(!answer.header("idempotency-key").is_empty(), "{shown:.80}");
    }
    assert!(bazaar.shared.world().requests.is_empty());
}

#[tokio::test]
async fn a_malformed_key_is_400() {
    let bazaar = bazaar().await;
    let body = r#"{"name":"GameStart","type":"buy","quantity":1}"#;
    for key in [&b""[..], &[b'x'; 256], b"t\xc3\xa4st", b"a\tb"] {
        let answer = got(bazaar.post_to("/orders").header("idempotency-key", key).body(body)).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "invalid_request"));
        assert_eq!(answer.header("idempotency-key"), "");
    }
    let request = bazaar.post_to("/orders").header("idempotency-key", "a").header("idempotency-key", "b");
    assert_eq!(got(request.body(body)).await.status, 400);
    assert_eq!(bazaar.post_keyed(&"x".repeat(255), body).await.status, 200);
}

#[tokio::test]
async fn other_media_types_and_encodings_are_415() {
    let bazaar = bazaar().await;
    let body = r#"{"name":"GameStart","type":"buy","quantity":1}"#;
    for path in ["/orders", "/orders/batch"] {
        let text = got(bazaar.post_to(path).header("content-type", "text/plain").body(body)).await;
        assert_eq!((text.status, text.kind().as_str()), (415, "unsupported_media_type"));
        let json = bazaar.post_to(path).header("content-type", "application/json");
        assert_eq!(got(json.header("content-encoding", "gzip").body(body)).await.status, 415);
        let two_types = bazaar.post_to(path).header("content-type", "application/json");
        assert_eq!(got(two_types.header("content-type", "text/plain").body(body)).await.status, 415);
        let two_encodings = bazaar.post_to(path).header("content-encoding", "identity");
        assert_eq!(got(two_encodings.header("content-encoding", "gzip").body(body)).await.status, 415);
    }
    let charset = bazaar.post_to("/orders").header("content-type", "application/json; charset=utf-8");
    assert_eq!(got(charset.body(body)).await.status, 200);
}

#[tokio::test]
async fn a_body_over_its_cap_is_413() {
    let bazaar = bazaar().await;
    for (path, cap) in [("/orders", 16 * 1024), ("/order", 16 * 1024), ("/orders/batch", 4 * 1024 * 1024)] {
        let media = if path == "/order" { "application/x-www-form-urlencoded" } else { "application/json" };
        let answer = got(bazaar.post_to(path).header("content-type", media).body(vec![b' '; cap + 1])).await;
        assert_eq!((answer.status, answer.kind().as_str()), (413, "payload_too_large"), "{path}");
    }
}

#[tokio::test]
async fn no_path_and_no_method_leads_to_a_5xx() {
    let bazaar = bazaar().await;
    let long = "x".repeat(10_000);
    let cases = [
        ("/stocks/..%2Fx", 400),
        ("/stocks/%00", 400),
        ("/stocks/a%0D%0Ab", 400),
        ("/stocks/%E2%80%AEx", 400),
        ("/stocks/%FF", 400),
        ("/stocks/", 404),
        ("/stocks/a/b", 404),
        (&format!("/stocks/{long}"), 400),
        ("/lookup?stock=%FF", 400),
        ("/orders?order_no=", 400),
        ("/orders?after=1&after=2", 400),
        ("/nowhere", 404),
        ("/", 404),
        ("/orders/1/2", 404),
        ("/orders/batch", 405),
    ];
    for (path, status) in cases {
        let answer = bazaar.get(path).await;
        assert_eq!((answer.status, answer.kind().is_empty()), (status, false), "{path:.80}");
    }
    let wrong = got(bazaar.client.delete(format!("http://{}/orders", bazaar.public))).await;
    assert_eq!((wrong.status, wrong.kind().as_str()), (405, "method_not_allowed"));
}

/// Sends raw bytes and reads until the answer's head is there or the connection is closed.
async fn raw(bazaar: &Bazaar, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(bazaar.public).await.unwrap();
    // The frontend may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = async {
        let mut part = [0; 4_096];
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => break,
                Ok(length) => answer.extend_from_slice(&part[..length]),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("an answer or the end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_that_break_http_are_refused_and_trade_nothing() {
    let bazaar = bazaar().await;
    let body = r#"{"name":"GameStart","type":"buy","quantity":1}"#;
    let length = body.len();
    let head = "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let many = format!("GET /stocks/GameStart HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(500_000));
    let cases = [
        format!("{head}content-length: {length}\r\ncontent-length: 3\r\n\r\n{body}"),
        format!("{head}content-length: -1\r\n\r\n{body}"),
        format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"),
        format!("POST /orders HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("{head}host: y\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("{head}transfer-encoding: gzip, chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        "NONSENSE\r\n\r\n".to_owned(),
        many,
    ];
    for case in cases {
        let answer = raw(&bazaar, case.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{case:.120} got {answer}");
    }
    assert!(bazaar.shared.world().requests.is_empty());
    assert_eq!(bazaar.post("/orders", body).await.status, 200);
}
