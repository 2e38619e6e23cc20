//! What leaders send, made into changes of the ledger: one way for the catalog and for all that check it.

use bazaar_domain::{
    ApiError,
    internal::{InventorySnapshot, ItemStatus, PublishBatch},
};

use crate::{
    decide::{Base, decide_entries, entries_after, names},
    ledger::{Change, Ledger, Next},
};

/// For each entry its index and the statuses of its items.
pub type Statuses = Vec<(u64, Vec<ItemStatus>)>;

/// A batch that is taken, with the part of the ledger that it touches: what it does is worked out without the ledger,
/// which is locked for moments only.
#[derive(Debug)]
pub struct TakenBatch<'b> {
    batch: &'b PublishBatch,
    applied: u64,
    base: Base,
}

impl<'b> TakenBatch<'b> {
    /// The batch, unless something before it is missing. To be called while no batch is pending.
    ///
    /// # Errors
    /// As [`Ledger::takes_batch`].
    pub fn of(ledger: &Ledger, batch: &'b PublishBatch) -> Result<Option<Self>, ApiError> {
        if !ledger.takes_batch(batch)? {
            return Ok(None);
        }
        let applied = ledger.applied();
        let base = ledger.base(names(entries_after(&batch.entries, applied)));
        Ok(Some(Self { batch, applied, base }))
    }

    /// The log index up to which the copy held everything before.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// What the entries that are new change, and what became of their items.
    pub fn decide(self) -> (Change, Statuses) {
        let decided = decide_entries(self.base, entries_after(&self.batch.entries, self.applied));
        let through = self.batch.through.max(self.applied);
        let next = Next::Changed(decided.changed);
        (Change { cluster_id: self.batch.cluster_id.clone(), through, next }, decided.statuses)
    }
}

/// The change by which an inventory that is taken ([`Ledger::takes_snapshot`]) replaces everything.
pub fn replaced_by(snapshot: InventorySnapshot) -> Change {
    let stocks = snapshot.stocks.into_iter().map(|stock| (stock.name, stock)).collect();
    Change { cluster_id: snapshot.cluster_id, through: snapshot.index, next: Next::Whole(stocks) }
}
