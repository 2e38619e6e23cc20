//! The express way and the router give the same answers.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::fakes::{Bazaar, bazaar};

/// Makes a request one for the router, and changes nothing else.
const FOR_THE_ROUTER: &str = "x-unknown: 1\r\n";

/// What answers are compared by: all but the time.
#[derive(Debug, PartialEq, Eq)]
struct Compared {
    status: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Sends one request on a connection of its own and reads the whole answer.
async fn send(bazaar: &Bazaar, line: &str, headers: &str, body: &str) -> Compared {
    let mut stream = TcpStream::connect(bazaar.public).await.unwrap();
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\nx-request-id: r\r\n{headers}{length}\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    // Nothing more follows, so the frontend closes after its answer.
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let (status, rest) = head.split_once("\r\n").expect("headers");
    let headers = rest.split("\r\n").filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers = headers.filter(|(name, _)| name != "date" && name != "connection").collect();
    Compared { status: status.to_owned(), headers, body: body.to_owned() }
}

/// How many requests the express way has answered in this process; exact where each test has a process of its own.
fn on_the_express_way() -> u64 {
    let text = bazaar_service::http::metrics_handle().render();
    let count = text.lines().find_map(|line| line.strip_prefix("bazaar_express_requests_total ")?.parse().ok());
    count.unwrap_or(0)
}

#[tokio::test]
async fn plain_lookups_and_trades_go_the_express_way() {
    let bazaar = bazaar().await;
    for (line, headers, body) in [
        ("GET /stocks/GameStart", "user-agent: x\r\naccept: */*\r\n", ""),
        ("GET /stocks/Nobody", "accept: application/json\r\nconnection: keep-alive\r\n", ""),
        ("POST /orders", "content-type: application/json\r\n", r#"{"name":"GameStart","type":"buy","quantity":1}"#),
        ("POST /orders", "idempotency-key: k\r\n", r#"{"quantity":1,"type":"sell","name":"GameStart"}"#),
    ] {
        let before = on_the_express_way();
        send(&bazaar, line, headers, body).await;
        assert!(on_the_express_way() > before, "{line} {headers}");
    }
}

#[tokio::test]
async fn both_ways_answer_the_same() {
    let bazaar = bazaar().await;
    let json = "content-type: application/json\r\n";
    let trade = |quantity: u64| format!(r#"{{"name":"GameStart","type":"buy","quantity":{quantity}}}"#);
    let keyed = |key: &str| format!("{json}idempotency-key: {key}\r\n");
    // Both ways see a cached stock, and both a key that was decided before.
    send(&bazaar, "GET /stocks/GameStart", "", "").await;
    send(&bazaar, "POST /orders", &keyed("known"), &trade(1)).await;
    let cases = [
        ("GET /stocks/GameStart", String::new(), String::new()),
        ("GET /stocks/Nobody", String::new(), String::new()),
        ("GET /stocks/no%20name", String::new(), String::new()),
        ("GET /stocks/GameStart?consistency=stale", String::new(), String::new()),
        ("GET /stocks/", String::new(), String::new()),
        ("POST /orders", keyed("known"), trade(1)),
        ("POST /orders", keyed("known"), trade(2)),
        ("POST /orders", keyed("k\u{e9}y"), trade(1)),
        ("POST /orders", keyed(&"k".repeat(256)), trade(1)),
        ("POST /orders", keyed("nothing"), trade(0)),
        ("POST /orders", keyed("no-json"), "{".into()),
        ("POST /orders", keyed("an-array"), r#"["GameStart","buy",1]"#.into()),
        ("POST /orders", "content-type: text/plain\r\nidempotency-key: t\r\n".into(), trade(1)),
        ("POST /orders", keyed("large"), format!("{}{}", trade(1), " ".repeat(70_000))),
        ("POST /other", keyed("other"), trade(1)),
        ("POST /orders", keyed("older"), r#"{"stock_name":"GameStart","type":"buy","quantity":1}"#.into()),
        ("POST /orders", format!("{}accept: application/problem+json\r\n", keyed("problem")), trade(0)),
        ("POST /orders", format!("{}{}", keyed("one"), "idempotency-key: two\r\n"), trade(1)),
        ("POST /orders", "content-type:\r\nidempotency-key: typeless\r\n".into(), trade(1)),
        ("GET /stocks/GameStart", "if-none-match: *\r\n".into(), String::new()),
        ("HEAD /stocks/GameStart", String::new(), String::new()),
    ];
    for (line, headers, body) in cases {
        let express = send(&bazaar, line, &headers, &body).await;
        let routed = send(&bazaar, line, &format!("{headers}{FOR_THE_ROUTER}"), &body).await;
        assert_eq!(express, routed, "{line} {headers} {body:.80}");
    }
}
