//! What a run does: drawn from a seed as a whole before it begins, so that parts can be left out to see what matters.

use std::fmt;

use bazaar_domain::{
    Cents, IdempotencyKey, Listing, ListingChange, Quantity, Side, StockName, Trade, internal::OrderRead,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::{
    clock::{MILLI, Micros, SECOND},
    message::Process,
    raft::REPLICAS,
};

/// How many frontends there are.
pub const FRONTENDS: usize = 2;
/// Stocks that are traded.
const STOCKS: [&str; 3] = ["A", "B", "C"];
/// Of each at the start: few, so that some buys are rejected.
const LISTED: u64 = 40;
/// Clients begin then: there is a leader, mostly, and the catalog has ended its silence, or not quite.
const CLIENTS_FROM: Micros = 900 * MILLI;
/// Clocks run at most so wrong, in parts per million; two of them differ by less than the margin of the leases.
const DRIFT_PPM_MAX: i64 = 45_000;
/// A sync takes at most this long.
const SYNC_MAX: Micros = 1_500;
/// Of a slow disk.
const SLOW_SYNC_MAX: Micros = 30 * MILLI;
/// Different keys of a run: few, so that some are used again.
const KEYS_PER_TRADE: f64 = 0.8;
/// Somebody looks what became of a trade within this time.
const LOOKED_AFTER_MAX: Micros = 300 * MILLI;
/// Orders that a read of several asks for.
const READ_ORDERS_MAX: usize = 5;
/// Most faults of a short run that are drawn one by one.
const FAULTS_MAX: usize = 5;
/// Most scenes of a short run.
const SCENES_MAX: usize = 2;
/// Trades that a client sends at once, at most: enough for entries of several trades.
const BURST_MAX: usize = 6;

/// All processes, in the order of their places.
pub const PROCESSES: [Process; REPLICAS + 1 + FRONTENDS] = [
    Process::Replica(0),
    Process::Replica(1),
    Process::Replica(2),
    Process::Catalog,
    Process::Frontend(0),
    Process::Frontend(1),
];

/// Names an operation: its place in the plan.
pub type OpId = usize;

/// What a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It looks a stock up.
    Lookup {
        /// The stock.
        stock: StockName,
    },
    /// It trades.
    Trade(Trade),
    /// It reads an order.
    Read(OrderRead),
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// When.
    pub at: Micros,
    /// At which frontend.
    pub frontend: usize,
    /// What.
    pub action: Action,
}

/// Whom a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// Whoever leads then.
    Leader,
    /// The first replica that does not.
    Follower,
    /// This one.
    Process(Process),
}

/// From whom a process is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// From everybody.
    All,
    /// From the replicas: a leader that the others replace, and that everybody else still reaches.
    Replicas,
    /// From the catalog.
    Catalog,
}

impl Others {
    /// Whether this process is one of them.
    pub fn contain(self, process: Process) -> bool {
        match self {
            Self::All => true,
            Self::Replicas => matches!(process, Process::Replica(_)),
            Self::Catalog => process == Process::Catalog,
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// A process dies, and starts again later. A replica loses what it had not synced, or part of it.
    Crash(Victim),
    /// A process stands still.
    Pause(Victim),
    /// Nothing that these others send reaches a process, and nothing it sends reaches them.
    CutOff(Victim, Others),
    /// What one process sends does not reach another.
    OneWay(Process, Process),
    /// What one process sends to another arrives only when this is over.
    Hold(Process, Process),
    /// The other replicas are cut off from the leader and from the catalog.
    Split,
    /// All replicas and the catalog die at once.
    PowerCut,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub at: Micros,
    /// How long it lasts.
    pub lasts: Micros,
    /// What it is.
    pub mishap: Mishap,
}

/// What the network does to each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Usual delay at most.
    pub delay_max: Micros,
    /// How many of a million are lost.
    pub lost_ppm: u32,
    /// How many of a million arrive a second time, later.
    pub repeated_ppm: u32,
    /// How many of a million are late.
    pub late_ppm: u32,
    /// By how much at most.
    pub late_max: Micros,
}

impl Weather {
    /// After all faults.
    pub const CALM: Self = Self { delay_max: 300, lost_ppm: 0, repeated_ppm: 0, late_ppm: 0, late_max: 0 };
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What chance is left in the run is drawn from this.
    pub seed: u64,
    /// By how much each process's clock is wrong: replicas, catalog, frontends.
    pub drifts_ppm: Vec<i64>,
    /// The network, until the end of the faults.
    pub weather: Weather,
    /// A replica's sync takes at most this long, in microseconds.
    pub sync_max: Micros,
    /// In order of time.
    pub ops: Vec<Op>,
    /// In order of time.
    pub faults: Vec<Fault>,
    /// Then everything is made well again.
    pub healed_at: Micros,
    /// The catalog is made well again only after each frontend took a trade: trades do not need it.
    pub catalog_comes_last: bool,
}

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// How long clients go on and faults happen.
    pub faulty: Micros,
    /// How many operations.
    pub ops: usize,
}

impl Length {
    /// Of these there can be many.
    pub const SHORT: Self = Self { faulty: 3 * SECOND, ops: 48 };
    /// Leases end and begin many times.
    pub const LONG: Self = Self { faulty: 30 * SECOND, ops: 480 };
}

impl Plan {
    /// Draws a run.
    pub fn draw(seed: u64, length: Length) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let healed_at = CLIENTS_FROM + length.faulty;
        let drifts_ppm = PROCESSES.iter().map(|_| rng.random_range(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX)).collect();
        let weather = draw_weather(&mut rng);
        let sync_max = if rng.random_bool(0.3) { SLOW_SYNC_MAX } else { SYNC_MAX };
        let mut script = Script { rng, ops: Vec::new(), faults: Vec::new(), keys: keys_of(length), until: healed_at };
        let times = length.ops / Length::SHORT.ops;
        for _ in 0..script.rng.random_range(0..=SCENES_MAX * times) {
            script.scene();
        }
        for _ in 0..script.rng.random_range(0..=FAULTS_MAX * times) {
            script.any_fault();
        }
        while script.ops.len() < length.ops {
            script.any_op();
        }
        let Script { mut rng, mut ops, mut faults, .. } = script;
        ops.sort_by_key(|op| op.at);
        faults.sort_by_key(|fault| fault.at);
        let catalog_comes_last = rng.random_bool(0.1);
        Self { seed, drifts_ppm, weather, sync_max, ops, faults, healed_at, catalog_comes_last }
    }
}

/// What is on offer at the start.
pub fn listings() -> Vec<Listing> {
    let change = |stock| ListingChange::List {
        price: Cents::new(100 + stock as u64).expect("a small price"),
        quantity: LISTED,
        max_quantity: None,
    };
    let listing = |(stock, text): (usize, &&str)| Listing {
        key: key(&format!("list-{text}")),
        name: name(text),
        change: change(stock),
    };
    STOCKS.iter().enumerate().map(listing).collect()
}

/// The names of all stocks.
pub fn stocks() -> impl Iterator<Item = StockName> {
    STOCKS.iter().map(|text| name(text))
}

fn name(text: &str) -> StockName {
    StockName::new(text).expect("a letter is a name")
}

/// A key.
pub fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("letters and digits are a key")
}

/// A trade.
pub fn trade(key_text: &str, stock: StockName, side: Side, quantity: u64) -> Trade {
    let quantity = Quantity::new(quantity).expect("a small quantity");
    Trade { key: key(key_text), name: stock, side, quantity }
}

fn draw_weather(rng: &mut SmallRng) -> Weather {
    let weather = Weather { delay_max: rng.random_range(100..5_000), ..Weather::CALM };
    match rng.random_range(0..10) {
        0..3 => Weather::CALM,
        // Much is late, and little of it so late that nobody waits for it any more.
        3 => Weather {
            late_ppm: rng.random_range(100_000..400_000),
            late_max: rng.random_range(20 * MILLI..400 * MILLI),
            lost_ppm: rng.random_range(0..100_000),
            ..weather
        },
        // Much comes again.
        4 => Weather {
            repeated_ppm: rng.random_range(100_000..500_000),
            lost_ppm: rng.random_range(0..30_000),
            ..weather
        },
        _ => Weather {
            lost_ppm: rng.random_range(0..60_000),
            repeated_ppm: rng.random_range(0..60_000),
            late_ppm: rng.random_range(0..80_000),
            late_max: rng.random_range(10 * MILLI..2_500 * MILLI),
            ..weather
        },
    }
}

fn draw_stock(rng: &mut SmallRng) -> StockName {
    // One stock gets most of the traffic, so that lookups and trades meet.
    let which = if rng.random_bool(0.6) { 0 } else { rng.random_range(0..STOCKS.len()) };
    name(STOCKS[which])
}

/// How many keys there are to draw from.
fn keys_of(length: Length) -> usize {
    (length.ops as f64 * KEYS_PER_TRADE) as usize
}

/// What is drawn of a plan so far.
struct Script {
    rng: SmallRng,
    ops: Vec<Op>,
    faults: Vec<Fault>,
    keys: usize,
    until: Micros,
}

impl Script {
    /// Something that goes wrong and is worth being looked at closely, with clients that do.
    fn scene(&mut self) {
        let at = self.rng.random_range(CLIENTS_FROM..self.until - 2 * SECOND);
        let frontend = self.rng.random_range(0..FRONTENDS);
        match self.rng.random_range(0..12) {
            0 => {
                // Trades are answered without the catalog; then the leader is lost, and the next one has to know.
                let lasts = self.fault(at, 1_300..2_200, Mishap::CutOff(Victim::Leader, Others::Catalog));
                let end = at + lasts * self.rng.random_range(80..120) / 100;
                let lost = self.loss_of_leader();
                self.fault(end, 300..1_500, lost);
                self.crowd(end.saturating_sub(300 * MILLI)..end + SECOND, 20);
            }
            1 => {
                // A leader that is replaced and does not know it.
                let lost = self.loss_of_leader();
                let lasts = self.fault(at, 400..1_500, lost);
                self.crowd(at + 300 * MILLI..at + lasts + 100 * MILLI, 16);
                self.readers(at + 300 * MILLI..at + 650 * MILLI, 8);
            }
            2 => {
                // A frontend that slept through the end of its lease, or nearly.
                let lasts = self.fault(at, 600..1_500, Mishap::Pause(Victim::Process(Process::Frontend(frontend))));
                self.crowd(at.saturating_sub(50 * MILLI)..at + lasts, 10);
                self.crowd(at + lasts..at + lasts + 20 * MILLI, 8);
            }
            3 => {
                // The same for the catalog.
                let lasts = self.fault(at, 600..1_500, Mishap::Pause(Victim::Process(Process::Catalog)));
                self.crowd(at.saturating_sub(50 * MILLI)..at + lasts, 10);
                self.crowd(at + lasts..at + lasts + 20 * MILLI, 8);
            }
            4 => {
                // A catalog that is gone for a moment only.
                let lasts = self.fault(at, 1..150, Mishap::Crash(Victim::Process(Process::Catalog)));
                self.crowd(at.saturating_sub(20 * MILLI)..at + lasts + 300 * MILLI, 20);
            }
            5 => {
                // A frontend whose acks do not arrive, or that hears of no change.
                let (from, to) = (Process::Frontend(frontend), Process::Catalog);
                let (from, to) = if self.rng.random_bool(0.5) { (from, to) } else { (to, from) };
                let lasts = self.fault(at, 300..1_400, Mishap::OneWay(from, to));
                self.crowd(at..at + lasts + 200 * MILLI, 20);
            }
            6 => {
                // A follower that misses so much that it is sent the state, and then has to lead.
                let lasts = self.fault(at, 300..900, Mishap::CutOff(Victim::Follower, Others::All));
                self.crowd(at..at + lasts, 20);
                let lost = self.loss_of_leader();
                self.fault(at + lasts + 300 * MILLI, 300..900, lost);
                self.crowd(at + lasts..at + lasts + SECOND, 10);
            }
            7 => {
                // A leader that the others replace goes on giving leases to the catalog.
                let lasts = self.fault(at, 1_500..2_200, Mishap::Split);
                self.crowd(at + 300 * MILLI..at + 1_300 * MILLI, 6);
                self.crowd(at + 1_300 * MILLI..at + lasts, 20);
            }
            8 => {
                // The last trade is answered without the catalog and known to be committed by its leader only, which is lost;
                // the next leader's first answers come from a follower that lacks it.
                let lasts = self.fault(at, 1_600..2_200, Mishap::CutOff(Victim::Leader, Others::Catalog));
                let late = at + 1_200 * MILLI;
                self.fault(late, 100..300, Mishap::CutOff(Victim::Follower, Others::All));
                self.crowd(late..late + 150 * MILLI, 8);
                let lost = self.loss_of_leader();
                self.fault(late + 150 * MILLI, 500..1_500, lost);
                self.crowd(late + 400 * MILLI..at + lasts + 100 * MILLI, 16);
            }
            9 => {
                // No replica remembers what the catalog lacks: it is sent the inventory, while caches hold leases.
                self.crowd(at.saturating_sub(150 * MILLI)..at, 6);
                let catalog = Victim::Process(Process::Catalog);
                let lasts = self.fault(at, 400..750, Mishap::CutOff(catalog, Others::Replicas));
                self.crowd(at..at + 40 * MILLI, 8);
                for replica in 0..REPLICAS {
                    self.fault(at + 40 * MILLI, 5..30, Mishap::Crash(Victim::Process(Process::Replica(replica))));
                }
                self.crowd(at + lasts..at + lasts + 250 * MILLI, 12);
            }
            10 => {
                // The answer to a lease request comes when the lease is over, and the next request is lost.
                let process = Process::Frontend(frontend);
                let lost = self.fault(at, 450..650, Mishap::OneWay(Process::Catalog, process));
                let held = self.fault(at + lost, 350..550, Mishap::Hold(Process::Catalog, process));
                let end = at + lost + held;
                self.fault(end - MILLI, 10..40, Mishap::OneWay(process, Process::Catalog));
                self.crowd(at.saturating_sub(100 * MILLI)..at + lost, 6);
                self.crowd(end..end + 800 * MILLI, 20);
            }
            _ => {
                // Death in the middle of work.
                self.crowd(at..at + 10 * MILLI, 20);
                let mishap = if self.rng.random_bool(0.5) { Mishap::PowerCut } else { Mishap::Crash(Victim::Leader) };
                let death = self.rng.random_range(at..at + 10 * MILLI);
                self.fault(death, 1..500, mishap);
            }
        }
    }

    fn loss_of_leader(&mut self) -> Mishap {
        match self.rng.random_range(0..5) {
            0 => Mishap::Crash(Victim::Leader),
            1 => Mishap::Pause(Victim::Leader),
            2 => Mishap::CutOff(Victim::Leader, Others::All),
            _ => Mishap::CutOff(Victim::Leader, Others::Replicas),
        }
    }

    /// Adds a fault that lasts so many milliseconds; returns how long, in microseconds.
    fn fault(&mut self, at: Micros, millis: std::ops::Range<u64>, mishap: Mishap) -> Micros {
        let lasts = self.rng.random_range(millis.start * MILLI..millis.end * MILLI);
        self.faults.push(Fault { at: at.min(self.until - 1), lasts, mishap });
        lasts
    }

    fn any_fault(&mut self) {
        let mishap = match self.rng.random_range(0..20) {
            0..6 => Mishap::Crash(self.victim()),
            6..11 => Mishap::Pause(self.victim()),
            11..15 => Mishap::CutOff(self.victim(), Others::All),
            15..18 => Mishap::OneWay(self.process(), self.process()),
            18 => Mishap::Hold(self.process(), self.process()),
            _ => Mishap::PowerCut,
        };
        // Some are short, some outlast a lease.
        let millis = if self.rng.random_bool(0.5) { 1..200 } else { 200..2_000 };
        let at = self.rng.random_range(CLIENTS_FROM / 2..self.until);
        self.fault(at, millis, mishap);
    }

    fn process(&mut self) -> Process {
        let place = self.rng.random_range(0..PROCESSES.len());
        PROCESSES[place]
    }

    fn victim(&mut self) -> Victim {
        if self.rng.random_bool(0.5) { Victim::Leader } else { Victim::Process(self.process()) }
    }

    /// Adds so many operations in a short time.
    fn crowd(&mut self, times: std::ops::Range<Micros>, ops: usize) {
        let wanted = self.ops.len() + ops;
        let times = times.start.max(CLIENTS_FROM).min(self.until - 1)..times.end.min(self.until);
        while self.ops.len() < wanted {
            let at = self.rng.random_range(times.clone());
            self.op(at);
        }
    }

    /// Adds so many order reads in a short time.
    fn readers(&mut self, times: std::ops::Range<Micros>, reads: usize) {
        for _ in 0..reads {
            let at = self.rng.random_range(times.clone());
            self.read(at);
        }
    }

    fn read(&mut self, at: Micros) {
        let read = draw_read(self.keys, &mut self.rng);
        let frontend = self.rng.random_range(0..FRONTENDS);
        self.ops.push(Op { at, frontend, action: Action::Read(read) });
    }

    fn any_op(&mut self) {
        let at = self.rng.random_range(CLIENTS_FROM..self.until);
        self.op(at);
    }

    /// Adds an operation, or some that belong together.
    fn op(&mut self, at: Micros) {
        let frontend = self.rng.random_range(0..FRONTENDS);
        match self.rng.random_range(0..10) {
            0..5 => {
                let stock = draw_stock(&mut self.rng);
                self.ops.push(Op { at, frontend, action: Action::Lookup { stock } });
            }
            5..9 => {
                let burst = if self.rng.random_bool(0.1) { self.rng.random_range(2..=BURST_MAX) } else { 1 };
                for _ in 0..burst {
                    self.trade(at, frontend);
                }
            }
            _ => self.read(at),
        }
    }

    /// Adds a trade, and perhaps somebody who looks what became of it.
    fn trade(&mut self, at: Micros, frontend: usize) {
        let rng = &mut self.rng;
        let number = rng.random_range(0..self.keys);
        let side = if rng.random_bool(0.6) { Side::Buy } else { Side::Sell };
        // What a key stands for follows from its number, mostly: then it is a repetition and no other trade.
        let stock = if rng.random_bool(0.95) { name(STOCKS[number % 5 % STOCKS.len()]) } else { draw_stock(rng) };
        let side = if number % 2 == 0 && rng.random_bool(0.95) { Side::Buy } else { side };
        let trade = trade(&format!("k{number}"), stock, side, 1 + (number % 9) as u64);
        if rng.random_bool(0.3) {
            let later = rng.random_range(at..at + LOOKED_AFTER_MAX).min(self.until - 1);
            let action = if rng.random_bool(0.6) {
                Action::Lookup { stock }
            } else {
                Action::Read(OrderRead::ByKey(trade.key.clone()))
            };
            self.ops.push(Op { at: later, frontend: rng.random_range(0..FRONTENDS), action });
        }
        self.ops.push(Op { at, frontend, action: Action::Trade(trade) });
    }
}

fn draw_read(keys: usize, rng: &mut SmallRng) -> OrderRead {
    let orders = (keys / 4) as u64;
    match rng.random_range(0..5) {
        0..2 => OrderRead::ByNumber(rng.random_range(1..=orders)),
        2 => OrderRead::ByKey(key(&format!("k{}", rng.random_range(0..keys)))),
        _ if rng.random_bool(0.5) => OrderRead::After { after: rng.random_range(0..orders), limit: READ_ORDERS_MAX },
        _ => OrderRead::Newest,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} operations, {} faults", self.seed, self.ops.len(), self.faults.len())?;
        for (process, drift) in PROCESSES.iter().zip(&self.drifts_ppm).filter(|(_, drift)| **drift != 0) {
            writeln!(f, "  the clock of {process} is wrong by {drift} in a million")?;
        }
        let Weather { delay_max, lost_ppm, repeated_ppm, late_ppm, late_max } = self.weather;
        writeln!(f, "  messages take up to {delay_max} us; of a million {lost_ppm} are lost, {repeated_ppm} repeated")?;
        writeln!(f, "  and {late_ppm} up to {} ms late; a sync takes up to {} us", late_max / MILLI, self.sync_max)?;
        for fault in &self.faults {
            let (at, lasts) = (fault.at as f64 / MILLI as f64, fault.lasts as f64 / MILLI as f64);
            writeln!(f, "{at:>10.3} ms  for {lasts:.3} ms: {}", fault.mishap)?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup { stock } => write!(f, "look up {stock}"),
            Self::Trade(trade) => {
                write!(
                    f,
                    "{} {} {} under {}",
                    trade.side.as_str(),
                    trade.quantity.get(),
                    trade.name,
                    trade.key.as_str()
                )
            }
            Self::Read(read) => write!(f, "read {read:?}"),
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("the leader"),
            Self::Follower => f.write_str("a follower"),
            Self::Process(process) => write!(f, "{process}"),
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(victim) => write!(f, "{victim} dies"),
            Self::Pause(victim) => write!(f, "{victim} stands still"),
            Self::CutOff(victim, Others::All) => write!(f, "{victim} is cut off"),
            Self::CutOff(victim, Others::Replicas) => write!(f, "{victim} is cut off from the replicas"),
            Self::CutOff(victim, Others::Catalog) => write!(f, "{victim} is cut off from the catalog"),
            Self::OneWay(from, to) => write!(f, "what {from} sends does not reach {to}"),
            Self::Hold(from, to) => write!(f, "what {from} sends to {to} is held back"),
            Self::Split => f.write_str("the other replicas are cut off from the leader and the catalog"),
            Self::PowerCut => f.write_str("all replicas and the catalog lose their power"),
        }
    }
}
