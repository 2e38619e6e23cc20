//! Clients that trade and look without a pause, and what must be true of all that they were shown.

use std::{
    fs,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bazaar_linear::{Bounds, Recorded, Report, Verdict, by_stock};
use reqwest::StatusCode;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    Cluster,
    chaos::Check,
    cluster::{LISTED_QUANTITY, STOCKS as LISTED},
    history::Violation,
    quantities::{self, LISTED_VERSION},
    recorder::{Failed, How, Order, Recorder},
    wait::{LOOK_EVERY, WAIT_MAX},
    wait_until,
};

/// Clients at a door that trade single stocks; there is one of each other kind.
const TRADERS: u64 = 2;
/// What is looked up, each by a client of its own: one that waits for an absent catalog would not look into the cache.
const STOCKS: [&str; 5] = ["S0", "S1", "S2", "S3", "S4"];
/// What a client trades, one after the other: some less often, so that caches have something to keep. An odd number of
/// them, so that each is bought and sold in turn.
const ROUND: [&str; 9] = ["S0", "S1", "S0", "S2", "S0", "S1", "S3", "S0", "S4"];
/// Two stocks that are only traded together.
const PAIR: [&str; 2] = ["S8", "S9"];
/// A stock that clients buy nearly all of, and sell again: mostly there are not enough for two of them.
const SCARCE: &str = "S5";
const MOST_OF_IT: u64 = LISTED_QUANTITY * 3 / 5;
/// Clients at a door that do so.
const GAMBLERS: u64 = 2;
/// Pauses of the clients: the processes of a whole cluster share few processors.
const TRADE_PAUSE: Duration = Duration::from_millis(4);
const LOOK_PAUSE: Duration = Duration::from_millis(4);
const PAUSE: Duration = Duration::from_millis(25);
/// One of so many trades is sent again.
const SENT_AGAIN: u64 = 7;
/// What is begun by one client is numbered apart from what others begin.
const NUMBERS_EACH: u64 = 1_000_000;
/// More answers of a kind after which it is said to go on: each client may have asked once before.
const GOES_ON_AFTER: u64 = 25;
/// The default of `leases.ttl_ms`.
const LEASE: Duration = Duration::from_secs(1);
/// More trades than could be answered before a wait ends, if each had to wait for the end of a lease.
const NOT_HELD_UP_AFTER: u64 = (TRADERS + 1) * (WAIT_MAX.as_secs() / LEASE.as_secs()) + GOES_ON_AFTER;
/// Answers of each kind without which a story has not tried what it is about.
const SHARE_MIN: u64 = 20;
/// Faults that are kept; the first ones tell most.
const FAULTS_KEPT_MAX: usize = 10;

/// Whether requests may fail that do not need the catalog. Those that do are refused whenever it cannot vouch for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trades {
    /// One that fails is a fault.
    Succeed,
    /// One that is refused is sent again.
    MayBeRefused,
    /// So is one that gets no answer, since the frontend is killed or frozen.
    MayGetLost,
}

/// What is counted at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Trades,
    Lookups,
    Hits,
    Lists,
    Pages,
    OrderReads,
    Rejections,
    RefusedLookups,
}

impl Count {
    /// What must be answered at a frontend.
    const FRONTEND: &[Self] = &[Self::Trades, Self::Lookups, Self::Hits, Self::Lists, Self::Pages, Self::OrderReads];
    /// What must be answered at the catalog.
    const CATALOG: &[Self] = &[Self::Lookups, Self::Lists];

    fn needs_catalog(self) -> bool {
        Self::CATALOG.contains(&self)
    }
}

/// What should not have happened.
#[derive(Debug, Default)]
struct Faults(Mutex<Vec<anyhow::Error>>);

impl Faults {
    fn add(&self, fault: anyhow::Error) {
        let mut faults = locked(&self.0);
        if faults.len() < FAULTS_KEPT_MAX {
            faults.push(fault);
        }
    }

    fn none(&self) -> Result<()> {
        let faults = locked(&self.0);
        let text = || faults.iter().map(|fault| format!("{fault:#}")).collect::<Vec<_>>().join("\n");
        match &faults[..] {
            [] => Ok(()),
            faults if faults.iter().any(|fault| fault.is::<Violation>()) => Err(Violation(text()).into()),
            _ => Err(anyhow!(text()).context(Check::Answers)),
        }
    }

    async fn come(&self) {
        while locked(&self.0).is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    /// Asks nobody; all others have its history.
    recorder: Recorder,
    faults: Faults,
    over: AtomicBool,
}

impl Shared {
    /// Waits for something, unless a client has found a fault: then that is the cause of all that follows.
    async fn unless_faulty<T>(&self, something: impl Future<Output = Result<T>>) -> Result<T> {
        let result = tokio::select! {
            biased;
            () = self.faults.come() => Err(anyhow!("a client found a fault")),
            result = something => result,
        };
        self.faults.none()?;
        self.recorder.history().check()?;
        result
    }
}

/// Where clients come in, and what became of their requests.
#[derive(Debug)]
pub struct Door {
    recorder: Recorder,
    trades: Trades,
    /// What must be answered here.
    offers: &'static [Count],
    counts: [AtomicU64; Count::RefusedLookups as usize + 1],
    /// The last order that the page reader has seen.
    paged: AtomicU64,
    pause: Mutex<Pause>,
    shared: Arc<Shared>,
}

/// The longest time without an answer to a trade, for people who want to know.
#[derive(Debug, Default)]
struct Pause {
    last: Option<Instant>,
    longest: Duration,
}

impl Door {
    /// Waits until trades that began after this call have been answered.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn trades_go_on(&self) -> Result<()> {
        self.more(Count::Trades, GOES_ON_AFTER).await
    }

    /// Waits until so many trades have been answered that not each of them can have waited for the end of a lease.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn trades_are_not_held_up(&self) -> Result<()> {
        self.more(Count::Trades, NOT_HELD_UP_AFTER).await
    }

    /// Waits until lookups that began after this call have been answered, and not been refused.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn lookups_go_on(&self) -> Result<()> {
        self.more(Count::Lookups, GOES_ON_AFTER).await
    }

    /// Waits until lookups have been refused after this call.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn lookups_are_refused(&self) -> Result<()> {
        self.more(Count::RefusedLookups, 1).await
    }

    /// How many lookups were refused so far.
    pub fn refused(&self) -> u64 {
        self.count(Count::RefusedLookups)
    }

    async fn more(&self, count: Count, more: u64) -> Result<()> {
        self.reaches(count, self.count(count) + more).await
    }

    async fn reaches(&self, count: Count, wanted: u64) -> Result<()> {
        let what = format!("{wanted} {count:?} at the {}", self.recorder.name());
        let counted = wait_until(&what, || async { (self.count(count) >= wanted).then_some(()) });
        self.shared.unless_faulty(counted).await
    }

    fn summary(&self) -> String {
        let counts = self.offers.iter().chain([&Count::RefusedLookups]);
        let counts: Vec<_> = counts.map(|count| format!("{} {count:?}", self.count(*count))).collect();
        format!("{}: {}, longest pause {:?}", self.recorder.name(), counts.join(", "), locked(&self.pause).longest)
    }

    fn count(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    fn add(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What an answer brought, counted; nothing if the request failed and may.
    fn settle<T>(&self, count: Count, answer: Result<T, Failed>) -> Result<Option<T>> {
        let failed = match answer {
            Ok(shown) => {
                self.add(count);
                return Ok(Some(shown));
            }
            Err(failed) => failed,
        };
        let excused = match failed.how {
            How::Refused(StatusCode::SERVICE_UNAVAILABLE) if count.needs_catalog() => true,
            How::Refused(_) => self.trades >= Trades::MayBeRefused,
            How::Lost => self.trades >= Trades::MayGetLost,
            How::Rejected | How::Wrong => false,
        };
        if !excused {
            return Err(failed.error);
        }
        if count == Count::Lookups && failed.how != How::Lost {
            self.add(Count::RefusedLookups);
        }
        Ok(None)
    }

    /// Sends orders until they are accepted, or rejected; returns whether they were accepted.
    async fn trade(&self, orders: &[Order]) -> Result<bool> {
        let asked = self.recorder.asks(&format!("trade {}", orders[0].key));
        loop {
            match self.recorder.trade(&asked, orders).await {
                Err(failed) if failed.how == How::Rejected && orders[0].stock == SCARCE => {
                    self.add(Count::Rejections);
                    return Ok(false);
                }
                answer => {
                    if self.settle(Count::Trades, answer)?.is_some() {
                        break;
                    }
                }
            }
            tokio::time::sleep(TRADE_PAUSE).await;
        }
        let (mut pause, now) = (locked(&self.pause), Instant::now());
        pause.longest = pause.longest.max(pause.last.map_or(Duration::ZERO, |last| now - last));
        pause.last = Some(now);
        Ok(true)
    }
}

/// Repeats something with numbers from `first` until the end, or until it goes wrong.
async fn repeat<F: Future<Output = Result<()>>>(
    door: Arc<Door>,
    first: u64,
    pause: Duration,
    act: impl Fn(Arc<Door>, u64) -> F,
) {
    for number in first.. {
        if door.shared.over.load(Ordering::Relaxed) {
            break;
        }
        if let Err(fault) = act(Arc::clone(&door), number).await {
            door.shared.faults.add(fault);
            break;
        }
        tokio::time::sleep(pause).await;
    }
}

/// A trader: one trade after the other, each with a new key, and now and then one again with its old key.
async fn trade(door: Arc<Door>, number: u64) -> Result<()> {
    let side = if number.is_multiple_of(2) { "sell" } else { "buy" };
    let stock = ROUND[usize::try_from(number)? % ROUND.len()];
    let order = [Order { key: format!("{}/{number}", door.recorder.name()), stock, side, quantity: 1 }];
    door.trade(&order).await?;
    if number.is_multiple_of(SENT_AGAIN) {
        door.trade(&order).await?;
    }
    Ok(())
}

/// A trader of two stocks in one batch.
async fn trade_pair(door: Arc<Door>, number: u64) -> Result<()> {
    let key = |stock| format!("{}/pair/{number}/{stock}", door.recorder.name());
    door.trade(&PAIR.map(|stock| Order { key: key(stock), stock, side: "buy", quantity: 1 })).await.map(drop)
}

/// A buyer of most of what there is, who sells it again; now and then sends a purchase again, whatever came of it.
async fn gamble(door: Arc<Door>, number: u64) -> Result<()> {
    let key = |side| format!("{}/most/{number}/{side}", door.recorder.name());
    let [purchase, sale] =
        ["buy", "sell"].map(|side| [Order { key: key(side), stock: SCARCE, side, quantity: MOST_OF_IT }]);
    let bought = door.trade(&purchase).await?;
    tokio::time::sleep(LOOK_PAUSE).await;
    if bought {
        door.trade(&sale).await?;
    }
    if number.is_multiple_of(SENT_AGAIN) {
        ensure!(door.trade(&purchase).await? == bought, "{} was answered in two ways", purchase[0].key);
    }
    Ok(())
}

/// A client that sends an order again which somebody was told long ago, or just now, is accepted.
async fn send_again(door: Arc<Door>, number: u64) -> Result<()> {
    match door.recorder.accepted_order(number) {
        Some(order) => ensure!(door.trade(&[order]).await?, "an accepted order was rejected later"),
        None => {}
    }
    Ok(())
}

async fn look(door: Arc<Door>, stock: &str) -> Result<()> {
    if door.settle(Count::Lookups, door.recorder.look(stock).await)? == Some(true) {
        door.add(Count::Hits);
    }
    Ok(())
}

async fn list(door: Arc<Door>, _: u64) -> Result<()> {
    door.settle(Count::Lists, door.recorder.list(PAIR).await).map(drop)
}

async fn page(door: Arc<Door>, _: u64) -> Result<()> {
    let after = door.paged.load(Ordering::Relaxed);
    if let Some(last) = door.settle(Count::Pages, door.recorder.page(after).await)? {
        door.paged.store(last, Ordering::Relaxed);
    }
    Ok(())
}

/// A reader of the newest order that was accepted from anybody.
async fn read_order(door: Arc<Door>, _: u64) -> Result<()> {
    match door.recorder.newest_order() {
        Some(order) => door.settle(Count::OrderReads, door.recorder.order(&order).await).map(drop),
        None => Ok(()),
    }
}

/// The clients of a story. They end when this is dropped.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    doors: Vec<Arc<Door>>,
    clients: JoinSet<()>,
}

impl Traffic {
    /// No clients yet.
    ///
    /// # Errors
    /// If there can be no HTTP client.
    pub fn new() -> Result<Self> {
        let shared = Shared { recorder: Recorder::new()?, faults: Faults::default(), over: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared), doors: Vec::new(), clients: JoinSet::new() })
    }

    /// Clients of all kinds at a frontend.
    pub fn trade(&mut self, name: impl Into<String>, url: String, trades: Trades) -> Arc<Door> {
        let door = self.open(name.into(), url, trades, Count::FRONTEND);
        for client in 0..TRADERS {
            self.clients.spawn(repeat(Arc::clone(&door), client * NUMBERS_EACH, TRADE_PAUSE, trade));
        }
        for client in 0..GAMBLERS {
            self.clients.spawn(repeat(Arc::clone(&door), client * NUMBERS_EACH, PAUSE, gamble));
        }
        self.clients.spawn(repeat(Arc::clone(&door), 0, PAUSE, trade_pair));
        self.clients.spawn(repeat(Arc::clone(&door), 0, PAUSE, send_again));
        self.clients.spawn(repeat(Arc::clone(&door), 0, PAUSE, page));
        self.clients.spawn(repeat(Arc::clone(&door), 0, PAUSE, read_order));
        door
    }

    /// Clients that only look stocks up and list them, straight at the catalog.
    pub fn watch(&mut self, name: impl Into<String>, url: String, trades: Trades) -> Arc<Door> {
        self.open(name.into(), url, trades, Count::CATALOG)
    }

    fn open(&mut self, name: String, url: String, trades: Trades, offers: &'static [Count]) -> Arc<Door> {
        let (recorder, shared) = (self.shared.recorder.at(name, url), Arc::clone(&self.shared));
        let (counts, paged, pause) = Default::default();
        let door = Arc::new(Door { recorder, trades, offers, counts, paged, pause, shared });
        for stock in STOCKS {
            self.clients.spawn(repeat(Arc::clone(&door), 0, LOOK_PAUSE, move |door, _| look(door, stock)));
        }
        self.clients.spawn(repeat(Arc::clone(&door), 0, PAUSE, list));
        self.doors.push(Arc::clone(&door));
        door
    }

    /// Waits until trades that began after this call have been answered at every frontend.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn trades_go_on(&self) -> Result<()> {
        self.go_on(Count::Trades).await
    }

    /// Waits for lookups too, at every door.
    ///
    /// # Errors
    /// If they are not answered, or anything went wrong meanwhile.
    pub async fn all_goes_on(&self) -> Result<()> {
        self.trades_go_on().await?;
        self.go_on(Count::Lookups).await
    }

    async fn go_on(&self, count: Count) -> Result<()> {
        let doors = self.doors.iter().filter(|door| door.offers.contains(&count));
        let wanted: Vec<_> = doors.map(|door| (door, door.count(count) + GOES_ON_AFTER)).collect();
        for (door, wanted) in wanted {
            door.reaches(count, wanted).await?;
        }
        Ok(())
    }

    /// Waits for something; a fault that a client finds ends it.
    ///
    /// # Errors
    /// The fault that a client has found, or else the one that ends the wait.
    pub async fn unless_faulty<T>(&self, something: impl Future<Output = Result<T>>) -> Result<T> {
        self.shared.unless_faulty(something).await
    }

    /// How many things clients have seen.
    pub fn seen(&self) -> usize {
        self.shared.recorder.history().len()
    }

    /// What all clients share: the history, and the orders that were accepted.
    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Checks that one order of all operations explains what became of every stock. Nobody else may have traded.
    ///
    /// # Errors
    /// If none does, or that was not found out, which is no pass.
    pub fn is_linearizable(&self) -> Result<()> {
        let listed = LISTED.iter().map(|stock| Recorded::listed(stock, LISTED_QUANTITY, LISTED_VERSION));
        let records: Vec<Recorded> = listed.chain(self.shared.recorder.operations()).collect();
        for history in by_stock(&records)? {
            let report = Report::on(history, &Bounds::default());
            match report.verdict {
                Verdict::Ok => println!("{report}"),
                Verdict::Violation(_) => return Err(Violation(report.to_string()).into()),
                Verdict::Unknown(_) => bail!("{report}"),
            }
        }
        Ok(())
    }

    /// The number of the order that was accepted last.
    ///
    /// # Errors
    /// If there is none.
    pub fn last_order(&self) -> Result<u64> {
        let newest = self.shared.recorder.newest_order().context("an accepted order")?;
        newest["number"].as_u64().context("a number")
    }

    /// Ends the clients after all has gone on and each has done its share, and checks what they saw: nothing went back,
    /// each version had the quantity that the orders give it, all accepted orders are there, and all keepers agree.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn end(&mut self, cluster: &Cluster) -> Result<()> {
        self.all_goes_on().await?;
        for door in &self.doors {
            for count in door.offers {
                door.reaches(*count, SHARE_MIN).await?;
            }
        }
        self.shared.over.store(true, Ordering::Relaxed);
        let ending = timeout(WAIT_MAX, async {
            while let Some(ended) = self.clients.join_next().await {
                ended?;
            }
            anyhow::Ok(())
        });
        self.shared.unless_faulty(async { ending.await.context("a client does not end")? }).await?;
        for door in &self.doors {
            println!("{}", door.summary());
        }
        quantities::check(self.shared.recorder.history(), cluster).await.context(Check::Quantities)?;
        let records = cluster.folder().join("accepted");
        fs::write(&records, self.shared.recorder.records())?;
        cluster.check(Some(&records)).await.context(Check::Orders).map(drop)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
