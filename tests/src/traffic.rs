//! Clients that trade and look without a pause, and the check that no answer falls behind an earlier one.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use crate::wait::{LOOK_EVERY, WAIT_MAX};

/// Clients of each kind at a door.
const CLIENTS_EACH: u64 = 3;
/// Pause of a client between two requests: the processes of a whole cluster share few processors.
const PAUSE: Duration = Duration::from_millis(5);
/// Answers of a kind after which it is said to go on.
const GOES_ON_AFTER: u64 = 20;
/// Of so many requests, one goes to the stock that is traded seldom, so that caches have something to keep.
const SELDOM: u64 = 8;
/// One of so many trades is sent again, and one of so many reads is for an order.
const NOW_AND_THEN: u64 = 10;
/// Longer than the service holds any request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Faults that are kept; the first ones tell most.
const FAULTS_KEPT_MAX: usize = 10;

/// The highest version of each stock that an answer has shown.
#[derive(Debug, Default)]
pub struct Shown(Mutex<BTreeMap<String, u64>>);

impl Shown {
    /// What the answer to a request that begins now may not fall behind.
    pub fn floor(&self, stock: &str) -> u64 {
        locked(&self.0).get(stock).copied().unwrap_or_default()
    }

    /// Takes note of an answer that is over.
    pub fn show(&self, stock: &str, version: u64) {
        let mut versions = locked(&self.0);
        let highest = versions.entry(stock.to_owned()).or_default();
        *highest = version.max(*highest);
    }

    /// Takes note of a lookup's answer, with the floor from when the lookup began.
    ///
    /// # Errors
    /// If the answer has fallen behind.
    pub fn look(&self, stock: &str, floor: u64, version: u64) -> Result<()> {
        self.show(stock, version);
        ensure!(version >= floor, "a lookup showed {stock} at version {version}, after {floor} had been shown");
        Ok(())
    }
}

/// Whether all requests of a client must succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trades {
    /// A trade or an order read that fails is a fault.
    Succeed,
    /// One that is refused, or whose outcome is not known, is sent again.
    MayBeRefused,
}

/// Where clients come in, and what became of their requests.
#[derive(Debug)]
pub struct Door {
    name: &'static str,
    url: String,
    trades: Trades,
    traded: AtomicU64,
    looked: AtomicU64,
    hits: AtomicU64,
    refused: AtomicU64,
    pause: Mutex<Pause>,
    faults: Arc<Faults>,
}

/// The longest time without an answer to a trade, for people who want to know.
#[derive(Debug, Default)]
struct Pause {
    last: Option<Instant>,
    longest: Duration,
}

/// What should not have happened.
#[derive(Debug, Default)]
struct Faults(Mutex<Vec<String>>);

impl Faults {
    fn add(&self, fault: String) {
        let mut faults = locked(&self.0);
        if faults.len() < FAULTS_KEPT_MAX {
            faults.push(fault);
        }
    }

    fn none(&self) -> Result<()> {
        let faults = locked(&self.0);
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    }
}

impl Door {
    /// Waits until trades that began after this call have been answered.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn trades_go_on(&self) -> Result<()> {
        self.goes_on("trades", &self.traded).await
    }

    /// Waits until lookups that began after this call have been answered, and not been refused.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn lookups_go_on(&self) -> Result<()> {
        self.goes_on("lookups", &self.looked).await
    }

    /// Waits until lookups have been refused after this call.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn lookups_are_refused(&self) -> Result<()> {
        self.counts("lookups are refused", &self.refused, 1).await
    }

    async fn goes_on(&self, what: &str, counter: &AtomicU64) -> Result<()> {
        // As many as there are clients may have begun before.
        self.counts(&format!("{what} go on"), counter, CLIENTS_EACH + GOES_ON_AFTER).await
    }

    async fn counts(&self, what: &str, counter: &AtomicU64, more: u64) -> Result<()> {
        let wanted = counter.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + WAIT_MAX;
        while counter.load(Ordering::Relaxed) < wanted {
            self.faults.none()?;
            if Instant::now() > deadline {
                bail!("waited for a minute: {what} at the {}", self.name);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.faults.none()
    }

    /// How many lookups were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many lookups a cache answered so far.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    fn traded_one(&self) {
        self.traded.fetch_add(1, Ordering::Relaxed);
        let mut pause = locked(&self.pause);
        let now = Instant::now();
        pause.longest = pause.longest.max(pause.last.map_or(Duration::ZERO, |last| now - last));
        pause.last = Some(now);
    }

    fn may_refuse(&self, status: StatusCode) -> bool {
        let refusal = status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::GATEWAY_TIMEOUT;
        refusal && self.trades == Trades::MayBeRefused
    }
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    client: reqwest::Client,
    shown: Shown,
    /// Acknowledged orders, in the form in which `bazaar check` reads them.
    records: Mutex<Vec<Value>>,
    faults: Arc<Faults>,
    over: AtomicBool,
}

/// The clients of a story. They end when this is dropped.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    doors: Vec<Arc<Door>>,
    clients: JoinSet<Result<()>>,
}

impl Traffic {
    /// No clients yet.
    ///
    /// # Errors
    /// If there can be no HTTP client.
    pub fn new() -> Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build()?;
        let shared = Shared {
            client,
            shown: Shown::default(),
            records: Mutex::default(),
            faults: Arc::default(),
            over: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), doors: Vec::new(), clients: JoinSet::new() })
    }

    /// Clients that trade and look through a frontend.
    pub fn trade(&mut self, name: &'static str, url: String, trades: Trades) -> Arc<Door> {
        let door = self.look(name, url, trades);
        for client in 0..CLIENTS_EACH {
            self.clients.spawn(trade(Arc::clone(&self.shared), Arc::clone(&door), client));
            self.clients.spawn(read_orders(Arc::clone(&self.shared), Arc::clone(&door)));
        }
        door
    }

    /// Clients that only look, straight at the catalog.
    pub fn watch(&mut self, name: &'static str, url: String) -> Arc<Door> {
        self.look(name, url, Trades::Succeed)
    }

    fn look(&mut self, name: &'static str, url: String, trades: Trades) -> Arc<Door> {
        let (traded, looked, hits, refused) = Default::default();
        let (pause, faults) = (Mutex::default(), Arc::clone(&self.shared.faults));
        let door = Arc::new(Door { name, url, trades, traded, looked, hits, refused, pause, faults });
        self.doors.push(Arc::clone(&door));
        for _ in 0..CLIENTS_EACH {
            self.clients.spawn(look(Arc::clone(&self.shared), Arc::clone(&door)));
        }
        door
    }

    /// The number of the order that was acknowledged last.
    ///
    /// # Errors
    /// If there is none.
    pub fn last_order(&self) -> Result<u64> {
        let records = locked(&self.shared.records);
        records.last().and_then(|record| record["number"].as_u64()).context("an acknowledged order")
    }

    /// Has all clients end, and writes down what was acknowledged, for `bazaar check`.
    ///
    /// # Errors
    /// If a client does not end, or anything went wrong.
    pub async fn end(mut self, records: &Path) -> Result<()> {
        self.shared.over.store(true, Ordering::Relaxed);
        while let Some(client) = timeout(WAIT_MAX, self.clients.join_next()).await.context("a client does not end")? {
            client??;
        }
        for door in &self.doors {
            let [traded, looked, hits, refused] =
                [&door.traded, &door.looked, &door.hits, &door.refused].map(|count| count.load(Ordering::Relaxed));
            let pause_ms = locked(&door.pause).longest.as_millis();
            println!(
                "{}: {traded} trades, longest pause {pause_ms} ms; {looked} lookups, {hits} hits, {refused} refused",
                door.name
            );
        }
        self.shared.faults.none()?;
        let lines: Vec<String> = locked(&self.shared.records).iter().map(|record| format!("{record}\n")).collect();
        fs::write(records, lines.concat())?;
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stock(n: u64) -> &'static str {
    if n.is_multiple_of(SELDOM) { "S1" } else { "S0" }
}

impl Shared {
    /// Whether the client is to go on, after a pause.
    async fn goes_on(&self) -> bool {
        tokio::time::sleep(PAUSE).await;
        !self.over.load(Ordering::Relaxed)
    }

    /// Sends a trade until it succeeds; returns its receipt.
    async fn trade(&self, door: &Door, key: &str, trade: &Value) -> Result<Value> {
        loop {
            let request = self.client.post(format!("{}/orders", door.url)).header("Idempotency-Key", key).json(trade);
            let answer = request.send().await?;
            let (status, body) = (answer.status(), answer.json::<Value>().await?);
            if status == StatusCode::OK {
                return Ok(body["data"].clone());
            }
            if !door.may_refuse(status) {
                self.faults.add(format!("trade {key} at the {}: {status} {body}", door.name));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A trader: one trade after the other, each with a new key, and now and then one again with its old key.
async fn trade(shared: Arc<Shared>, door: Arc<Door>, client: u64) -> Result<()> {
    let mut n = 0;
    while shared.goes_on().await {
        n += 1;
        let (name, side) = (stock(n + client), if n.is_multiple_of(2) { "sell" } else { "buy" });
        let (key, trade) =
            (format!("{}/{client}/{n}", door.name), json!({ "name": name, "type": side, "quantity": 1 }));
        let floor = shared.shown.floor(name);
        let receipt = shared.trade(&door, &key, &trade).await?;
        door.traded_one();
        let version = receipt["stock_version"].as_u64().context("a version")?;
        shared.shown.show(name, version);
        if version <= floor {
            shared.faults.add(format!("trade {key} made version {version}, after {floor} had been shown"));
        }
        let record = json!({ "number": receipt["transaction_number"], "stock_version": version, "key": key,
            "name": name, "type": side, "quantity": 1 });
        locked(&shared.records).push(record);
        if n.is_multiple_of(NOW_AND_THEN) {
            let again = shared.trade(&door, &key, &trade).await?;
            if again != receipt {
                shared.faults.add(format!("trade {key} got {receipt}, and then {again}"));
            }
        }
    }
    Ok(())
}

/// A reader of stocks: an answer that has fallen behind is a fault, a refusal is not.
async fn look(shared: Arc<Shared>, door: Arc<Door>) -> Result<()> {
    let mut n = 0_u64;
    while shared.goes_on().await {
        n += 1;
        let name = stock(if n.is_multiple_of(2) { 0 } else { n });
        let floor = shared.shown.floor(name);
        let answer = shared.client.get(format!("{}/stocks/{name}", door.url)).send().await?;
        let (status, hit) = (answer.status(), answer.headers().get("x-cache").is_some_and(|by| by == "hit"));
        let body = answer.json::<Value>().await?;
        match status {
            StatusCode::OK => {
                let version = body["data"]["version"].as_u64().context("a version")?;
                if let Err(fault) = shared.shown.look(name, floor, version) {
                    shared.faults.add(format!(
                        "{fault} (by the {}, {})",
                        door.name,
                        if hit { "hit" } else { "no hit" }
                    ));
                }
                door.looked.fetch_add(1, Ordering::Relaxed);
                door.hits.fetch_add(hit.into(), Ordering::Relaxed);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                door.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => shared.faults.add(format!("lookup of {name} at the {}: {status} {body}", door.name)),
        }
    }
    Ok(())
}

/// A reader of orders: the newest one that was acknowledged must be there, as it was acknowledged.
async fn read_orders(shared: Arc<Shared>, door: Arc<Door>) -> Result<()> {
    while shared.goes_on().await {
        tokio::time::sleep(PAUSE * u32::try_from(NOW_AND_THEN)?).await;
        let Some(record) = locked(&shared.records).last().cloned() else { continue };
        let answer = shared.client.get(format!("{}/orders/{}", door.url, record["number"])).send().await?;
        let (status, body) = (answer.status(), answer.json::<Value>().await?);
        let fields = record.as_object().context("fields")?;
        let same = fields.iter().all(|(field, value)| body["data"][field] == *value);
        if !(same && status == StatusCode::OK || door.may_refuse(status)) {
            shared.faults.add(format!("{record} was read at the {} as {status} {body}", door.name));
        }
    }
    Ok(())
}
