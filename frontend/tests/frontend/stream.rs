//! Orders as server-sent events.

use std::time::Duration;

use bazaar_frontend::Options;
use bazaar_tests::described;
use serde_json::Value;
use tokio::time::timeout;

use crate::fakes::{Bazaar, bazaar, bazaar_of, bazaar_with, got};

/// Longest wait for a piece of a stream.
const PATIENCE: Duration = Duration::from_secs(10);
const TRADE: &str = r#"{"name":"BoarCo","type":"sell","quantity":2}"#;

/// A client that reads a stream.
struct Follower {
    response: reqwest::Response,
    text: String,
}

/// An event, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    id: u64,
    data: Value,
}

impl Follower {
    async fn open(bazaar: &Bazaar, query: &str) -> Self {
        Self::sent(bazaar.client.get(format!("http://{}/orders/stream{query}", bazaar.public))).await
    }

    async fn sent(request: reqwest::RequestBuilder) -> Self {
        let response = timeout(PATIENCE, described::open(request)).await.expect("an answer in time").unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; comments are passed over.
    async fn next(&mut self) -> Event {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if block != ": keep-alive" {
                    return event(&block);
                }
            }
            let piece = timeout(PATIENCE, self.response.chunk()).await.expect("a piece in time").unwrap();
            self.text += std::str::from_utf8(&piece.expect("the stream goes on")).unwrap();
        }
    }

    async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(self.next().await.id);
        }
        numbers
    }
}

fn event(block: &str) -> Event {
    let lines: Vec<&str> = block.lines().collect();
    let [event, id, data] = lines[..] else { panic!("{block}") };
    assert_eq!(event, "event: order");
    let id = id.strip_prefix("id: ").unwrap().parse().unwrap();
    let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["number"], id);
    Event { id, data }
}

async fn trade(bazaar: &Bazaar, count: usize) {
    for _ in 0..count {
        assert_eq!(bazaar.post("/orders", TRADE).await.status, 200);
    }
}

#[tokio::test]
async fn a_stream_begins_with_what_is_made_from_now_on() {
    let bazaar = bazaar().await;
    trade(&bazaar, 2).await;
    let mut follower = Follower::open(&bazaar, "").await;
    trade(&bazaar, 3).await;
    let first = follower.next().await;
    assert_eq!((first.id, first.data), (3, bazaar.get("/orders/3").await.json()["data"].clone()));
    assert_eq!(follower.numbers(2).await, [4, 5]);
}

#[tokio::test]
async fn a_stream_is_taken_up_where_it_was_left() {
    let bazaar = bazaar().await;
    trade(&bazaar, 4).await;
    let mut by_query = Follower::open(&bazaar, "?after=0").await;
    assert_eq!(by_query.numbers(4).await, [1, 2, 3, 4]);
    let request = bazaar.client.get(format!("http://{}/orders/stream?after=0", bazaar.public));
    let mut by_header = Follower::sent(request.header("last-event-id", "2")).await;
    trade(&bazaar, 1).await;
    assert_eq!(by_header.numbers(3).await, [3, 4, 5]);
    assert_eq!(by_query.numbers(1).await, [5]);
}

#[tokio::test]
async fn a_number_that_is_not_there_yet_is_waited_for() {
    let bazaar = bazaar().await;
    let mut follower = Follower::open(&bazaar, "?after=2").await;
    let _never = Follower::open(&bazaar, "?after=18446744073709551615").await;
    trade(&bazaar, 4).await;
    assert_eq!(follower.numbers(2).await, [3, 4]);
}

#[tokio::test]
async fn orders_of_other_frontends_come_without_a_hint() {
    let bazaar = bazaar_with("cache_size = 0").await;
    let mut follower = Follower::open(&bazaar, "").await;
    let trades = bazaar_domain::internal::SubmitTrades {
        trades: vec![bazaar_domain::Trade {
            key: bazaar_domain::IdempotencyKey::new("elsewhere").unwrap(),
            name: bazaar_domain::StockName::new("BoarCo").unwrap(),
            side: bazaar_domain::Side::Sell,
            quantity: bazaar_domain::Quantity::new(1).unwrap(),
        }],
    };
    bazaar.shared.world().take(&trades);
    assert_eq!(follower.next().await.data["key"], "elsewhere");
}

#[tokio::test]
async fn many_orders_come_whole_and_in_order_to_whoever_is_far_behind() {
    let bazaar = bazaar().await;
    let orders: Vec<String> =
        (0..3_000).map(|key| format!(r#"{{"key":"{key}","name":"BoarCo","type":"sell","quantity":1}}"#)).collect();
    let batch = format!(r#"{{"orders":[{}]}}"#, orders.join(","));
    let _recent = Follower::open(&bazaar, "").await;
    assert_eq!(bazaar.post("/orders/batch", batch).await.status, 200);
    let mut follower = Follower::open(&bazaar, "?after=0").await;
    assert_eq!(follower.numbers(3_000).await, (1..=3_000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn whoever_does_not_read_holds_nobody_up_and_misses_nothing() {
    // The lazy one is not cut off, however slow this machine is.
    let write_stall_max = Duration::from_secs(3_600);
    let bazaar = bazaar_of(Options { write_stall_max, ..Options::default() }, "").await;
    let mut lazy = Follower::open(&bazaar, "").await;
    let mut quick = Follower::open(&bazaar, "").await;
    for part in 0..20 {
        let order =
            |key| format!(r#"{{"key":"{}-{part}-{key}","name":"BoarCo","type":"sell","quantity":1}}"#, "k".repeat(200));
        let orders: Vec<String> = (0..1_000).map(order).collect();
        let batch = format!(r#"{{"orders":[{}]}}"#, orders.join(","));
        assert_eq!(bazaar.post("/orders/batch", batch).await.status, 200);
        quick.numbers(1_000).await;
    }
    assert_eq!(lazy.numbers(20_000).await, (1..=20_000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_stream_outlives_the_leader() {
    let bazaar = bazaar().await;
    trade(&bazaar, 1).await;
    let mut follower = Follower::open(&bazaar, "?after=0").await;
    assert_eq!(follower.numbers(1).await, [1]);
    bazaar.shared.world().leader = None;
    // The gateway notices at its next look.
    let gone = async { while bazaar.get("/leader").await.status != 503 {} };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    bazaar.shared.world().leader = Some(3);
    trade(&bazaar, 1).await;
    assert_eq!(follower.numbers(1).await, [2]);
}

#[tokio::test]
async fn what_is_malformed_is_400_before_the_stream_begins() {
    let bazaar = bazaar().await;
    for query in ["after=x", "after=-1", "after=", "after=1&after=2", "after=18446744073709551616"] {
        let answer = bazaar.get(&format!("/orders/stream?{query}")).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "invalid_request"), "{query}");
    }
    for id in ["x", "-1", "+1", "1.0", "", "18446744073709551616"] {
        let request = bazaar.client.get(format!("http://{}/orders/stream?after=1", bazaar.public));
        let answer = got(request.header("last-event-id", id)).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "invalid_request"), "{id}");
    }
}

#[tokio::test]
async fn nothing_is_read_while_nobody_follows() {
    let bazaar = bazaar_of(lively(), "").await;
    trade(&bazaar, 3).await;
    assert_eq!(bazaar.shared.world().reads, 0);
    drop(Follower::open(&bazaar, "").await);
    assert_ne!(bazaar.shared.world().reads, 0);
    let gone = async { while streams_open(&bazaar).await != 0 {} };
    timeout(PATIENCE, gone).await.expect("the stream ends");
    // What was under way is answered before this.
    assert_eq!(bazaar.get("/orders/1").await.status, 200);
    let before = bazaar.shared.world().reads;
    // A hint that there is something new, which nobody wants to know.
    trade(&bazaar, 1).await;
    assert_eq!(bazaar.get("/orders/4").await.status, 200);
    assert_eq!(bazaar.shared.world().reads, before + 1, "only the order that was asked for");
}

/// A client that went away is noticed when something is sent to it.
fn lively() -> Options {
    Options { keep_alive_every: Duration::from_millis(20), ..Options::default() }
}

async fn streams_open(bazaar: &Bazaar) -> u64 {
    let metrics = got(bazaar.client.get(format!("http://{}/metrics", bazaar.admin))).await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("bazaar_frontend_streams_open "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn only_so_many_streams_are_open_at_a_time() {
    let bazaar = bazaar_of(Options { streams_max: 1, ..lively() }, "").await;
    let first = Follower::open(&bazaar, "").await;
    let refused = bazaar.get("/orders/stream").await;
    assert_eq!((refused.status, refused.kind().as_str()), (503, "overloaded"));
    drop(first);
    let again = async {
        let url = format!("http://{}/orders/stream", bazaar.public);
        while bazaar.client.get(&url).send().await.unwrap().status() != 200 {}
    };
    timeout(PATIENCE, again).await.expect("there is room again");
}

#[tokio::test]
async fn open_streams_and_sent_orders_are_counted() {
    let bazaar = bazaar().await;
    let mut follower = Follower::open(&bazaar, "").await;
    trade(&bazaar, 2).await;
    follower.numbers(2).await;
    let metrics = got(bazaar.client.get(format!("http://{}/metrics", bazaar.admin))).await.text;
    for line in ["bazaar_frontend_streams_open 1", "bazaar_frontend_stream_events_total 2"] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn streams_end_by_themselves_when_the_frontend_stops() {
    let bazaar = bazaar().await;
    let mut reading = Follower::open(&bazaar, "").await;
    let stopping = tokio::spawn(bazaar.stop());
    // An end, and not an error: the stream was finished, before the connections are cut off.
    let end = timeout(PATIENCE, reading.response.chunk()).await.expect("the end in time");
    assert_eq!(end.unwrap(), None);
    stopping.await.unwrap();
}
