//! What goes into the ledger and what comes out of it.

use std::collections::HashMap;

use bazaar_domain::{Moment, Stock, StockName, internal::InvalidationBatch};

/// The inventory as it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InventoryCopy {
    /// The cluster whose log it follows; none before the first publish.
    pub cluster_id: Option<String>,
    /// The log index up to which it holds everything.
    pub applied: u64,
    /// Every listed stock.
    pub stocks: HashMap<StockName, Stock>,
}

/// A decided change of the copy, to be stored and then exposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The cluster whose log it comes from.
    pub cluster_id: String,
    /// The log index up to which the copy holds everything afterwards.
    pub through: u64,
    /// The stocks afterwards.
    pub next: Next,
}

/// The stocks after a [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These are new or different, in name order; the others stay.
    Changed(Vec<Stock>),
    /// These replace all.
    Whole(HashMap<StockName, Stock>),
}

impl Next {
    /// Whether nothing changes that a cache could hold.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self, Self::Changed(stocks) if stocks.is_empty())
    }

    /// The names as an invalidation lists them: none stands for all.
    pub(super) fn names(&self) -> Vec<StockName> {
        match self {
            Self::Changed(stocks) => stocks.iter().map(|stock| stock.name).collect(),
            Self::Whole(_) => Vec::new(),
        }
    }

    pub(super) fn touches(&self, name: StockName) -> bool {
        match self {
            Self::Changed(stocks) => stocks.binary_search_by_key(&name, |stock| stock.name).is_ok(),
            Self::Whole(_) => true,
        }
    }
}

/// An invalidation to send, again and again until its frontend no longer owes the ack ([`super::Ledger::owes`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendInvalidation {
    /// The frontend.
    pub frontend: u128,
    /// Where it takes invalidations, as `host:port`.
    pub address: String,
    /// What to send.
    pub batch: InvalidationBatch,
}

/// Whether reads are answered, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// They are.
    Yes,
    /// Leases of the life before this one may still be out (R6).
    Silent,
    /// No leader has given a lease that still lasts.
    NoLease,
    /// There is a lease, but what it asks for is not exposed yet (R2).
    Behind,
}

/// What a read sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<T> {
    /// The answer, as exposed.
    pub value: T,
    /// The exposed log index at which it holds.
    pub index: u64,
    /// Whether a frontend may keep it: nothing of it is about to change.
    pub cacheable: bool,
    /// Whether it may be given as current.
    pub serving: Serving,
}

/// What [`super::Ledger::advance`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// Nothing is pending any more; the stocks that were replaced as a whole, if they were.
    Exposed(Option<HashMap<StockName, Stock>>),
    /// The batch waits for acks, at most until this moment; then [`super::Ledger::advance`] is due again.
    Waits(Moment),
}
