//! Apply, as a pure function of the log: one outcome a key, gapless order numbers, the trade rule, the hash chain.
//!
//! Nothing here reads a clock, draws a random number, or iterates over an unordered map, so every replica that
//! applies the same entries ends with the same bytes, in whatever batches they came.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use bazaar_domain::{
    Command, IdempotencyKey, Listing, Order, Outcome, Stock, StockName, Trade, codec,
    digest::Digest,
    internal::{ItemStatus, PublishedEntry, PublishedItem},
    inventory::{decide, decide_listing},
    mutants::{Mutant, broken},
    order::{Decision, StoredOutcome},
};
use serde::{Deserialize, Serialize};

/// A digest is stored with every so many orders, so that the digest at any number is found by re-hashing fewer than
/// this many.
pub const DIGEST_EVERY_ORDERS: u64 = 1_024;

/// The store failed or holds what cannot be read. Fatal: the process stops, it never guesses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreFault(pub String);

/// What apply must look up: outcomes of earlier entries. Everything else it needs is in [`Books`].
pub trait OutcomeLookup {
    /// The outcomes stored under these keys, in their order. Asked once for all keys of a command, since a store finds
    /// many keys together faster than one by one.
    ///
    /// # Errors
    /// If the store fails.
    fn outcomes<'k>(
        &self,
        keys: impl Iterator<Item = &'k IdempotencyKey>,
    ) -> Result<Vec<Option<StoredOutcome>>, StoreFault>;
}

/// A stock with what was ever put on offer, so that conservation can be checked at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockRecord {
    /// The stock.
    pub stock: Stock,
    /// Listed and restocked together. Invariant: `listed + sold_to_us - bought_from_us == stock.quantity`.
    pub listed: u64,
}

/// How many orders there are, and the digest over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// The number of the last order; 0 if there is none.
    pub orders: u64,
    /// The digest over the orders 1 to `orders`.
    pub digest: Digest,
}

/// The replicated state that is kept in memory: the inventory and the totals. Orders and outcomes are in the store.
#[derive(Clone, Default)]
pub struct Books {
    /// The inventory.
    pub stocks: BTreeMap<StockName, StockRecord>,
    /// Number and digest of the last order.
    pub totals: Totals,
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books").field("stocks", &self.stocks.len()).field("totals", &self.totals).finish()
    }
}

/// What a run of entries changed and the store has yet to take, in one write.
#[derive(Debug, Default)]
pub struct Changes {
    /// New orders, by number, as records.
    pub orders: Vec<(u64, Vec<u8>)>,
    /// New outcomes by key.
    pub outcomes: BTreeMap<IdempotencyKey, StoredOutcome>,
    /// Stocks that changed.
    pub stocks: BTreeSet<StockName>,
    /// Digests to keep, by order number.
    pub digests: Vec<(u64, Digest)>,
}

/// What one entry did.
#[derive(Debug)]
pub struct AppliedEntry {
    /// A decision for each item, for the proposer.
    pub decisions: Vec<Decision>,
    /// The fresh items, for the catalog.
    pub published: PublishedEntry,
    /// Our own result for each fresh item, to compare with the catalog's.
    pub statuses: Vec<ItemStatus>,
}

/// Applies entries to the books and gathers the changes.
pub struct Applier<'a, L> {
    books: &'a mut Books,
    stored: &'a L,
    /// What was changed so far.
    pub changes: Changes,
}

impl<'a, L: OutcomeLookup> Applier<'a, L> {
    /// Starts a run of entries on these books.
    pub fn new(books: &'a mut Books, stored: &'a L) -> Self {
        Self { books, stored, changes: Changes::default() }
    }

    /// Applies the command of the entry at `index`.
    ///
    /// # Errors
    /// If the store fails; the books are then not to be used any more.
    pub fn apply(&mut self, index: u64, command: Command) -> Result<AppliedEntry, StoreFault> {
        match command {
            Command::Trades(trades) if broken(Mutant::UnorderedApply) => self.apply_unordered(index, trades),
            command => self.apply_in_order(index, command),
        }
    }

    /// What apply must never be: the mutant that decides in the order of a hash map.
    fn apply_unordered(&mut self, index: u64, trades: Vec<Trade>) -> Result<AppliedEntry, StoreFault> {
        let unordered: HashMap<usize, Trade> = trades.into_iter().enumerate().collect();
        let (places, trades): (Vec<usize>, Vec<Trade>) = unordered.into_iter().unzip();
        let mut entry = self.apply_in_order(index, Command::Trades(trades))?;
        let decisions: BTreeMap<usize, Decision> = places.into_iter().zip(entry.decisions).collect();
        entry.decisions = decisions.into_values().collect();
        Ok(entry)
    }

    fn apply_in_order(&mut self, index: u64, command: Command) -> Result<AppliedEntry, StoreFault> {
        let mut entry = AppliedEntry {
            decisions: Vec::new(),
            published: PublishedEntry { index, items: Vec::new() },
            statuses: Vec::new(),
        };
        match command {
            Command::Trades(trades) => {
                let stored = self.stored.outcomes(trades.iter().map(|trade| &trade.key))?;
                assert_eq!(stored.len(), trades.len(), "one answer for each key");
                for (trade, stored) in trades.into_iter().zip(stored) {
                    let fingerprint = trade.fingerprint();
                    let decision = self.once(index, &trade.key, fingerprint, stored, |this| this.trade(index, &trade));
                    self.note(&mut entry, decision, trade.name, PublishedItem::Trade(trade));
                }
            }
            Command::Listings(listings) => {
                let stored = self.stored.outcomes(listings.iter().map(|listing| &listing.key))?;
                assert_eq!(stored.len(), listings.len(), "one answer for each key");
                for (listing, stored) in listings.into_iter().zip(stored) {
                    let fingerprint = listing.fingerprint();
                    let decision = self.once(index, &listing.key, fingerprint, stored, |this| this.listing(&listing));
                    self.note(&mut entry, decision, listing.name, PublishedItem::Listing(listing));
                }
            }
        }
        Ok(entry)
    }

    /// Decides a key once: a known key gets the outcome of this run of entries or that of the store, or `KeyReused` if it
    /// stands for something else.
    fn once(
        &mut self,
        index: u64,
        key: &IdempotencyKey,
        fingerprint: u64,
        stored: Option<StoredOutcome>,
        decide: impl FnOnce(&mut Self) -> Outcome,
    ) -> Decision {
        match self.changes.outcomes.get(key).copied().or(stored) {
            Some(known) if known.fingerprint == fingerprint => Decision::Replayed(known.outcome),
            Some(_) => Decision::KeyReused,
            None => {
                let outcome = decide(self);
                self.changes.outcomes.insert(key.clone(), StoredOutcome { fingerprint, log_index: index, outcome });
                Decision::Fresh(outcome)
            }
        }
    }

    fn trade(&mut self, index: u64, trade: &Trade) -> Outcome {
        let record = self.books.stocks.get_mut(&trade.name);
        let next = match decide(record.as_deref().map(|record| &record.stock), trade) {
            Ok(next) => next,
            Err(rejection) => return Outcome::Rejected(rejection),
        };
        record.expect("the rule accepts only listed stocks").stock = next;
        self.changes.stocks.insert(trade.name);
        let order = Order {
            number: if broken(Mutant::NumberFromLogIndex) { index } else { self.books.totals.orders + 1 },
            key: trade.key.clone(),
            name: trade.name,
            side: trade.side,
            quantity: trade.quantity,
            price: next.price,
            stock_version: next.version,
            log_index: index,
        };
        self.keep(&order);
        Outcome::Accepted { number: order.number, stock_version: next.version }
    }

    fn keep(&mut self, order: &Order) {
        let record = codec::encode(order);
        let digest = self.books.totals.digest.extended_by_record(&record);
        self.books.totals = Totals { orders: order.number, digest };
        if order.number.is_multiple_of(DIGEST_EVERY_ORDERS) {
            self.changes.digests.push((order.number, digest));
        }
        self.changes.orders.push((order.number, record));
    }

    fn listing(&mut self, listing: &Listing) -> Outcome {
        let listed = self.books.stocks.len();
        let before = self.books.stocks.get(&listing.name).copied();
        match decide_listing(before.as_ref().map(|record| &record.stock), listed, listing) {
            Ok(stock) => {
                // A listing change never lowers the quantity; what it adds was put on offer.
                let (had, offered) = before.map_or((0, 0), |record| (record.stock.quantity, record.listed));
                let record = StockRecord { stock, listed: offered + (stock.quantity - had) };
                self.books.stocks.insert(listing.name, record);
                self.changes.stocks.insert(listing.name);
                Outcome::Listed { stock_version: stock.version }
            }
            Err(rejection) => Outcome::Rejected(rejection),
        }
    }

    fn note(&self, entry: &mut AppliedEntry, decision: Decision, name: StockName, item: PublishedItem) {
        if let Decision::Fresh(outcome) = decision {
            let rejection = match outcome {
                Outcome::Rejected(rejection) => Some(rejection),
                Outcome::Accepted { .. } | Outcome::Listed { .. } => None,
            };
            let stock = self.books.stocks.get(&name).map(|record| &record.stock);
            entry.statuses.push(ItemStatus::new(rejection, stock));
            entry.published.items.push(item);
        }
        entry.decisions.push(decision);
    }
}
