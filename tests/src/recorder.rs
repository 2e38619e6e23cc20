//! What clients ask, and a [`History`] of what they are shown.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use bazaar_linear::{
    Recorded,
    stock::{Answer, Shown},
};
use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::{
    cluster::STOCKS,
    described,
    history::{Claim, History, LISTING, ORDERS, Seen, Violation},
};

/// Longer than the service holds any request, after it was halted for the longest time there is.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Orders of a page.
const PAGE_ORDERS: u64 = 500;
/// A large prime: its multiples are spread over all accepted orders, old and new.
const STEP: u64 = 2_147_483_647;

/// Why a request brought nothing.
#[derive(Debug)]
pub struct Failed {
    /// What became of it.
    pub how: How,
    /// What there is to say about it.
    pub error: anyhow::Error,
}

/// What became of a request that brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was refused in order, with 503 or 504.
    Refused(StatusCode),
    /// Its connection ended without an answer, or with half of one.
    Lost,
    /// There were not enough: an answer like any other, and the same each time.
    Rejected,
    /// It got an answer that no fault excuses, or none at all on a connection that lasts.
    Wrong,
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self { how: How::Wrong, error }
    }
}

fn violation(text: String) -> Failed {
    anyhow::Error::from(Violation(text)).into()
}

/// An order that a client sends.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its idempotency key.
    pub key: String,
    /// The stock.
    pub stock: &'static str,
    /// `buy` or `sell`.
    pub side: &'static str,
    /// How many.
    pub quantity: u64,
}

impl Order {
    /// The order that a record of an accepted one is about.
    fn of(record: &Value) -> Option<Self> {
        let key = record["key"].as_str()?.to_owned();
        let stock = STOCKS.into_iter().find(|stock| record["name"] == *stock)?;
        let side = ["buy", "sell"].into_iter().find(|side| record["type"] == *side)?;
        Some(Self { key, stock, side, quantity: record["quantity"].as_u64()? })
    }

    /// As an item of a batch.
    fn item(&self) -> Value {
        json!({ "key": self.key, "name": self.stock, "type": self.side, "quantity": self.quantity })
    }
}

/// What was asked, and when.
#[derive(Debug)]
pub struct Asked {
    began: Duration,
    by: Arc<str>,
}

impl Asked {
    /// When it was first sent.
    pub fn began(&self) -> Duration {
        self.began
    }
}

/// What was accepted.
#[derive(Debug, Default)]
struct Accepted {
    receipts: HashMap<String, Value>,
    /// In the form in which orders are read, by clients and by `bazaar check`.
    orders: Vec<Value>,
}

/// What the check of linearizability goes by.
#[derive(Debug, Default)]
struct Operations {
    answered: Vec<Recorded>,
    /// Trades that were sent and may have happened, by their keys and when they were first sent: several clients may send
    /// one.
    under_way: HashMap<(String, Duration), Recorded>,
}

/// Asks one frontend, or the catalog, and records what it shows.
#[derive(Debug, Clone)]
pub struct Recorder {
    client: reqwest::Client,
    history: Arc<History>,
    operations: Arc<Mutex<Operations>>,
    accepted: Arc<Mutex<Accepted>>,
    name: String,
    url: String,
}

impl Recorder {
    /// A recorder with an empty history, which asks nobody.
    ///
    /// # Errors
    /// If there can be no HTTP client.
    pub fn new() -> Result<Self> {
        let client = bazaar_service::tls::http_client().timeout(REQUEST_TIMEOUT).build()?;
        let (history, operations, accepted) = Default::default();
        Ok(Self { client, history, operations, accepted, name: String::new(), url: String::new() })
    }

    /// One with the same history that asks this one.
    pub fn at(&self, name: String, url: String) -> Self {
        Self { name, url, ..self.clone() }
    }

    /// Whom it asks.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was recorded so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    fn accepted(&self) -> MutexGuard<'_, Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every trade and lookup that was answered, and the trades that were not yet, for the check of linearizability.
    pub fn operations(&self) -> Vec<Recorded> {
        let operations = self.operations_mut();
        operations.answered.iter().chain(operations.under_way.values()).cloned().collect()
    }

    fn operations_mut(&self) -> MutexGuard<'_, Operations> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a trade is sent, for the first time or again.
    fn note_sent(&self, asked: &Asked, order: &Order) {
        let under_way = || {
            let trade = if order.side == "sell" { Recorded::sell } else { Recorded::buy };
            trade(order.stock, &asked.by, micros(asked.began), order.quantity, &order.key)
        };
        self.operations_mut().under_way.entry((order.key.clone(), asked.began)).or_insert_with(under_way);
    }

    /// Notes how it was answered.
    fn note_answer(&self, asked: &Asked, order: &Order, answer: Answer) {
        let now = micros(self.history.now());
        let mut operations = self.operations_mut();
        if let Some(trade) = operations.under_way.remove(&(order.key.clone(), asked.began)) {
            operations.answered.push(trade.answered(now, answer));
        }
    }

    /// The order that was accepted last.
    pub fn newest_order(&self) -> Option<Value> {
        self.accepted().orders.last().cloned()
    }

    /// One of the orders that were accepted, whichever `number` means.
    pub fn accepted_order(&self, number: u64) -> Option<Order> {
        let accepted = self.accepted();
        let count = u64::try_from(accepted.orders.len()).ok()?;
        let place = number.wrapping_mul(STEP).checked_rem(count)?;
        Order::of(accepted.orders.get(usize::try_from(place).ok()?)?)
    }

    /// All accepted orders, one in each line, as `bazaar check` reads them.
    pub fn records(&self) -> String {
        self.accepted().orders.iter().map(|order| format!("{order}\n")).collect()
    }

    /// The beginning of an operation.
    pub fn asks(&self, what: &str) -> Asked {
        Asked { by: format!("{what} at the {}", self.name).into(), began: self.history.now() }
    }

    async fn send(&self, asked: &Asked, request: RequestBuilder) -> Result<(HeaderMap, Value), Failed> {
        let lost = |error: reqwest::Error| {
            let how = if error.is_timeout() { How::Wrong } else { How::Lost };
            Failed { how, error: anyhow!("{}: no answer: {error:?}", asked.by) }
        };
        let answer = described::send(request).await.map_err(|error| match error.downcast() {
            Ok(error) => lost(error),
            Err(undescribed) => Failed { how: How::Wrong, error: undescribed },
        })?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.map_err(lost)?;
        let text = || format!("{}: {status} {}", asked.by, String::from_utf8_lossy(&bytes));
        let how = match status {
            StatusCode::OK => return Ok((headers, serde_json::from_slice(&bytes).with_context(text)?)),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => How::Refused(status),
            StatusCode::CONFLICT => How::Rejected,
            _ => How::Wrong,
        };
        Err(Failed { how, error: anyhow!(text()) })
    }

    async fn get(&self, asked: &Asked, path: &str) -> Result<(HeaderMap, Value), Failed> {
        self.send(asked, self.client.get(format!("{}{path}", self.url))).await
    }

    fn seen(&self, asked: &Asked, claim: Claim, of: &str, version: u64) -> Seen {
        let (began, by, ended) = (asked.began, Arc::clone(&asked.by), self.history.now());
        Seen { of: of.into(), version, quantity: None, claim, began, ended, by }
    }

    /// Sends one order, or several as one batch, which becomes one log entry.
    ///
    /// # Errors
    /// If they are not accepted; if they were before, and the receipts are others now. One that is rejected, because there
    /// are not enough, is an error too.
    pub async fn trade(&self, asked: &Asked, orders: &[Order]) -> Result<(), Failed> {
        orders.iter().for_each(|order| self.note_sent(asked, order));
        let receipts = match orders {
            [order] => {
                let post = self.client.post(format!("{}/orders", self.url)).header("Idempotency-Key", &order.key);
                let body = json!({ "name": order.stock, "type": order.side, "quantity": order.quantity });
                match self.send(asked, post.json(&body)).await {
                    Ok((_, mut answer)) => vec![answer["data"].take()],
                    Err(failed) => {
                        if failed.how == How::Rejected {
                            self.note_answer(asked, order, Answer::Rejected(Shown::default()));
                        }
                        return Err(failed);
                    }
                }
            }
            orders => {
                let post = self.client.post(format!("{}/orders/batch", self.url));
                let body = json!({ "orders": orders.iter().map(Order::item).collect::<Vec<_>>() });
                let mut answer = self.send(asked, post.json(&body)).await?.1;
                (0..orders.len()).map(|n| answer["data"][n].take()).collect()
            }
        };
        for (order, receipt) in orders.iter().zip(receipts) {
            self.note_trade(asked, order, receipt)?;
        }
        Ok(())
    }

    fn note_trade(&self, asked: &Asked, order: &Order, receipt: Value) -> Result<(), Failed> {
        let field = |field| receipt[field].as_u64().with_context(|| format!("{}: no {field}: {receipt}", asked.by));
        let (number, version) = (field("transaction_number")?, field("stock_version")?);
        self.note_answer(asked, order, Answer::Accepted(Shown::version(version)));
        let mut accepted = self.accepted();
        if let Some(first) = accepted.receipts.get(&order.key) {
            let others = || violation(format!("{}: {first}, and then {receipt}", asked.by));
            return (*first == receipt).then_some(()).ok_or_else(others);
        }
        self.history
            .note([(order.stock, version), (ORDERS, number)].map(|(of, it)| self.seen(asked, Claim::Made, of, it)));
        let mut record = order.item();
        (record["number"], record["stock_version"]) = (number.into(), version.into());
        accepted.orders.push(record);
        accepted.receipts.insert(order.key.clone(), receipt);
        Ok(())
    }

    /// Looks a stock up; returns whether a cache had it.
    ///
    /// # Errors
    /// If it is not shown.
    pub async fn look(&self, stock: &str) -> Result<bool, Failed> {
        let mut asked = self.asks("lookup");
        let (headers, body) = self.get(&asked, &format!("/stocks/{stock}")).await?;
        let hit = headers.get("x-cache").is_some_and(|by| by == "hit");
        if hit {
            asked.by = format!("{}, a hit", asked.by).into();
        }
        self.history.note([self.shown_stock(&asked, &body["data"])?]);
        Ok(hit)
    }

    fn shown_stock(&self, asked: &Asked, stock: &Value) -> Result<Seen> {
        let number = |field| stock[field].as_u64().with_context(|| format!("{}: no {field}: {stock}", asked.by));
        let name = stock["name"].as_str().context("a name")?;
        let (quantity, version) = (number("quantity")?, number("version")?);
        let lookup = Recorded::lookup(name, &asked.by, micros(asked.began));
        let shown = Answer::Shown(Shown::both(quantity, version));
        self.operations_mut().answered.push(lookup.answered(micros(self.history.now()), shown));
        Ok(Seen { quantity: Some(quantity), ..self.seen(asked, Claim::Current, name, version) })
    }

    /// Lists all stocks. The two of `pair` must have the same version in every list, since they only change together.
    ///
    /// # Errors
    /// If they are not shown, or not as they were at one moment.
    pub async fn list(&self, pair: [&str; 2]) -> Result<(), Failed> {
        let asked = self.asks("list");
        let (headers, body) = self.get(&asked, "/stocks").await?;
        let index = headers.get("x-log-index").and_then(|value| value.to_str().ok()?.parse().ok());
        let index = index.context("a list says at which log index it holds")?;
        let stocks = body["data"].as_array().context("a list")?;
        let mut shown = stocks.iter().map(|stock| self.shown_stock(&asked, stock)).collect::<Result<Vec<_>>>()?;
        let [a, b] = pair.map(|name| shown.iter().find(|seen| seen.of == name).map(|seen| seen.version));
        if a.is_none() || a != b {
            return Err(violation(format!("{}: half of an entry, at index {index}: {a:?}, {b:?}", asked.by)));
        }
        shown.push(self.seen(&asked, Claim::Current, LISTING, index));
        self.history.note(shown);
        Ok(())
    }

    /// Reads the page after an order number; returns the number to go on after, the same one if nothing new is there.
    ///
    /// # Errors
    /// If it is not shown, or skips or repeats an order.
    pub async fn page(&self, after: u64) -> Result<u64, Failed> {
        let asked = self.asks(&format!("page after {after}"));
        let (_, page) = self.get(&asked, &format!("/orders?after={after}&limit={PAGE_ORDERS}")).await?;
        let orders = page["data"].as_array().context("a page")?;
        if let Some((order, expected)) = orders.iter().zip(after + 1..).find(|(order, it)| order["number"] != *it) {
            return Err(violation(format!("{}: {order} where {expected} belongs", asked.by)));
        }
        let last = after + orders.len() as u64;
        // A page with more behind it says nothing about the newest order.
        if page["next_after"].is_null() {
            self.history.note([self.seen(&asked, Claim::Current, ORDERS, last)]);
        }
        self.history.note(orders.iter().map(|order| self.shown_order(&asked, order)).collect::<Result<Vec<_>>>()?);
        Ok(last)
    }

    /// Reads an order that was accepted.
    ///
    /// # Errors
    /// If it is not shown, or not as it was accepted.
    pub async fn order(&self, accepted: &Value) -> Result<(), Failed> {
        let asked = self.asks(&format!("order {}", accepted["number"]));
        let (_, body) = self.get(&asked, &format!("/orders/{}", accepted["number"])).await?;
        let (order, fields) = (&body["data"], accepted.as_object().context("fields")?);
        if fields.iter().any(|(field, value)| order[field] != *value) {
            return Err(violation(format!("{}: {order}, which was accepted as {accepted}", asked.by)));
        }
        self.history.note([self.shown_order(&asked, order)?]);
        Ok(())
    }

    fn shown_order(&self, asked: &Asked, order: &Value) -> Result<Seen> {
        let stock = order["name"].as_str().context("a name")?;
        let version = order["stock_version"].as_u64().context("a version")?;
        Ok(self.seen(asked, Claim::Exists, stock, version))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("runs are shorter than many thousand years")
}
