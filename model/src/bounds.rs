//! How much may happen in one search.

use bazaar_domain::config::LeaseConfig;

/// The bounds of a search. Everything within them happens in every order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// How long a lease lasts.
    pub ttl_ticks: u64,
    /// The granter's margin, rounded up to whole ticks for every span.
    pub margin_percent: u32,
    /// How often time passes.
    pub ticks: u64,
    /// The stock of each trade, in the order of the log.
    pub trades: Vec<usize>,
    /// How many stocks there are.
    pub stocks: usize,
    /// How many replicas can lead. The first one leads at the start.
    pub replicas: usize,
    /// How often the votes go to another replica.
    pub elections: u32,
    /// How often the catalog crashes and starts anew.
    pub crashes: u32,
    /// Whether it may come back with an older copy.
    pub has_older_copies: bool,
    /// Frontends with a cache.
    pub frontends: usize,
    /// Stocks in a cache.
    pub cache_size: usize,
    /// Lease requests of a frontend, with their answers, that are under way at a time.
    pub requests: usize,
    /// How often a message is delivered and stays under way, to be delivered again.
    pub repeats: u32,
    /// Whether invalidations and acks stay under way when nobody waits for them any more.
    pub has_stale_messages: bool,
    /// Whether the catalog is sent whole inventories.
    pub has_snapshots: bool,
    /// How often the catalog decides a trade differently from the leader.
    pub divergences: u32,
    /// Whether a grant is under way for a time.
    pub has_late_grants: bool,
    /// Whether a fetch reaches the catalog later than it is sent.
    pub has_slow_fetches: bool,
    /// Whether lookups wait for fetches of others.
    pub has_joins: bool,
    /// Ticks that the clock of one process misses.
    pub missed_ticks: u32,
}

impl Bounds {
    /// One leader, one trade, one frontend, nothing goes wrong but delay and loss.
    pub fn smallest() -> Self {
        Self {
            ttl_ticks: 2,
            margin_percent: 0,
            ticks: 3,
            trades: vec![0],
            stocks: 1,
            replicas: 1,
            elections: 0,
            crashes: 0,
            has_older_copies: false,
            frontends: 1,
            cache_size: 1,
            requests: 1,
            repeats: 0,
            has_stale_messages: false,
            has_snapshots: false,
            divergences: 0,
            has_late_grants: false,
            has_slow_fetches: false,
            has_joins: false,
            missed_ticks: 0,
        }
    }

    /// The lease's timing in these bounds; a tick is a millisecond.
    pub fn leases(&self) -> LeaseConfig {
        LeaseConfig { ttl_ms: self.ttl_ticks, renew_ms: 1, margin_percent: self.margin_percent }
    }
}
