//! The state machine against a model of a few lines: sequences of entries on two replicas, of which one gets snapshots
//! in place of entries, starts again, and applies in other batches.

mod in_memory;
mod model;
mod plan;
mod stored;

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use bazaar_domain::{
    IdempotencyKey, Order,
    digest::Digest,
    internal::{ItemStatus, PublishedEntry},
    order::{Decision, StoredOutcome},
};

use super::{
    books::{DIGEST_EVERY_ORDERS, StockRecord, Totals},
    store::Row,
};
use crate::raft_types::{Entry, LogId};

use self::{
    in_memory::InMemory,
    model::{Expected, Model},
    plan::{Payload, Plan, Step, Who},
    stored::Stored,
};

pub(crate) use self::plan::command_seeds;

/// A state that entries are applied to, in memory or in RocksDB.
trait Replica {
    /// The state at one position, to be sent.
    type Snapshot;

    fn new() -> Self;
    fn apply(&mut self, entries: &[&Entry]) -> Vec<Vec<Decision>>;
    fn snapshot(&self) -> Self::Snapshot;
    /// Replaces everything by a snapshot that ends at `last`.
    fn install(&mut self, snapshot: &Self::Snapshot, last: Option<LogId>);
    /// Forgets what is in memory, and reads what is stored.
    fn restart(&mut self);
    fn totals(&self) -> Totals;
    fn inventory(&self) -> Vec<StockRecord>;
    fn outcome(&self, key: &IdempotencyKey) -> Option<StoredOutcome>;
    fn orders(&self) -> Vec<Order>;
    fn digest_at(&self, number: u64) -> Option<Digest>;
    /// The applied entries behind an index with what became of them, if they are still in memory.
    fn published(&self, after: u64) -> Option<Vec<(PublishedEntry, Vec<ItemStatus>)>>;
    /// Everything that is stored.
    fn rows(&self) -> Vec<Row>;
}

/// The real books over rows in memory. Says whether anything was traded.
pub(crate) fn state_machine(bytes: &[u8]) -> bool {
    run::<InMemory>(bytes)
}

/// The same on the real database, which is slower by far.
pub(crate) fn state_database(bytes: &[u8]) -> bool {
    run::<Stored>(bytes)
}

fn run<R: Replica>(bytes: &[u8]) -> bool {
    let Ok(plan) = Plan::read(&mut Unstructured::new(bytes)) else { return false };
    let mut pair = Pair::<R>::new();
    for step in &plan.steps {
        pair.step(step);
    }
    pair.end();
    !pair.model.orders.is_empty()
}

/// An entry of the log, and what it should do wherever it is applied.
struct Logged {
    entry: Entry,
    expected: Expected,
}

/// A replica that applies each entry at once, one that follows it, and what both should hold.
struct Pair<R: Replica> {
    log: Vec<Logged>,
    model: Model,
    leader: R,
    follower: R,
    /// How many entries the follower has applied.
    followed: usize,
    /// The newest snapshot of the leader, with the number of entries that it covers.
    snapshot: Option<(usize, R::Snapshot)>,
}

impl<R: Replica> Pair<R> {
    fn new() -> Self {
        let (log, model) = (Vec::new(), Model::default());
        let mut pair = Self { log, model, leader: R::new(), follower: R::new(), followed: 0, snapshot: None };
        // As every log begins; no item is ever there.
        pair.entry(Payload::Members);
        pair
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Entry(payload) => self.entry(payload.clone()),
            Step::Follow(entries) => self.follow(*entries),
            Step::Build => self.snapshot = Some((self.log.len(), self.leader.snapshot())),
            Step::Install => self.install(),
            Step::Restart(Who::Leader) => self.leader.restart(),
            Step::Restart(Who::Follower) => self.follower.restart(),
        }
        self.compare(&self.leader);
        if self.followed == self.log.len() {
            self.compare(&self.follower);
        }
    }

    fn entry(&mut self, payload: Payload) {
        let entry = plan::entry(self.log.len(), payload);
        let expected = self.model.apply(&entry);
        let logged = Logged { entry, expected };
        apply(&mut self.leader, std::slice::from_ref(&logged));
        self.log.push(logged);
    }

    /// The follower applies the next entries together.
    fn follow(&mut self, entries: usize) {
        let end = self.log.len().min(self.followed + entries);
        apply(&mut self.follower, &self.log[self.followed..end]);
        self.followed = end;
    }

    /// The follower gets the newest snapshot, if it is ahead of it.
    fn install(&mut self) {
        if let Some((covers, snapshot)) = &self.snapshot
            && *covers > self.followed
        {
            self.follower.install(snapshot, Some(self.log[covers - 1].entry.log_id));
            self.followed = *covers;
        }
    }

    /// Everything that the state keeps in memory is what the model holds.
    fn compare(&self, replica: &R) {
        assert_eq!(replica.totals(), self.model.totals());
        assert_eq!(replica.inventory(), self.model.inventory());
    }

    /// When the follower has applied everything, both hold the same bytes, and what the model holds.
    fn end(&mut self) {
        self.follow(self.log.len());
        self.compare(&self.follower);
        assert_eq!(self.follower.rows(), self.leader.rows(), "a follower with other bytes");
        self.follower.restart();
        self.compare(&self.follower);
        assert_eq!(self.follower.orders(), self.model.orders);
        let kept = usize::try_from(DIGEST_EVERY_ORDERS).expect("small");
        for number in [0, 1, kept - 1, kept, kept + 1, self.model.orders.len(), self.model.orders.len() + 1] {
            assert_eq!(self.follower.digest_at(number as u64), self.model.digest_at(number), "at {number}");
        }
        let outcomes: BTreeMap<_, _> = self.model.outcomes().collect();
        for (key, outcome) in &outcomes {
            assert_eq!(self.follower.outcome(key), Some(*outcome), "{key}");
        }
        for key in plan::keys().filter(|key| !outcomes.contains_key(key)) {
            assert_eq!(self.follower.outcome(&key), None, "{key}");
        }
    }
}

/// A replica applies the next entries of the log together. Each is decided as expected, and the catalog is sent what is new
/// in them, under their indexes.
fn apply<R: Replica>(replica: &mut R, log: &[Logged]) {
    let entries: Vec<&Entry> = log.iter().map(|logged| &logged.entry).collect();
    let Some(first) = entries.first() else { return };
    let decisions = replica.apply(&entries);
    let expected: Vec<_> = log.iter().map(|logged| logged.expected.decisions.clone()).collect();
    assert_eq!(decisions, expected, "from {}", first.log_id.index);
    let published = replica.published(first.log_id.index.saturating_sub(1)).expect("the newest entries are in memory");
    let expected: Vec<_> = log.iter().filter(|logged| !logged.expected.fresh.is_empty()).map(sent).collect();
    assert_eq!(published, expected, "what the catalog gets from {}", first.log_id.index);
}

/// What the catalog is sent of an entry.
fn sent(logged: &Logged) -> (PublishedEntry, Vec<ItemStatus>) {
    let Logged { entry, expected: Expected { fresh, statuses, .. } } = logged;
    (PublishedEntry { index: entry.log_id.index, items: fresh.clone() }, statuses.clone())
}
