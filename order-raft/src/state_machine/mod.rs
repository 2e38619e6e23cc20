//! The replicated state: what openraft's adapter ([`adapter::StateMachine`]) writes and everybody else reads.

pub mod adapter;
pub mod books;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzed;
pub mod recent;
pub mod snapshot;
pub mod store;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use anyhow::Result;
use bazaar_domain::{
    Order, Stock,
    internal::{InventorySnapshot, OrderRead, OrderReadAnswer},
    mutants::{Mutant, broken},
    order::{Decision, Outcome},
};
use openraft::EntryPayload;
use tokio::sync::watch;

use self::{
    books::{AppliedEntry, Applier, Books, OutcomeLookup, StockRecord, StoreFault, Totals},
    recent::{RecentEntries, RecentEntry, RecentRange},
    snapshot::{Generations, LentCheckpoint},
    store::{Faults, Position, StateDb},
};
use crate::raft_types::{AppliedCommand, Entry, LogId, Member, StoredMembership};

/// The state of one replica, shared by the adapter that writes it and all who read it.
#[derive(Debug)]
pub struct State {
    generations: Generations,
    /// The current generation; an installed snapshot replaces it as a whole.
    db: RwLock<Arc<StateDb>>,
    inner: RwLock<Inner>,
    /// A copy of the books' totals, so that nobody who asks for them waits for an apply.
    totals: RwLock<Totals>,
    recent: Mutex<RecentEntries>,
    applied: watch::Sender<Option<LogId>>,
    /// The first fault of the database, of any generation.
    faults: Faults,
}

/// The part in memory.
#[derive(Debug)]
struct Inner {
    books: Books,
    position: Position,
}

/// The index of a log id, with 0 for none: entry 0 is the membership that the cluster was bootstrapped with, so no
/// trade is ever there.
pub fn index_of(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |id| id.index)
}

impl State {
    /// Opens the state in a replica's folder.
    ///
    /// # Errors
    /// If it cannot be opened or is damaged.
    pub fn open(root: &Path) -> Result<Arc<Self>> {
        let generations = Generations::open(root)?;
        let faults = Faults::new(None);
        let db = StateDb::open(&generations.current()?, faults.clone())?;
        generations.find_newest_checkpoint()?;
        let (books, position) = (db.load_books()?, db.position()?);
        let (applied, totals) = (position.last_applied, books.totals);
        Ok(Arc::new(Self {
            generations,
            db: RwLock::new(Arc::new(db)),
            inner: RwLock::new(Inner { books, position }),
            totals: RwLock::new(totals),
            recent: Mutex::new(RecentEntries::starting_at(index_of(applied))),
            applied: watch::Sender::new(applied),
            faults,
        }))
    }

    /// Waits until the database fails, and says how. A replica that cannot read or write its state must not go on: it
    /// would refuse, or worse deny, what it has acknowledged.
    pub async fn failed(&self) -> String {
        let mut faults = self.faults.subscribe();
        let first = faults.wait_for(Option::is_some).await.ok().and_then(|fault| fault.clone());
        first.unwrap_or_else(|| "the state database is gone".to_owned())
    }

    /// The index of the last log entry that the state, or else a checkpoint of it, covers.
    pub fn reaches(&self) -> Option<u64> {
        let checkpoint = self.generations.newest_checkpoint().and_then(|(position, _)| position.last_applied);
        self.position().last_applied.max(checkpoint).map(|id| id.index)
    }

    /// How long ago the newest snapshot was taken.
    pub fn snapshot_age(&self) -> Option<Duration> {
        let (_, folder) = self.generations.newest_checkpoint()?;
        fs::metadata(folder.join("CURRENT")).ok()?.modified().ok()?.elapsed().ok()
    }

    /// The members that were in force at the applied position.
    pub fn members(&self) -> impl Iterator<Item = Member> + use<> {
        let members: Vec<Member> = self.position().membership.nodes().map(|(_, member)| member.clone()).collect();
        members.into_iter()
    }

    /// The database of the current generation.
    pub fn db(&self) -> Arc<StateDb> {
        Arc::clone(&self.db.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn inner(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the applied position: set only after the store has taken what was applied.
    pub fn watch_applied(&self) -> watch::Receiver<Option<LogId>> {
        self.applied.subscribe()
    }

    /// The applied index now.
    pub fn applied_index(&self) -> u64 {
        index_of(*self.applied.borrow())
    }

    /// How many orders there are, and their digest.
    pub fn totals(&self) -> Totals {
        *self.totals.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_totals(&self, totals: Totals) {
        *self.totals.write().unwrap_or_else(PoisonError::into_inner) = totals;
    }

    /// Every stock with what was ever put on offer, and the log index of this inventory.
    pub fn inventory(&self) -> (u64, Vec<StockRecord>) {
        let inner = self.inner();
        (index_of(inner.position.last_applied), inner.books.stocks.values().copied().collect())
    }

    /// The inventory as the catalog takes it.
    pub fn inventory_snapshot(&self, cluster_id: &str, heals: bool) -> InventorySnapshot {
        let (index, records) = self.inventory();
        let stocks: Vec<Stock> = records.into_iter().map(|record| record.stock).collect();
        InventorySnapshot { cluster_id: cluster_id.to_owned(), index, stocks, heals }
    }

    /// The applied entries behind `previous`, or `None` if they are no longer in memory.
    pub fn recent_after(&self, previous: u64, items_max: usize) -> Option<RecentRange> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).after(previous, items_max)
    }

    /// Answers an order read from what is applied now, with the highest log index that the answer shows.
    ///
    /// # Errors
    /// If the store fails.
    pub fn read(&self, read: &OrderRead) -> Result<(OrderReadAnswer, u64), StoreFault> {
        // The index is taken before the database: every order up to it is then certainly found there.
        let log_index = self.applied_index();
        let db = self.db();
        match read {
            OrderRead::ByNumber(number) => Ok(one_order(db.order(*number)?)),
            OrderRead::Newest => Ok(one_order(db.order(self.totals().orders)?)),
            OrderRead::ByKey(key) => {
                let Some(stored) = db.outcome(key)? else {
                    return Ok((OrderReadAnswer::Key(None), 0));
                };
                let order = match stored.outcome {
                    Outcome::Accepted { number, .. } => db.order(number)?,
                    Outcome::Listed { .. } | Outcome::Rejected(_) => None,
                };
                Ok((OrderReadAnswer::Key(Some((stored, order))), stored.log_index))
            }
            OrderRead::After { after, limit } => {
                let mut orders = db.orders_after(*after, limit.saturating_add(1))?;
                orders.retain(|order| order.log_index <= log_index);
                let more = orders.len() > *limit;
                orders.truncate(*limit);
                Ok((OrderReadAnswer::Page { orders, more, log_index }, log_index))
            }
        }
    }

    /// Applies committed entries, in order, as one write; returns what to tell each entry's proposer.
    ///
    /// # Errors
    /// If the store fails, or an entry cannot be read: fatal.
    fn apply(&self, entries: &[&Entry]) -> Result<Vec<AppliedCommand>, StoreFault> {
        let db = self.db();
        let mut answers = Vec::with_capacity(entries.len());
        let mut published = Vec::with_capacity(entries.len());
        let applied;
        {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            let Inner { books, position } = &mut *inner;
            let mut applier = Applier::new(books, &*db);
            for entry in entries {
                let (decisions, recent) = apply_entry(&mut applier, position, entry)?;
                published.extend(recent);
                answers.push(AppliedCommand { decisions });
            }
            let changes = applier.changes;
            db.commit(&changes, books, position)?;
            applied = position.last_applied;
            self.set_totals(books.totals);
        }
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).extend(published, index_of(applied));
        self.applied.send_replace(applied);
        Ok(answers)
    }

    /// A checkpoint of the state as it is applied now, for a use of its own; `None` if one is lent out already. Blocks.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn lend_checkpoint(&self) -> Result<Option<LentCheckpoint>> {
        self.generations.lend_checkpoint(&self.db())
    }

    /// Replaces the whole state by the one in a received checkpoint folder.
    ///
    /// # Errors
    /// If the folder does not hold the state that `expected` names, or the switch fails.
    fn install(&self, folder: &Path, expected: Option<LogId>) -> Result<()> {
        let found = StateDb::position_in(folder)?.last_applied;
        anyhow::ensure!(found == expected, "the snapshot says it ends at {expected:?}, but it ends at {found:?}");
        let path = self.generations.adopt(folder)?;
        let db = StateDb::open(&path, self.faults.clone())?;
        if broken(Mutant::SnapshotWithoutOutcomes) {
            db.forget_outcomes()?;
        }
        let (books, position) = (db.load_books()?, db.position()?);
        self.generations.switch_to(&path)?;
        let applied = position.last_applied;
        // Declared before the lock, so that the old database is closed and removed after the lock is released.
        let old;
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        old = std::mem::replace(&mut *self.db.write().unwrap_or_else(PoisonError::into_inner), Arc::new(db));
        old.retire();
        self.set_totals(books.totals);
        *inner = Inner { books, position };
        *self.recent.lock().unwrap_or_else(PoisonError::into_inner) = RecentEntries::starting_at(index_of(applied));
        self.applied.send_replace(applied);
        Ok(())
    }

    fn position(&self) -> Position {
        self.inner().position.clone()
    }
}

/// Applies one entry; returns the decisions for its proposer, and what of it the catalog gets.
fn apply_entry(
    applier: &mut Applier<'_, impl OutcomeLookup>,
    position: &mut Position,
    entry: &Entry,
) -> Result<(Vec<Decision>, Option<RecentEntry>), StoreFault> {
    position.last_applied = Some(entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => Ok((Vec::new(), None)),
        EntryPayload::Membership(membership) => {
            position.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            Ok((Vec::new(), None))
        }
        EntryPayload::Normal(command) => {
            let index = entry.log_id.index;
            let decoded = command
                .decode()
                .map_err(|error| StoreFault(format!("log entry {index} cannot be applied: {error}")))?;
            let AppliedEntry { decisions, published, statuses } = applier.apply(index, decoded)?;
            Ok((decisions, Some(RecentEntry { published, statuses, origin: command.origin.clone() })))
        }
    }
}

/// The answer about one order, with the log index that it shows.
fn one_order(order: Option<Order>) -> (OrderReadAnswer, u64) {
    let shows = order.as_ref().map_or(0, |order| order.log_index);
    (OrderReadAnswer::Order(order), shows)
}
