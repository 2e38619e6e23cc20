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
/// Different keys of a run: few, so that some are used again.
const KEYS_PER_TRADE: f64 = 0.8;
/// Orders that a read of several asks for.
const READ_ORDERS_MAX: usize = 5;
/// Most faults of a run.
const FAULTS_MAX: usize = 6;

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
    /// This one.
    Process(Process),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// A process dies, and starts again later. A replica loses what it had not synced, or part of it.
    Crash(Victim),
    /// A process stands still.
    Pause(Victim),
    /// Nothing reaches a process, and nothing it sends arrives.
    CutOff(Victim),
    /// What one process sends does not reach another.
    OneWay(Process, Process),
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
    /// In order of time.
    pub ops: Vec<Op>,
    /// In order of time.
    pub faults: Vec<Fault>,
    /// Then everything is made well again.
    pub healed_at: Micros,
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
        let processes = REPLICAS + 1 + FRONTENDS;
        let drifts_ppm = (0..processes).map(|_| rng.random_range(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX)).collect();
        let weather = draw_weather(&mut rng);
        let mut ops: Vec<Op> = (0..length.ops).map(|_| draw_op(healed_at, length.ops, &mut rng)).collect();
        ops.sort_by_key(|op| op.at);
        let faults_max = FAULTS_MAX * length.ops / Length::SHORT.ops;
        let mut faults: Vec<Fault> =
            (0..rng.random_range(0..=faults_max)).map(|_| draw_fault(healed_at, &mut rng)).collect();
        faults.sort_by_key(|fault| fault.at);
        Self { seed, drifts_ppm, weather, ops, faults, healed_at }
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
    if rng.random_bool(0.3) {
        return Weather::CALM;
    }
    Weather {
        delay_max: rng.random_range(100..5_000),
        lost_ppm: rng.random_range(0..60_000),
        repeated_ppm: rng.random_range(0..60_000),
        late_ppm: rng.random_range(0..80_000),
        late_max: rng.random_range(10 * MILLI..2_500 * MILLI),
    }
}

fn draw_stock(rng: &mut SmallRng) -> StockName {
    // One stock gets most of the traffic, so that lookups and trades meet.
    let which = if rng.random_bool(0.6) { 0 } else { rng.random_range(0..STOCKS.len()) };
    name(STOCKS[which])
}

fn draw_op(until: Micros, ops: usize, rng: &mut SmallRng) -> Op {
    let keys = (ops as f64 * KEYS_PER_TRADE) as usize;
    let action = match rng.random_range(0..10) {
        0..5 => Action::Lookup { stock: draw_stock(rng) },
        5..9 => {
            let number = rng.random_range(0..keys);
            let side = if rng.random_bool(0.6) { Side::Buy } else { Side::Sell };
            // What a key stands for follows from its number, mostly: then it is a repetition and no other trade.
            let stock = if rng.random_bool(0.95) { name(STOCKS[number % 5 % STOCKS.len()]) } else { draw_stock(rng) };
            let side = if number % 2 == 0 && rng.random_bool(0.95) { Side::Buy } else { side };
            Action::Trade(trade(&format!("k{number}"), stock, side, 1 + (number % 9) as u64))
        }
        _ => Action::Read(draw_read(ops as u64, keys, rng)),
    };
    Op { at: rng.random_range(CLIENTS_FROM..until), frontend: rng.random_range(0..FRONTENDS), action }
}

fn draw_read(ops: u64, keys: usize, rng: &mut SmallRng) -> OrderRead {
    match rng.random_range(0..5) {
        0..2 => OrderRead::ByNumber(rng.random_range(1..=ops / 4)),
        2..4 => OrderRead::ByKey(key(&format!("k{}", rng.random_range(0..keys)))),
        _ if rng.random_bool(0.5) => OrderRead::After { after: rng.random_range(0..ops / 4), limit: READ_ORDERS_MAX },
        _ => OrderRead::Newest,
    }
}

fn draw_process(rng: &mut SmallRng) -> Process {
    match rng.random_range(0..REPLICAS + 1 + FRONTENDS) {
        replica if replica < REPLICAS => Process::Replica(replica),
        REPLICAS => Process::Catalog,
        other => Process::Frontend(other - REPLICAS - 1),
    }
}

fn draw_victim(rng: &mut SmallRng) -> Victim {
    if rng.random_bool(0.5) { Victim::Leader } else { Victim::Process(draw_process(rng)) }
}

fn draw_fault(until: Micros, rng: &mut SmallRng) -> Fault {
    let mishap = match rng.random_range(0..20) {
        0..6 => Mishap::Crash(draw_victim(rng)),
        6..11 => Mishap::Pause(draw_victim(rng)),
        11..15 => Mishap::CutOff(draw_victim(rng)),
        15..19 => Mishap::OneWay(draw_process(rng), draw_process(rng)),
        _ => Mishap::PowerCut,
    };
    // Some are short, some outlast a lease.
    let lasts = if rng.random_bool(0.5) {
        rng.random_range(MILLI..200 * MILLI)
    } else {
        rng.random_range(200 * MILLI..2 * SECOND)
    };
    Fault { at: rng.random_range(CLIENTS_FROM / 2..until), lasts, mishap }
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
            Self::Process(process) => write!(f, "{process}"),
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(victim) => write!(f, "{victim} dies"),
            Self::Pause(victim) => write!(f, "{victim} stands still"),
            Self::CutOff(victim) => write!(f, "{victim} is cut off"),
            Self::OneWay(from, to) => write!(f, "what {from} sends does not reach {to}"),
            Self::PowerCut => f.write_str("all replicas and the catalog lose their power"),
        }
    }
}
