//! A replica whose database is a map: what it stores are the same rows.

use std::collections::BTreeMap;

use bazaar_domain::{
    IdempotencyKey, Order, codec,
    digest::Digest,
    internal::{ItemStatus, PublishedEntry},
    order::{Decision, StoredOutcome},
};
use serde::de::DeserializeOwned;

use super::Replica;
use crate::{
    raft_types::{Entry, LogId},
    state_machine::{
        apply_entry,
        books::{Applier, Books, DIGEST_EVERY_ORDERS, OutcomeLookup, StockRecord, StoreFault, Totals},
        index_of,
        recent::RecentEntries,
        store::{META, ORDERS, OUTCOMES, POSITION_KEY, Position, Row, STOCKS, TOTALS_KEY, digest_key, put_rows},
    },
};

/// Records by column family and key.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows(BTreeMap<(&'static str, Vec<u8>), Vec<u8>>);

impl Rows {
    fn read<T: DeserializeOwned>(&self, family: &'static str, key: &[u8]) -> Option<T> {
        let record = self.0.get(&(family, key.to_vec()))?;
        Some(codec::decode(record).expect("what was stored can be read"))
    }

    fn of_family<T: DeserializeOwned>(&self, family: &'static str) -> Vec<T> {
        let rows = self.0.iter().filter(|((found, _), _)| *found == family);
        rows.map(|(_, record)| codec::decode(record).expect("what was stored can be read")).collect()
    }
}

impl OutcomeLookup for Rows {
    fn outcomes<'k>(
        &self,
        keys: impl Iterator<Item = &'k IdempotencyKey>,
    ) -> Result<Vec<Option<StoredOutcome>>, StoreFault> {
        Ok(keys.map(|key| self.read(OUTCOMES, key.as_str().as_bytes())).collect())
    }
}

pub(super) struct InMemory {
    rows: Rows,
    books: Books,
    position: Position,
    recent: RecentEntries,
}

impl InMemory {
    fn load(rows: Rows) -> Self {
        let position: Position = rows.read(META, POSITION_KEY).unwrap_or_default();
        let totals = rows.read(META, TOTALS_KEY).unwrap_or_default();
        let records: Vec<StockRecord> = rows.of_family(STOCKS);
        let stocks = records.into_iter().map(|record| (record.stock.name, record)).collect();
        let recent = RecentEntries::starting_at(index_of(position.last_applied));
        Self { rows, books: Books { stocks, totals }, position, recent }
    }
}

impl Replica for InMemory {
    type Snapshot = Rows;

    fn new() -> Self {
        Self::load(Rows::default())
    }

    fn apply(&mut self, entries: &[&Entry]) -> Vec<Vec<Decision>> {
        let (mut decisions, mut published) = (Vec::new(), Vec::new());
        let mut applier = Applier::new(&mut self.books, &self.rows);
        for entry in entries {
            let (decided, recent) = apply_entry(&mut applier, &mut self.position, entry).expect("a map does not fail");
            decisions.push(decided);
            published.extend(recent);
        }
        let changes = applier.changes;
        put_rows(&changes, &self.books, &self.position, |family, key, record| {
            self.rows.0.insert((family, key.to_vec()), record.to_vec());
        });
        self.recent.extend(published, index_of(self.position.last_applied));
        decisions
    }

    fn snapshot(&self) -> Rows {
        self.rows.clone()
    }

    fn install(&mut self, snapshot: &Rows, last: Option<LogId>) {
        *self = Self::load(snapshot.clone());
        assert_eq!(self.position.last_applied, last, "a snapshot ends where it was built");
    }

    fn restart(&mut self) {
        *self = Self::load(std::mem::take(&mut self.rows));
    }

    fn totals(&self) -> Totals {
        self.books.totals
    }

    fn inventory(&self) -> Vec<StockRecord> {
        self.books.stocks.values().copied().collect()
    }

    fn outcome(&self, key: &IdempotencyKey) -> Option<StoredOutcome> {
        self.rows.read(OUTCOMES, key.as_str().as_bytes())
    }

    fn orders(&self) -> Vec<Order> {
        self.rows.of_family(ORDERS)
    }

    /// From the nearest digest that is stored, as in the database.
    fn digest_at(&self, number: u64) -> Option<Digest> {
        let kept = number - number % DIGEST_EVERY_ORDERS;
        let stored = if kept == 0 { Digest::default() } else { self.rows.read(META, &digest_key(kept))? };
        (kept + 1..=number).try_fold(stored, |digest, next| {
            let order: Order = self.rows.read(ORDERS, &next.to_be_bytes())?;
            Some(digest.extended(&order))
        })
    }

    fn published(&self, after: u64) -> Option<Vec<(PublishedEntry, Vec<ItemStatus>)>> {
        let range = self.recent.after(after, usize::MAX)?;
        Some(range.entries.iter().map(|entry| (entry.published.clone(), entry.statuses.clone())).collect())
    }

    fn rows(&self) -> Vec<Row> {
        self.rows.0.iter().map(|((_, key), record)| (key.clone(), record.clone())).collect()
    }
}
