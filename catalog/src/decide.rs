//! Decides published items against the inventory with the shared trade rule, as the replicas did in their apply.

use std::collections::HashMap;

use bazaar_domain::{
    Stock, StockName,
    internal::{InventorySnapshot, ItemStatus, PublishBatch, PublishedEntry, PublishedItem},
    inventory::{decide, decide_listing},
    limits::STOCK_QUANTITY_MAX,
};

/// Highest version that a stock can have in an inventory: a million changes a second for centuries.
const STOCK_VERSION_MAX: u64 = 1 << 53;

/// The part of the inventory that some entries touch, before them.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// The stocks that the entries name, as far as they are listed.
    pub stocks: HashMap<StockName, Stock>,
    /// How many stocks are listed in all.
    pub listed: usize,
}

/// What the entries did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// The stocks that changed, by name, as they are afterwards.
    pub changed: Vec<Stock>,
    /// For each entry its index and the statuses of its items.
    pub statuses: Vec<(u64, Vec<ItemStatus>)>,
}

/// Checks that a batch is what it says: entries in ascending order, all within `(previous, through]`.
///
/// # Errors
/// If it is not; the text says what is wrong.
pub fn check_batch(batch: &PublishBatch) -> Result<(), String> {
    if batch.previous > batch.through {
        return Err(format!("the batch ends at {}, before its start at {}", batch.through, batch.previous));
    }
    let mut last = batch.previous;
    for entry in &batch.entries {
        if entry.index <= last || entry.index > batch.through {
            return Err(format!("entry {} does not follow {last} within the batch", entry.index));
        }
        last = entry.index;
    }
    Ok(())
}

/// Checks that an inventory holds only what trades could have made of listed stocks. The rule counts on from there, and
/// must not come to the end of the numbers.
///
/// # Errors
/// If it does not; the text says what is wrong.
pub fn check_inventory(snapshot: &InventorySnapshot) -> Result<(), String> {
    let is_possible = |stock: &Stock| {
        let max = stock.max_quantity.unwrap_or(STOCK_QUANTITY_MAX).min(STOCK_QUANTITY_MAX);
        stock.quantity <= max && stock.trade_volume <= STOCK_QUANTITY_MAX && stock.version <= STOCK_VERSION_MAX
    };
    match snapshot.stocks.iter().find(|stock| !is_possible(stock)) {
        Some(stock) => Err(format!("the inventory's stock {} has numbers that no stock can have", stock.name)),
        None => Ok(()),
    }
}

/// The entries after an index.
pub fn entries_after(entries: &[PublishedEntry], index: u64) -> &[PublishedEntry] {
    &entries[entries.partition_point(|entry| entry.index <= index)..]
}

/// The stocks that the entries name, some of them several times.
pub fn names(entries: &[PublishedEntry]) -> impl Iterator<Item = StockName> + '_ {
    entries.iter().flat_map(|entry| &entry.items).map(item_name)
}

fn item_name(item: &PublishedItem) -> StockName {
    match item {
        PublishedItem::Trade(trade) => trade.name,
        PublishedItem::Listing(listing) => listing.name,
    }
}

/// Decides the entries one after the other.
pub fn decide_entries(base: Base, entries: &[PublishedEntry]) -> Decided {
    let mut books = Books { base, changed: HashMap::new() };
    let statuses = entries
        .iter()
        .map(|entry| (entry.index, entry.items.iter().map(|item| books.decide_item(item)).collect()))
        .collect();
    let mut changed: Vec<Stock> = books.changed.into_values().collect();
    changed.sort_unstable_by_key(|stock| stock.name);
    Decided { changed, statuses }
}

/// The inventory while entries are being decided.
struct Books {
    base: Base,
    changed: HashMap<StockName, Stock>,
}

impl Books {
    fn decide_item(&mut self, item: &PublishedItem) -> ItemStatus {
        let name = item_name(item);
        let stock = self.changed.get(&name).or_else(|| self.base.stocks.get(&name)).copied();
        let decided = match item {
            PublishedItem::Trade(trade) => decide(stock.as_ref(), trade),
            PublishedItem::Listing(listing) => decide_listing(stock.as_ref(), self.base.listed, listing),
        };
        match decided {
            Ok(next) => {
                self.base.listed += usize::from(stock.is_none());
                self.changed.insert(name, next);
                ItemStatus::new(None, Some(&next))
            }
            Err(rejection) => ItemStatus::new(Some(rejection), stock.as_ref()),
        }
    }
}
