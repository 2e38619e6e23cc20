//! The applied state of a replica: the real books over a store in memory.

use std::{collections::BTreeMap, rc::Rc};

use bazaar_domain::{
    Command, IdempotencyKey, Listing, Order, Outcome, Stock, codec,
    digest::Digest,
    internal::{InventorySnapshot, OrderRead, OrderReadAnswer},
    mutants::{Mutant, broken},
    order::{Decision, StoredOutcome},
};
use bazaar_order_raft::state_machine::{
    books::{Applier, Books, OutcomeLookup, StoreFault, Totals},
    recent::{RecentEntries, RecentEntry},
};

use crate::raft::Position;

/// The one cluster.
pub const CLUSTER: &str = "sim";

/// What a replica has applied, without what it keeps in memory for the catalog: this is what a snapshot holds.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The last entry.
    pub last: Position,
    books: Books,
    store: MemoryStore,
}

#[derive(Debug, Clone, Default)]
struct MemoryStore {
    outcomes: BTreeMap<IdempotencyKey, StoredOutcome>,
    /// As records; order 1 is the first.
    orders: Vec<Rc<[u8]>>,
}

impl OutcomeLookup for MemoryStore {
    fn outcomes<'k>(
        &self,
        keys: impl Iterator<Item = &'k IdempotencyKey>,
    ) -> Result<Vec<Option<StoredOutcome>>, StoreFault> {
        Ok(keys.map(|key| self.outcomes.get(key).copied()).collect())
    }
}

/// What an entry did, for whoever watches over the run.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedNote {
    /// The entry.
    pub position: Position,
    /// The digest over all orders afterwards.
    pub digest: Digest,
    /// The number of the last order afterwards.
    pub orders: u64,
    /// New outcomes.
    pub outcomes: Vec<(IdempotencyKey, StoredOutcome)>,
    /// Stocks that the entry names, as they are afterwards.
    pub stocks: Vec<Stock>,
}

impl Applied {
    /// The state after the one entry that puts these stocks on offer.
    pub fn with_stocks(listings: Vec<Listing>) -> (Self, AppliedNote) {
        let mut state = Self::default();
        let position = Position { term: 0, index: 1 };
        let (_, note) = state.apply(position, Some(&Command::Listings(listings)), &mut RecentEntries::starting_at(0));
        (state, note)
    }

    /// Applies the next entry; `None` is an entry without a command.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn apply(
        &mut self,
        position: Position,
        command: Option<&Command>,
        recent: &mut RecentEntries,
    ) -> (Vec<Decision>, AppliedNote) {
        assert_eq!(position.index, self.last.index + 1, "entries are applied in order");
        self.last = position;
        let mut note =
            AppliedNote { position, digest: Digest::default(), orders: 0, outcomes: Vec::new(), stocks: Vec::new() };
        let mut decisions = Vec::new();
        let mut published = Vec::new();
        if let Some(command) = command {
            let mut applier = Applier::new(&mut self.books, &self.store);
            let applied = applier.apply(position.index, command.clone()).expect("a store in memory does not fail");
            let changes = applier.changes;
            note.stocks = changes.stocks.iter().map(|name| self.books.stocks[name].stock).collect();
            note.outcomes = changes.outcomes.iter().map(|(key, outcome)| (key.clone(), *outcome)).collect();
            self.store.orders.extend(changes.orders.into_iter().map(|(_, record)| Rc::from(record)));
            self.store.outcomes.extend(changes.outcomes);
            decisions = applied.decisions;
            published.push(RecentEntry { published: applied.published, statuses: applied.statuses, origin: None });
        }
        recent.extend(published, position.index);
        note.digest = self.books.totals.digest;
        note.orders = self.books.totals.orders;
        (decisions, note)
    }

    /// Number of the last order, and the digest over all.
    pub fn totals(&self) -> Totals {
        self.books.totals
    }

    /// What a replica gets that is sent the state.
    pub fn to_send(&self) -> Self {
        let mut sent = self.clone();
        if broken(Mutant::SnapshotWithoutOutcomes) {
            sent.store.outcomes.clear();
        }
        sent
    }

    /// Answers an order read, with the highest log index that the answer shows; as the real state does.
    pub fn read(&self, read: &OrderRead) -> (OrderReadAnswer, u64) {
        match read {
            OrderRead::ByNumber(number) => self.one_order(*number),
            OrderRead::Newest => self.one_order(self.books.totals.orders),
            OrderRead::ByKey(key) => match self.store.outcomes.get(key).copied() {
                None => (OrderReadAnswer::Key(None), 0),
                Some(stored) => {
                    let order = match stored.outcome {
                        Outcome::Accepted { number, .. } => self.order(number),
                        Outcome::Listed { .. } | Outcome::Rejected(_) => None,
                    };
                    (OrderReadAnswer::Key(Some((stored, order))), stored.log_index)
                }
            },
            OrderRead::After { after, limit } => {
                let mut orders: Vec<Order> =
                    (after + 1..).map_while(|number| self.order(number)).take(limit + 1).collect();
                let more = orders.len() > *limit;
                orders.truncate(*limit);
                (OrderReadAnswer::Page { orders, more, log_index: self.last.index }, self.last.index)
            }
        }
    }

    fn one_order(&self, number: u64) -> (OrderReadAnswer, u64) {
        let order = self.order(number);
        let shows = order.as_ref().map_or(0, |order| order.log_index);
        (OrderReadAnswer::Order(order), shows)
    }

    fn order(&self, number: u64) -> Option<Order> {
        let record = self.store.orders.get(usize::try_from(number.checked_sub(1)?).ok()?)?;
        Some(codec::decode(record).expect("it was encoded here"))
    }

    /// The whole inventory.
    pub fn inventory(&self, heals: bool) -> InventorySnapshot {
        let stocks = self.books.stocks.values().map(|record| record.stock).collect();
        InventorySnapshot { cluster_id: CLUSTER.into(), index: self.last.index, stocks, heals }
    }
}
