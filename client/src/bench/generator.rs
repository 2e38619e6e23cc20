//! The requests of one connection, made from templates in which only keys and numbers change. Pure.

use std::{fmt::Write as _, io::Write as _, sync::Arc};

use bazaar_domain::{Side, StockName, api::ErrorBody};

use super::Kind;

/// Hexadecimal digits of the part of a key that changes.
const KEY_DIGITS: usize = 16;
/// In a mixed load, one request of so many is a trade.
const MIXED_PERIOD: u64 = 5;
/// What an accepted trade's answer holds once.
const RECEIPT_MARK: &str = "\"transaction_number\"";

/// What the requests of all connections are made of.
#[derive(Debug)]
pub struct Scene {
    /// What is measured.
    pub kind: Kind,
    /// The headers of every request, each with its line's end: host, and token if there is one.
    pub headers: String,
    /// The stocks to spread over.
    pub stocks: Vec<StockName>,
    /// Orders 1 to this number exist.
    pub orders: u64,
    /// Trades in a batch.
    pub batch_size: usize,
    /// Tells this run's keys from those of other runs.
    pub run: u64,
}

/// A request with places for keys.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    key_offsets: Vec<usize>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Trades accepted, stocks or orders shown.
    pub operations: u64,
    /// What failed, and how often.
    pub error: Option<(String, u64)>,
}

/// Makes one connection's requests, one after the other.
#[derive(Debug)]
pub struct Generator {
    scene: Arc<Scene>,
    /// One for each stock and side, or one for each stock, or one for each side of a batch.
    trades: Vec<Template>,
    lookups: Vec<Template>,
    /// The newest order read, made again in the same place.
    order: Vec<u8>,
    /// Requests made; the first one depends on the connection, so that they do not all want the same stock at once.
    made: u64,
    keys: u64,
    random: u64,
}

impl Generator {
    /// The generator of a connection.
    pub fn new(scene: Arc<Scene>, connection: u64) -> Self {
        let headers = scene.headers.as_str();
        let prefix = format!("bench-{:016x}-{connection:x}-", scene.run);
        let trades = match scene.kind {
            Kind::Batch => [Side::Buy, Side::Sell].map(|side| batch(headers, &prefix, &scene, side)).into(),
            Kind::Trade | Kind::Mixed => {
                let each = |side| scene.stocks.iter().map(move |name| (*name, side));
                let all = each(Side::Buy).chain(each(Side::Sell));
                all.map(|(name, side)| trade(headers, &prefix, name, side)).collect()
            }
            Kind::Lookup | Kind::Order => Vec::new(),
        };
        let lookups = scene.stocks.iter().map(|name| get(headers, &format!("/stocks/{name}"))).collect();
        Self { scene, trades, lookups, order: Vec::new(), made: connection, keys: 0, random: connection + 1 }
    }

    /// The next request, whole.
    pub fn next_request(&mut self) -> &[u8] {
        let turn = self.made;
        self.made += 1;
        match self.scene.kind {
            Kind::Lookup => self.next_lookup(turn),
            Kind::Order => self.next_order(),
            Kind::Trade | Kind::Batch => self.next_trade(turn),
            Kind::Mixed if turn.is_multiple_of(MIXED_PERIOD) => self.next_trade(turn / MIXED_PERIOD),
            Kind::Mixed => self.next_lookup(turn),
        }
    }

    fn next_lookup(&self, turn: u64) -> &[u8] {
        &self.lookups[at(turn, self.lookups.len())].bytes
    }

    fn next_trade(&mut self, turn: u64) -> &[u8] {
        let index = at(turn, self.trades.len());
        let template = &mut self.trades[index];
        for offset in &template.key_offsets {
            write_hex(&mut template.bytes[*offset..*offset + KEY_DIGITS], self.keys);
            self.keys += 1;
        }
        &template.bytes
    }

    fn next_order(&mut self) -> &[u8] {
        // A linear congruential generator (Knuth's constants): its high bits are random enough to pick an order.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = 1 + (self.random >> 16) % self.scene.orders;
        self.order.clear();
        let headers = &self.scene.headers;
        write!(self.order, "GET /orders/{number} HTTP/1.1\r\n{headers}\r\n").expect("writing to a vector cannot fail");
        &self.order
    }

    /// What an answer to the newest request means.
    pub fn judge(&self, status: u16, body: &[u8]) -> Outcome {
        if status != 200 {
            let kind = serde_json::from_slice::<ErrorBody>(body).map_or("?", |body| body.error.kind.as_str());
            return Outcome { operations: 0, error: Some((format!("status {status} {kind}"), 1)) };
        }
        if self.scene.kind != Kind::Batch {
            return Outcome { operations: 1, error: None };
        }
        let accepted = std::str::from_utf8(body).map_or(0, |text| text.matches(RECEIPT_MARK).count()) as u64;
        let refused = (self.scene.batch_size as u64).saturating_sub(accepted);
        Outcome { operations: accepted, error: (refused > 0).then(|| ("refused in a batch".to_owned(), refused)) }
    }
}

fn at(turn: u64, len: usize) -> usize {
    usize::try_from(turn % len as u64).expect("below a length")
}

fn write_hex(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::try_from(number & 15).expect("below 16")];
        number >>= 4;
    }
}

fn get(headers: &str, path: &str) -> Template {
    let text = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
    Template { bytes: text.into_bytes(), key_offsets: Vec::new() }
}

fn trade(headers: &str, prefix: &str, name: StockName, side: Side) -> Template {
    let body = format!(r#"{{"name":"{name}","type":"{side}","quantity":1}}"#);
    let mut text = format!("POST /orders HTTP/1.1\r\n{headers}idempotency-key: {prefix}");
    let key_offsets = vec![text.len()];
    let length = body.len();
    let zeros = "0".repeat(KEY_DIGITS);
    write!(text, "{zeros}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .expect("writing to a string cannot fail");
    Template { bytes: text.into_bytes(), key_offsets }
}

/// A batch that goes over all stocks in turn, and alternates between the sides from one trade to the next round.
fn batch(headers: &str, prefix: &str, scene: &Scene, first: Side) -> Template {
    let other = if first == Side::Buy { Side::Sell } else { Side::Buy };
    let mut body = String::from("{\"orders\":[");
    let mut key_offsets = Vec::with_capacity(scene.batch_size);
    for turn in 0..scene.batch_size {
        let name = scene.stocks[turn % scene.stocks.len()];
        let side = if turn.is_multiple_of(2) { first } else { other };
        body += if turn == 0 { "{\"key\":\"" } else { ",{\"key\":\"" };
        body += prefix;
        key_offsets.push(body.len());
        let zeros = "0".repeat(KEY_DIGITS);
        write!(body, r#"{zeros}","name":"{name}","type":"{side}","quantity":1}}"#)
            .expect("writing to a string cannot fail");
    }
    body += "]}";
    let length = body.len();
    let head = format!(
        "POST /orders/batch HTTP/1.1\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    key_offsets.iter_mut().for_each(|offset| *offset += head.len());
    Template { bytes: (head + &body).into_bytes(), key_offsets }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use bazaar_domain::api::{TradeBatchBody, TradeBody};

    use super::*;

    fn scene(kind: Kind) -> Arc<Scene> {
        let stocks = ["A", "B", "C"].map(|name| StockName::new(name).unwrap()).into();
        Arc::new(Scene { kind, headers: "host: 127.0.0.1:8080\r\n".into(), stocks, orders: 9, batch_size: 6, run: 7 })
    }

    fn split(request: &[u8]) -> (String, String) {
        let text = String::from_utf8(request.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn trades_have_unique_keys_and_go_evenly_over_stocks_and_sides() {
        let mut generator = Generator::new(scene(Kind::Trade), 1);
        let mut keys = HashSet::new();
        let mut spread: BTreeMap<(StockName, Side), u64> = BTreeMap::new();
        for _ in 0..60 {
            let (head, body) = split(generator.next_request());
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let key = head.lines().find(|line| line.starts_with("idempotency-key")).unwrap();
            assert!(keys.insert(key.to_owned()), "{key}");
            let trade: TradeBody = serde_json::from_str(&body).unwrap();
            *spread.entry((trade.name, trade.side)).or_default() += 1;
        }
        assert_eq!(spread.into_values().collect::<Vec<_>>(), [10; 6]);
    }

    #[test]
    fn batches_are_valid_and_never_repeat_a_key_within_or_between_connections() {
        let scene = scene(Kind::Batch);
        let mut keys = HashSet::new();
        for connection in 0..2 {
            let mut generator = Generator::new(Arc::clone(&scene), connection);
            for _ in 0..4 {
                let (head, body) = split(generator.next_request());
                assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
                let batch: TradeBatchBody = serde_json::from_str(&body).unwrap();
                assert_eq!(batch.orders.len(), 6);
                assert_eq!(batch.orders.iter().filter(|trade| trade.side == Side::Buy).count(), 3);
                assert!(batch.orders.into_iter().all(|trade| keys.insert(trade.key)));
            }
        }
    }

    #[test]
    fn a_mixed_load_has_one_trade_in_five_and_order_reads_stay_in_range() {
        let mut generator = Generator::new(scene(Kind::Mixed), 0);
        let posts = (0..50).filter(|_| generator.next_request().starts_with(b"POST")).count();
        assert_eq!(posts, 10);
        let mut generator = Generator::new(scene(Kind::Order), 0);
        for _ in 0..100 {
            let (head, _) = split(generator.next_request());
            let number: u64 = head.split(['/', ' ']).nth(3).unwrap().parse().unwrap();
            assert!((1..=9).contains(&number));
        }
    }

    #[test]
    fn answers_are_counted_by_what_they_did() {
        let one = Generator::new(scene(Kind::Trade), 0);
        assert_eq!(one.judge(200, b"{}"), Outcome { operations: 1, error: None });
        let body = br#"{"error":{"code":503,"message":"m","kind":"no_leader"}}"#;
        assert_eq!(one.judge(503, body).error, Some(("status 503 no_leader".into(), 1)));
        assert_eq!(one.judge(502, b"<html>").error, Some(("status 502 ?".into(), 1)));
        let batch = Generator::new(scene(Kind::Batch), 0);
        let receipt = r#"{"transaction_number":8,"stock_version":13}"#;
        let body = format!(r#"{{"data":[{receipt},{receipt},{receipt},{receipt},{receipt},{{"error":{{}}}}]}}"#);
        let outcome = batch.judge(200, body.as_bytes());
        assert_eq!(outcome, Outcome { operations: 5, error: Some(("refused in a batch".into(), 1)) });
    }
}
