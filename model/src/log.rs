//! The abstract Raft log: committed entries only.

use std::collections::HashMap;

use bazaar_catalog::{
    decide::{Base, decide_entries},
    ledger::InventoryCopy,
};
use bazaar_domain::{
    Cents, IdempotencyKey, Quantity, Side, Stock, StockName, Trade,
    internal::{InventorySnapshot, PublishBatch, PublishedEntry, PublishedItem},
};

/// The cluster of all messages.
pub const CLUSTER: &str = "model";
/// The index up to which everything is applied and exposed at the start.
pub const FIRST_INDEX: u64 = 1;
/// How many of each stock there are at the start; no trade of a search is rejected.
const QUANTITY: u64 = 100;
/// The price of each stock.
const PRICE_CENTS: u64 = 100;

/// The content of a committed entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// A new leader's first entry.
    Blank,
    /// A trade of this stock.
    Trade(usize),
}

/// A committed entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term of the leader that proposed it.
    pub term: u64,
    /// What it holds.
    pub content: Content,
}

/// The committed log. Its first entry is a leader's blank; before it everything was listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Log(Vec<Entry>);

impl Default for Log {
    fn default() -> Self {
        Self(vec![Entry { term: 1, content: Content::Blank }])
    }
}

impl Log {
    /// Appends an entry and returns its index.
    pub fn append(&mut self, term: u64, content: Content) -> u64 {
        self.0.push(Entry { term, content });
        self.last_index()
    }

    /// The index of the last entry.
    pub fn last_index(&self) -> u64 {
        self.0.len() as u64
    }

    /// How many trades it holds.
    pub fn trades(&self) -> usize {
        self.0.iter().filter(|entry| matches!(entry.content, Content::Trade(_))).count()
    }

    /// The entries in `(after, through]`, with their indexes.
    pub fn range(&self, after: u64, through: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let numbered = (1..).zip(self.0.iter().copied());
        numbered.filter(move |(index, _)| *index > after && *index <= through)
    }

    /// The version of a stock after an index.
    pub fn version(&self, stock: usize, index: u64) -> u64 {
        1 + self.range(0, index).filter(|(_, entry)| entry.content == Content::Trade(stock)).count() as u64
    }

    /// What a leader publishes of `(previous, through]`.
    pub fn batch(&self, previous: u64, through: u64) -> PublishBatch {
        PublishBatch { cluster_id: CLUSTER.into(), previous, through, entries: self.published(previous, through) }
    }

    /// The inventory of a leader at an index.
    pub fn snapshot(&self, stocks: usize, index: u64, heals: bool) -> InventorySnapshot {
        let copy = self.copy(stocks, index);
        let stocks = copy.stocks.into_values().collect();
        InventorySnapshot { cluster_id: CLUSTER.into(), index, stocks, heals }
    }

    /// The copy of a catalog that applied everything up to an index.
    pub fn copy(&self, stocks: usize, index: u64) -> InventoryCopy {
        let mut all: HashMap<StockName, Stock> = (0..stocks).map(|stock| (name(stock), listed(stock))).collect();
        let base = Base { stocks: all.clone(), listed: stocks };
        let decided = decide_entries(base, &self.published(0, index));
        all.extend(decided.changed.into_iter().map(|stock| (stock.name, stock)));
        InventoryCopy { cluster_id: Some(CLUSTER.into()), applied: index, stocks: all }
    }

    fn published(&self, after: u64, through: u64) -> Vec<PublishedEntry> {
        let trade = |(index, entry): (u64, Entry)| match entry.content {
            Content::Blank => None,
            Content::Trade(stock) => Some(PublishedEntry { index, items: vec![trade(stock, index)] }),
        };
        self.range(after, through).filter_map(trade).collect()
    }
}

/// The name of a stock.
///
/// # Panics
/// Never: a letter is a valid name.
pub fn name(stock: usize) -> StockName {
    StockName::new(["S", "U"][stock]).expect("a letter is a name")
}

/// The price that the leader knows.
///
/// # Panics
/// Never: the number is in its bounds.
pub fn price() -> Cents {
    Cents::new(PRICE_CENTS).expect("a small price")
}

/// The price that a catalog has after it decided differently.
///
/// # Panics
/// Never: the number is in its bounds.
pub fn wrong_price() -> Cents {
    Cents::new(PRICE_CENTS + 1).expect("a small price")
}

fn listed(stock: usize) -> Stock {
    Stock { name: name(stock), price: price(), quantity: QUANTITY, trade_volume: 0, version: 1, max_quantity: None }
}

fn trade(stock: usize, index: u64) -> PublishedItem {
    PublishedItem::Trade(Trade {
        key: IdempotencyKey::new(&index.to_string()).expect("digits are a key"),
        name: name(stock),
        side: Side::Buy,
        quantity: Quantity::new(1).expect("one is a quantity"),
    })
}
