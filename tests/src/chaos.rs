//! Clients at every frontend, and faults that are drawn from a seed, until told otherwise.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    Cluster, Name,
    cluster::LISTED_QUANTITY,
    recorder::Recorder,
    wait::{LOOK_EVERY, WAIT_MAX},
};

/// Stocks that are traded one by one.
const STOCKS: [&str; 4] = ["S0", "S1", "S2", "S3"];
/// Two stocks that are only traded together.
const PAIR: [&str; 2] = ["S8", "S9"];
/// Clients at each frontend that trade, and that look stocks up.
const TRADERS: u64 = 2;
const LOOKERS: u64 = 3;
/// Pauses of the clients: few processors are shared by a whole cluster.
const TRADE_PAUSE: Duration = Duration::from_millis(4);
const LOOK_PAUSE: Duration = Duration::from_millis(1);
const LIST_PAUSE: Duration = Duration::from_millis(25);
/// After a fault, each frontend answers so many more trades before the next one.
const TRADES_BETWEEN_FAULTS: u64 = 25;

/// A small generator: the same seed gives the same faults (Knuth's MMIX constants).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// Draws from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Something done to a process, and undone after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// To whom.
    pub victim: Name,
    /// Killed (kill -9), or only halted.
    pub killed: bool,
    /// For how long.
    pub lasts: Duration,
}

/// A cluster under recorded traffic. The clients end when this is dropped.
#[derive(Debug)]
pub struct Chaos {
    /// The cluster.
    pub cluster: Cluster,
    /// What the clients saw.
    pub recorder: Recorder,
    shared: Arc<Shared>,
    clients: JoinSet<Result<()>>,
}

#[derive(Debug)]
struct Shared {
    over: AtomicBool,
    /// Trades answered by each frontend.
    traded: Vec<AtomicU64>,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

/// A client at one frontend.
#[derive(Debug, Clone)]
struct Client {
    recorder: Recorder,
    shared: Arc<Shared>,
    url: String,
    frontend: usize,
}

impl Chaos {
    /// Puts clients at every frontend.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn begin(cluster: Cluster) -> Result<Self> {
        let recorder = Recorder::new()?;
        let frontends = cluster.names().filter(|name| matches!(name, Name::Frontend(_)));
        let urls: Vec<String> = frontends.map(|name| cluster.url_of(name)).collect();
        let traded = urls.iter().map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { over: AtomicBool::new(false), traded });
        let mut clients = JoinSet::new();
        for (frontend, url) in urls.into_iter().enumerate() {
            let client = Client { recorder: recorder.clone(), shared: Arc::clone(&shared), url, frontend };
            for number in 0..TRADERS {
                clients.spawn(client.clone().trade(number));
            }
            for number in 0..LOOKERS {
                clients.spawn(client.clone().look(number));
            }
            clients.spawn(client.clone().trade_pairs());
            clients.spawn(client.clone().list());
            clients.spawn(client.clone().page());
            clients.spawn(client.read_orders());
        }
        Ok(Self { cluster, recorder, shared, clients })
    }

    /// Waits until each frontend has answered more trades.
    ///
    /// # Errors
    /// If one does not within a minute, or a client saw something that must not be.
    pub async fn trades_go_on(&mut self) -> Result<()> {
        let counts = || self.shared.traded.iter().map(|count| count.load(Ordering::Relaxed));
        let wanted: Vec<u64> = counts().map(|count| count + TRADES_BETWEEN_FAULTS).collect();
        let waiting = async {
            while !counts().zip(&wanted).all(|(count, wanted)| count >= *wanted) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        timeout(WAIT_MAX, waiting).await.context("trades do not go on at every frontend")?;
        match self.clients.try_join_next() {
            Some(ended) => ended?.context("a client ended"),
            None => Ok(()),
        }
    }

    /// Draws a fault: mostly of frontends and the catalog, now and then of the leader.
    ///
    /// # Errors
    /// If there is no leader.
    pub async fn draw(&self, draw: &mut Draw) -> Result<Fault> {
        let frontends = self.shared.traded.len() as u64;
        let victim = match draw.below(6) {
            0 => Name::Replica(self.cluster.leader().await?),
            1 | 2 => Name::Catalog,
            _ => Name::Frontend(u16::try_from(1 + draw.below(frontends))?),
        };
        // Below and above the length of a lease.
        let lasts = Duration::from_millis([50, 300, 800, 1_500][usize::try_from(draw.below(4))?]);
        Ok(Fault { victim, killed: draw.below(3) == 0, lasts })
    }

    /// Carries a fault out, and waits until trades go on at every frontend.
    ///
    /// # Errors
    /// If the process cannot be halted or started again, or trades do not go on.
    pub async fn suffer(&mut self, fault: Fault) -> Result<()> {
        if fault.killed {
            self.cluster.kill(fault.victim);
            tokio::time::sleep(fault.lasts).await;
            self.cluster.restart(fault.victim).await?;
        } else {
            self.cluster.signal(fault.victim, "STOP")?;
            tokio::time::sleep(fault.lasts).await;
            self.cluster.signal(fault.victim, "CONT")?;
        }
        self.trades_go_on().await.with_context(|| format!("after {fault:?}"))
    }

    /// Ends the clients, and checks what they saw: nothing went back, each version had the quantity that the orders
    /// give it, all acknowledged orders are there, and all keepers agree.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn end(mut self) -> Result<()> {
        self.shared.over.store(true, Ordering::Relaxed);
        let ending = async {
            while let Some(ended) = self.clients.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        timeout(WAIT_MAX, ending).await.context("a client does not end")??;
        self.recorder.history().check()?;
        self.check_quantities().await?;
        let records = self.cluster.folder().join("acknowledged");
        let lines: Vec<String> = self.recorder.acknowledged().iter().map(|order| format!("{order}\n")).collect();
        std::fs::write(&records, lines.concat())?;
        self.cluster.check(Some(&records)).await.map(drop)
    }

    /// Every quantity shown with a version is what was listed, plus the sells and minus the buys up to that version.
    async fn check_quantities(&self) -> Result<()> {
        let mut orders = Vec::new();
        let mut after = 0;
        loop {
            let (_, page) =
                self.cluster.get(&format!("{}/orders?after={after}&limit=1000", self.cluster.url())).await?;
            orders.extend(page["data"].as_array().context("a page")?.iter().cloned());
            match page["next_after"].as_u64() {
                Some(next) => after = next,
                None => break,
            }
        }
        let mut expected = std::collections::BTreeMap::new();
        for order in &orders {
            let stock = order["name"].as_str().context("a name")?;
            let version = order["stock_version"].as_u64().context("a version")?;
            let quantity = order["quantity"].as_i64().context("a quantity")?;
            let change = if order["type"] == "sell" { quantity } else { -quantity };
            expected.insert((stock.to_owned(), version), change);
        }
        for stock in STOCKS.into_iter().chain(PAIR) {
            let mut quantity = i64::try_from(LISTED_QUANTITY)?;
            expected.insert((stock.to_owned(), 1), 0);
            for (_, change) in expected.range_mut((stock.to_owned(), 0)..=(stock.to_owned(), u64::MAX)) {
                quantity += *change;
                *change = quantity;
            }
        }
        let shown = self.recorder.history().quantities();
        for ((stock, version), quantity) in &shown {
            let untouched = (*version == 1).then_some(i64::try_from(LISTED_QUANTITY)?);
            let known = expected.get(&(stock.clone(), *version)).copied().or(untouched);
            ensure!(
                Some(i64::try_from(*quantity)?) == known,
                "{stock} at version {version}: {quantity}, and not {known:?}, which the orders say"
            );
        }
        println!(
            "{} answers recorded, {} orders, {} quantities compared",
            self.recorder.history().len(),
            orders.len(),
            shown.len()
        );
        Ok(())
    }
}

impl Client {
    /// Repeats something with a number until the end.
    async fn repeat<F: Future<Output = Result<()>>>(&self, pause: Duration, act: impl Fn(u64) -> F) -> Result<()> {
        let mut number = 0;
        while self.shared.goes_on() {
            number += 1;
            act(number).await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    async fn trade(self, client: u64) -> Result<()> {
        self.repeat(TRADE_PAUSE, async |number| {
            let stock = STOCKS[usize::try_from((number + client) % 4)?];
            let side = if number.is_multiple_of(2) { "sell" } else { "buy" };
            let key = format!("{}-{client}-{number}", self.frontend);
            let goes_on = || self.shared.goes_on();
            if self.recorder.trade(&self.url, &key, [stock, side], goes_on).await?.is_some() {
                self.shared.traded[self.frontend].fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
        .await
    }

    async fn trade_pairs(self) -> Result<()> {
        self.repeat(LIST_PAUSE, async |number| {
            let key = format!("{}-pair-{number}", self.frontend);
            self.recorder.pair(&self.url, &key, PAIR, || self.shared.goes_on()).await
        })
        .await
    }

    async fn look(self, client: u64) -> Result<()> {
        self.repeat(LOOK_PAUSE, async |number| {
            let stock = STOCKS[usize::try_from((number * number + client) % 4)?];
            self.recorder.look(&self.url, stock).await
        })
        .await
    }

    async fn list(self) -> Result<()> {
        self.repeat(LIST_PAUSE, async |_| self.recorder.list(&self.url, PAIR).await).await
    }

    async fn page(self) -> Result<()> {
        let after = AtomicU64::new(0);
        self.repeat(LIST_PAUSE, async |_| {
            after.store(self.recorder.page(&self.url, after.load(Ordering::Relaxed)).await?, Ordering::Relaxed);
            Ok(())
        })
        .await
    }

    /// Reads the newest order that was acknowledged to anybody.
    async fn read_orders(self) -> Result<()> {
        self.repeat(LIST_PAUSE, async |_| {
            let newest = self.recorder.acknowledged().last().and_then(|order| order["number"].as_u64());
            match newest {
                Some(number) => self.recorder.order(&self.url, number).await,
                None => Ok(()),
            }
        })
        .await
    }
}
