//! Clients whose every answer goes into a [`History`].

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::history::{History, LISTING, ORDERS, Seen};

/// Longer than the service holds any request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause before a request is sent again that was refused or got no answer.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// Orders of a page.
const PAGE_ORDERS: u64 = 500;

/// What was asked, and when.
struct Asked {
    began: Duration,
    by: String,
}

/// Asks frontends, and records what they show. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    client: reqwest::Client,
    history: Arc<History>,
    /// Acknowledged orders, in the form in which `bazaar check` reads them.
    acknowledged: Arc<Mutex<Vec<Value>>>,
}

impl Recorder {
    /// A recorder with an empty history.
    ///
    /// # Errors
    /// If there can be no HTTP client.
    pub fn new() -> Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build()?;
        Ok(Self { client, history: Arc::default(), acknowledged: Arc::default() })
    }

    /// What was recorded so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The acknowledged orders so far.
    pub fn acknowledged(&self) -> MutexGuard<'_, Vec<Value>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, by: String) -> Asked {
        Asked { began: self.history.now(), by }
    }

    fn seen(&self, asked: &Asked, of: &str, version: u64, quantity: Option<u64>) -> Seen {
        let (began, by, ended) = (asked.began, asked.by.clone(), self.history.now());
        Seen { of: of.into(), version, quantity, current: true, began, ended, by }
    }

    /// Sends a trade under a key until it is accepted, while `goes_on`; returns its number, if it was.
    ///
    /// # Errors
    /// If it is answered with an error that asking again cannot help.
    pub async fn trade(
        &self,
        url: &str,
        key: &str,
        [stock, side]: [&str; 2],
        goes_on: impl Fn() -> bool,
    ) -> Result<Option<u64>> {
        let asked = self.asked(format!("trade {key} at {url}"));
        let body = json!({ "name": stock, "type": side, "quantity": 1 });
        while goes_on() {
            let request = self.client.post(format!("{url}/orders")).header("Idempotency-Key", key).json(&body);
            if let Some(answer) = answered(request, &asked.by).await? {
                let receipt = &answer["data"];
                let number = self.note_trade(&asked, receipt, stock, side, key)?;
                return Ok(Some(number));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(None)
    }

    /// Sends two buys of two stocks as one batch, which becomes one log entry; likewise.
    ///
    /// # Errors
    /// As [`Self::trade`].
    pub async fn pair(&self, url: &str, key: &str, stocks: [&str; 2], goes_on: impl Fn() -> bool) -> Result<()> {
        let asked = self.asked(format!("pair {key} at {url}"));
        let keys = ["a", "b"].map(|part| format!("{key}{part}"));
        let order = |n: usize| json!({ "key": keys[n], "name": stocks[n], "type": "buy", "quantity": 1 });
        let body = json!({ "orders": [order(0), order(1)] });
        while goes_on() {
            if let Some(answer) =
                answered(self.client.post(format!("{url}/orders/batch")).json(&body), &asked.by).await?
            {
                for n in 0..2 {
                    self.note_trade(&asked, &answer["data"][n], stocks[n], "buy", &keys[n])?;
                }
                return Ok(());
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(())
    }

    fn note_trade(&self, asked: &Asked, receipt: &Value, stock: &str, side: &str, key: &str) -> Result<u64> {
        let number = receipt["transaction_number"].as_u64().with_context(|| format!("{}: {receipt}", asked.by))?;
        let version = receipt["stock_version"].as_u64().context("a version")?;
        self.history.note([self.seen(asked, stock, version, None), self.seen(asked, ORDERS, number, None)]);
        self.acknowledged().push(json!({ "number": number, "stock_version": version, "key": key, "name": stock,
            "type": side, "quantity": 1 }));
        Ok(number)
    }

    /// Looks a stock up; nothing is recorded if that is refused.
    ///
    /// # Errors
    /// If the answer is an error that a client should not get.
    pub async fn look(&self, url: &str, stock: &str) -> Result<()> {
        let asked = self.asked(format!("lookup at {url}"));
        if let Some(answer) = answered(self.client.get(format!("{url}/stocks/{stock}")), &asked.by).await? {
            self.history.note([self.shown_stock(&asked, &answer["data"])?]);
        }
        Ok(())
    }

    fn shown_stock(&self, asked: &Asked, stock: &Value) -> Result<Seen> {
        let number = |field| stock[field].as_u64().with_context(|| format!("{}: no {field}: {stock}", asked.by));
        let name = stock["name"].as_str().context("a name")?;
        Ok(self.seen(asked, name, number("version")?, Some(number("quantity")?)))
    }

    /// Lists all stocks. The two of `pair` must have the same version in every list, since they only change together.
    ///
    /// # Errors
    /// As [`Self::look`]; if the list is no snapshot.
    pub async fn list(&self, url: &str, pair: [&str; 2]) -> Result<()> {
        let asked = self.asked(format!("list at {url}"));
        let Ok(answer) = self.client.get(format!("{url}/stocks")).send().await else { return Ok(()) };
        if answer.status() != StatusCode::OK {
            return Ok(());
        }
        let index = answer.headers().get("x-log-index").and_then(|value| value.to_str().ok()?.parse().ok());
        let index = index.context("a list says at which log index it holds")?;
        let Ok(body) = answer.json::<Value>().await else { return Ok(()) };
        let stocks = body["data"].as_array().context("a list")?;
        let version = |name| stocks.iter().find(|stock| stock["name"] == name).map(|stock| stock["version"].clone());
        let versions = pair.map(version);
        ensure!(versions[0] == versions[1], "{}: half of an entry, at index {index}: {versions:?}", asked.by);
        let mut shown = stocks.iter().map(|stock| self.shown_stock(&asked, stock)).collect::<Result<Vec<_>>>()?;
        shown.push(self.seen(&asked, LISTING, index, None));
        self.history.note(shown);
        Ok(())
    }

    /// Reads the page after an order number; returns the number to go on after, the same one if nothing new is there.
    ///
    /// # Errors
    /// As [`Self::look`]; if the page skips or repeats an order.
    pub async fn page(&self, url: &str, after: u64) -> Result<u64> {
        let asked = self.asked(format!("page after {after} at {url}"));
        let request = self.client.get(format!("{url}/orders?after={after}&limit={PAGE_ORDERS}"));
        let Some(answer) = answered(request, &asked.by).await? else { return Ok(after) };
        let orders = answer["data"].as_array().context("a page")?;
        for (order, expected) in orders.iter().zip(after + 1..) {
            ensure!(order["number"] == expected, "{}: {} where {expected} belongs", asked.by, order["number"]);
        }
        let last = after + orders.len() as u64;
        // A page with more behind it says nothing about the newest order.
        if answer["next_after"].is_null() {
            self.history.note([self.seen(&asked, ORDERS, last, None)]);
        }
        self.history.note(orders.iter().map(|order| self.shown_order(&asked, order)).collect::<Result<Vec<_>>>()?);
        Ok(last)
    }

    /// Reads an order that exists.
    ///
    /// # Errors
    /// As [`Self::look`]; if it is not there.
    pub async fn order(&self, url: &str, number: u64) -> Result<()> {
        let asked = self.asked(format!("order {number} at {url}"));
        if let Some(answer) = answered(self.client.get(format!("{url}/orders/{number}")), &asked.by).await? {
            self.history.note([self.shown_order(&asked, &answer["data"])?]);
        }
        Ok(())
    }

    fn shown_order(&self, asked: &Asked, order: &Value) -> Result<Seen> {
        let stock = order["name"].as_str().context("a name")?;
        let version = order["stock_version"].as_u64().context("a version")?;
        Ok(Seen { current: false, ..self.seen(asked, stock, version, None) })
    }
}

/// The body of a good answer; nothing if the request was refused, or nobody answered, which is what faults do.
async fn answered(request: RequestBuilder, what: &str) -> Result<Option<Value>> {
    let Ok(answer) = request.send().await else { return Ok(None) };
    let status = answer.status();
    let Ok(body) = answer.json::<Value>().await else { return Ok(None) };
    match status {
        StatusCode::OK => Ok(Some(body)),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Ok(None),
        _ => anyhow::bail!("{what}: {status} {body}"),
    }
}
