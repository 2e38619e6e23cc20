//! What the state machine should do, in the fewest words: no rule is shared with it.

use std::collections::BTreeMap;

use bazaar_domain::{
    Cents, Command, IdempotencyKey, Listing, ListingChange, Order, Outcome, Rejection, Side, Stock, StockName, Trade,
    digest::Digest,
    internal::{ItemStatus, PublishedItem},
    limits::STOCK_QUANTITY_MAX,
    order::{Decision, StoredOutcome},
};
use openraft::EntryPayload;

use crate::{
    raft_types::Entry,
    state_machine::books::{StockRecord, Totals},
};

/// Numbers without an end, so that nothing here can overflow.
type Number = i128;

const MAX: Number = STOCK_QUANTITY_MAX as Number;

/// A stock; its quantity is not kept, but follows.
#[derive(Debug)]
struct Held {
    price: Cents,
    listed: Number,
    sold_to_us: Number,
    bought_from_us: Number,
    changes: u64,
    max_quantity: Option<u64>,
}

impl Held {
    fn quantity(&self) -> Number {
        self.listed + self.sold_to_us - self.bought_from_us
    }

    fn max(&self) -> Number {
        self.max_quantity.map_or(MAX, |max| MAX.min(max.into()))
    }

    fn volume(&self) -> Number {
        self.sold_to_us + self.bought_from_us
    }

    fn stock(&self, name: StockName) -> Stock {
        let (quantity, trade_volume) = (small(self.quantity()), small(self.volume()));
        let (price, version, max_quantity) = (self.price, self.changes, self.max_quantity);
        Stock { name, price, quantity, trade_volume, version, max_quantity }
    }
}

fn small(number: Number) -> u64 {
    number.try_into().expect("never negative, never past the bound")
}

fn limit(max: Number) -> Rejection {
    Rejection::QuantityLimit { max: small(max) }
}

/// What an entry should do.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) decisions: Vec<Decision>,
    pub(super) fresh: Vec<PublishedItem>,
    pub(super) statuses: Vec<ItemStatus>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    stocks: BTreeMap<StockName, Held>,
    /// What was first asked under each key, and what became of it.
    asked: BTreeMap<IdempotencyKey, (PublishedItem, u64, Outcome)>,
    pub(super) orders: Vec<Order>,
    /// After each order, and before the first.
    digests: Vec<Digest>,
}

impl Model {
    pub(super) fn apply(&mut self, entry: &Entry) -> Expected {
        let EntryPayload::Normal(command) = &entry.payload else { return Expected::default() };
        let items: Vec<PublishedItem> = match command.decode().expect("it was encoded by the plan") {
            Command::Trades(trades) => trades.into_iter().map(PublishedItem::Trade).collect(),
            Command::Listings(listings) => listings.into_iter().map(PublishedItem::Listing).collect(),
        };
        let mut expected = Expected::default();
        for item in items {
            self.item(entry.log_id.index, item, &mut expected);
        }
        expected
    }

    fn item(&mut self, index: u64, item: PublishedItem, expected: &mut Expected) {
        let (key, name) = match &item {
            PublishedItem::Trade(trade) => (trade.key.clone(), trade.name),
            PublishedItem::Listing(listing) => (listing.key.clone(), listing.name),
        };
        let decision = match self.asked.get(&key) {
            Some((first, _, outcome)) if *first == item => Decision::Replayed(*outcome),
            Some(_) => Decision::KeyReused,
            None => {
                let decided = match &item {
                    PublishedItem::Trade(trade) => self.trade(index, trade),
                    PublishedItem::Listing(listing) => self.listing(listing),
                };
                let outcome = decided.unwrap_or_else(Outcome::Rejected);
                let stock = self.stocks.get(&name).map(|held| held.stock(name));
                expected.statuses.push(ItemStatus::new(decided.err(), stock.as_ref()));
                expected.fresh.push(item.clone());
                self.asked.insert(key, (item, index, outcome));
                Decision::Fresh(outcome)
            }
        };
        expected.decisions.push(decision);
    }

    fn trade(&mut self, index: u64, trade: &Trade) -> Result<Outcome, Rejection> {
        let held = self.stocks.get_mut(&trade.name).ok_or(Rejection::StockNotFound)?;
        let quantity = Number::from(trade.quantity.get());
        match trade.side {
            Side::Buy if held.quantity() < quantity => {
                return Err(Rejection::InsufficientQuantity { available: small(held.quantity()) });
            }
            Side::Sell if held.quantity() + quantity > held.max() => return Err(limit(held.max())),
            _ if held.volume() + quantity > MAX => return Err(limit(MAX)),
            Side::Buy => held.bought_from_us += quantity,
            Side::Sell => held.sold_to_us += quantity,
        }
        held.changes += 1;
        let (number, stock_version, price) = (self.orders.len() as u64 + 1, held.changes, held.price);
        let Trade { key, name, side, quantity } = trade.clone();
        let order = Order { number, key, name, side, quantity, price, stock_version, log_index: index };
        self.digests.push(self.digest().extended(&order));
        self.orders.push(order);
        Ok(Outcome::Accepted { number, stock_version })
    }

    fn listing(&mut self, listing: &Listing) -> Result<Outcome, Rejection> {
        if let ListingChange::List { price, quantity, max_quantity } = listing.change {
            if self.stocks.contains_key(&listing.name) {
                return Err(Rejection::AlreadyListed);
            }
            let listed = quantity.into();
            let held = Held { price, listed, sold_to_us: 0, bought_from_us: 0, changes: 0, max_quantity };
            if listed > held.max() {
                return Err(limit(held.max()));
            }
            self.stocks.insert(listing.name, held);
        }
        let held = self.stocks.get_mut(&listing.name).ok_or(Rejection::StockNotFound)?;
        match listing.change {
            ListingChange::Restock { quantity } if held.quantity() + Number::from(quantity) > held.max() => {
                return Err(limit(held.max()));
            }
            ListingChange::Restock { quantity } => held.listed += Number::from(quantity),
            ListingChange::Reprice { price } => held.price = price,
            ListingChange::List { .. } => {}
        }
        held.changes += 1;
        Ok(Outcome::Listed { stock_version: held.changes })
    }

    fn digest(&self) -> Digest {
        self.digests.last().copied().unwrap_or_default()
    }

    pub(super) fn digest_at(&self, number: usize) -> Option<Digest> {
        match number.checked_sub(1) {
            None => Some(Digest::default()),
            Some(before) => self.digests.get(before).copied(),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { orders: self.orders.len() as u64, digest: self.digest() }
    }

    pub(super) fn inventory(&self) -> Vec<StockRecord> {
        let record =
            |(name, held): (&StockName, &Held)| StockRecord { stock: held.stock(*name), listed: small(held.listed) };
        self.stocks.iter().map(record).collect()
    }

    pub(super) fn outcomes(&self) -> impl Iterator<Item = (IdempotencyKey, StoredOutcome)> {
        self.asked.iter().map(|(key, (item, log_index, outcome))| {
            let fingerprint = match item {
                PublishedItem::Trade(trade) => trade.fingerprint(),
                PublishedItem::Listing(listing) => listing.fingerprint(),
            };
            (key.clone(), StoredOutcome { fingerprint, log_index: *log_index, outcome: *outcome })
        })
    }
}
