//! All processes and messages at one moment.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    sync::Arc,
};

use bazaar_catalog::ledger::{InventoryCopy, Ledger};
use bazaar_domain::Moment;
use bazaar_frontend::cache::{Cache, Sharing, StockAnswer, Ticket};

use crate::{
    bounds::Bounds,
    log::{FIRST_INDEX, Log},
    network::Network,
    part::Part,
    replica::Replica,
};

/// The processes have run so long that nothing from their start matters any more.
const START_MILLIS: u64 = 100;
/// Room for the two stocks that a search may have.
pub const STOCKS_MAX: usize = 2;

/// Whose clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A replica's.
    Replica(usize),
    /// The catalog's.
    Catalog,
    /// A frontend's.
    Frontend(usize),
}

/// The catalog's process.
#[derive(Debug, Clone)]
pub struct CatalogSide {
    /// What it has in memory.
    pub ledger: Ledger,
    /// What it has on disk.
    pub disk: Rc<InventoryCopy>,
    /// The highest index that it exposed in this life.
    pub exposed: u64,
    /// It decided a trade differently from the leader, and has that still.
    pub is_diverged: bool,
}

impl Hash for CatalogSide {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The disk holds what the log says, or what diverged from it in the one way there is.
        (self.disk.applied, self.exposed, self.is_diverged).hash(state);
        self.ledger.hash(state);
    }
}

/// A fetch under way at a frontend.
#[derive(Debug, Clone)]
pub struct Flight {
    /// The stock.
    pub stock: usize,
    /// The conditions under which it was sent.
    pub ticket: Ticket,
    /// What the lookup that sent it must see at least.
    pub must_see: u64,
    /// The catalog's answer and whether it may be kept.
    pub answer: Option<(Arc<StockAnswer>, bool)>,
}

impl Hash for Flight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.stock, self.ticket, self.must_see).hash(state);
        let seen = |answer: &StockAnswer| (answer.log_index, answer.stock.version, answer.stock.price);
        self.answer.as_ref().map(|(answer, cacheable)| (seen(answer), cacheable)).hash(state);
    }
}

/// A lookup that met the fetch of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Waiter {
    /// The stock.
    pub stock: usize,
    /// What it must see at least.
    pub must_see: u64,
    /// What it may take from others.
    pub sharing: Sharing,
    /// It waits for the fetch under way.
    pub is_waiting: bool,
}

/// A frontend's process.
#[derive(Debug, Clone, Hash)]
pub struct Frontend {
    /// Its cache.
    pub cache: Cache,
    /// Its fetches, one a stock.
    pub flights: Vec<Flight>,
    /// Its lookups that wait.
    pub waiters: Vec<Waiter>,
}

/// What clients have been shown: no later answer may fall behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shown {
    /// The highest version of each stock, by a trade's answer, an order, or a lookup.
    pub versions: [u64; STOCKS_MAX],
    /// The newest order.
    pub order_index: u64,
    /// A divergence was healed: what diverged is not shown any more.
    pub is_healed: bool,
}

/// How much of the bounds is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Spent {
    /// Ticks.
    pub ticks: u64,
    /// Elections.
    pub elections: u32,
    /// Crashes of the catalog.
    pub crashes: u32,
    /// Messages delivered and left under way.
    pub repeats: u32,
    /// Trades decided differently.
    pub divergences: u32,
    /// Ticks that a clock missed.
    pub missed_ticks: u32,
}

/// A state. Parts that did not change are shared with the state before.
#[derive(Debug, Clone)]
pub struct State {
    /// What is committed.
    pub log: Part<Log>,
    /// The newest term.
    pub term: u64,
    /// Who has the votes of the newest term.
    pub votes: usize,
    /// The replicas.
    pub replicas: Vec<Part<Replica>>,
    /// The catalog.
    pub catalog: Part<CatalogSide>,
    /// The frontends.
    pub frontends: Vec<Part<Frontend>>,
    /// Messages under way.
    pub network: Part<Network>,
    /// What clients were shown.
    pub shown: Shown,
    /// How much has happened.
    pub spent: Spent,
    /// The clock that is slow, and by how much.
    pub slow: Option<(Owner, u64)>,
}

impl State {
    /// The first replica leads, the catalog is up and holds everything, nobody has a lease.
    pub fn initial(bounds: &Bounds) -> Self {
        let leases = bounds.leases();
        let leader = Part::new(Replica::leading(leases));
        let follower = Part::new(Replica::following(leases));
        let log = Log::default();
        let disk = log.copy(bounds.stocks, FIRST_INDEX);
        let mut ledger = Ledger::new(1, leases, disk.clone(), Moment::ZERO);
        ledger.forget_past(Moment::from_millis(START_MILLIS));
        let frontend = Frontend { cache: Cache::new(bounds.cache_size), flights: Vec::new(), waiters: Vec::new() };
        let mut replicas = vec![follower; bounds.replicas];
        replicas[0] = leader;
        Self {
            log: Part::new(log),
            term: 1,
            votes: 0,
            replicas,
            catalog: Part::new(CatalogSide { ledger, disk: Rc::new(disk), exposed: FIRST_INDEX, is_diverged: false }),
            frontends: vec![Part::new(frontend); bounds.frontends],
            network: Part::new(Network::default()),
            shown: Shown { versions: [1; STOCKS_MAX], order_index: 0, is_healed: false },
            spent: Spent::default(),
            slow: None,
        }
    }

    /// How many stocks there are.
    pub fn stocks(&self) -> usize {
        self.catalog.disk.stocks.len()
    }

    /// What somebody's clock says.
    pub fn now(&self, of: Owner) -> Moment {
        let missed = self.slow.filter(|(owner, _)| *owner == of).map_or(0, |(_, missed)| missed);
        Moment::from_millis(START_MILLIS + self.spent.ticks - missed)
    }

    /// A replica, to change.
    pub fn replica(&mut self, replica: usize) -> &mut Replica {
        self.replicas[replica].change()
    }

    /// The catalog, to change.
    pub fn catalog(&mut self) -> &mut CatalogSide {
        self.catalog.change()
    }

    /// A frontend, to change.
    pub fn frontend(&mut self, frontend: usize) -> &mut Frontend {
        self.frontends[frontend].change()
    }

    /// The messages, to change.
    pub fn network(&mut self) -> &mut Network {
        self.network.change()
    }

    /// A number that stands for the state; states that act alike have the same.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.log, self.term, self.votes, &self.replicas, &self.catalog).hash(&mut hasher);
        (&self.frontends, &self.network, self.shown, self.spent, self.slow).hash(&mut hasher);
        hasher.finish()
    }
}
