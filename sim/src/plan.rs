//! What a run does: drawn from a seed as a whole before it begins, so that parts can be left out to see what matters.

use std::fmt;

use bazaar_domain::{
    Cents, IdempotencyKey, Listing, ListingChange, Quantity, Side, StockName, Trade, internal::OrderRead,
};

use crate::{
    clock::{MILLI, Micros, SECOND},
    message::Process,
    raft::REPLICAS,
};

/// How many frontends there are.
pub const FRONTENDS: usize = 2;
/// Stocks that are traded.
pub(crate) const STOCKS: [&str; 3] = ["A", "B", "C"];
/// Of each at the start: few, so that some buys are rejected.
const LISTED: u64 = 40;
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
    /// The same for a frontend's lease requests only, which have a connection of their own.
    HoldLeaseRequests(Process),
    /// What one process sends to another arrives a second time, later.
    Repeat(Process, Process),
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
    pub drifts_ppm: [i64; PROCESSES.len()],
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

/// What is on offer at the start.
pub(crate) fn listings() -> Vec<Listing> {
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
pub(crate) fn stocks() -> impl Iterator<Item = StockName> {
    STOCKS.iter().map(|text| name(text))
}

/// A stock's name.
///
/// # Panics
/// If it is none.
pub(crate) fn name(text: &str) -> StockName {
    StockName::new(text).expect("a letter is a name")
}

/// A key.
///
/// # Panics
/// If the text is none.
pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("letters and digits are a key")
}

/// A trade.
///
/// # Panics
/// If the quantity is 0 or too large.
pub(crate) fn trade(key_text: &str, stock: StockName, side: Side, quantity: u64) -> Trade {
    let quantity = Quantity::new(quantity).expect("a small quantity");
    Trade { key: key(key_text), name: stock, side, quantity }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, operations: {}, faults: {}", self.seed, self.ops.len(), self.faults.len())?;
        for (process, drift) in PROCESSES.iter().zip(&self.drifts_ppm).filter(|(_, drift)| **drift != 0) {
            writeln!(f, "  the clock of {process} is wrong by {drift} in a million")?;
        }
        let Weather { delay_max, lost_ppm, repeated_ppm, late_ppm, late_max } = self.weather;
        writeln!(f, "  a message takes up to {delay_max} us, a sync up to {} us", self.sync_max)?;
        if self.weather != Weather::CALM {
            let late_max_ms = late_max / MILLI;
            writeln!(f, "  of a million messages {lost_ppm} are lost, {repeated_ppm} come twice,")?;
            writeln!(f, "  and {late_ppm} are up to {late_max_ms} ms late")?;
        }
        if self.catalog_comes_last {
            writeln!(f, "  the catalog comes back last")?;
        }
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
            Self::HoldLeaseRequests(from) => write!(f, "the lease requests of {from} are held back"),
            Self::Repeat(from, to) => write!(f, "what {from} sends to {to} comes again"),
            Self::Split => f.write_str("the other replicas are cut off from the leader and the catalog"),
            Self::PowerCut => f.write_str("all replicas and the catalog lose their power"),
        }
    }
}
