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
    books::{StockRecord, Totals},
    store::Row,
};
use crate::raft_types::{Entry, LogId};

use self::{
    in_memory::InMemory,
    model::Model,
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

/// The real books over rows in memory.
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
    !plan.steps.is_empty()
}

/// A replica that applies each entry at once, one that follows it, and what both should hold.
struct Pair<R: Replica> {
    log: Vec<Entry>,
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
        let (mut leader, follower) = (R::new(), R::new());
        // As every log begins; no item is ever there.
        let founding = plan::entry(0, Payload::Members);
        leader.apply(&[&founding]);
        Self { log: vec![founding], model: Model::default(), leader, follower, followed: 0, snapshot: None }
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
    }

    fn entry(&mut self, payload: Payload) {
        let entry = plan::entry(self.log.len(), payload);
        let expected = self.model.apply(&entry);
        let decisions = self.leader.apply(&[&entry]);
        assert_eq!(decisions, [expected.decisions], "at {}", entry.log_id.index);
        let published = self.leader.published(entry.log_id.index - 1).expect("the newest entry is in memory");
        let (items, statuses): (Vec<_>, Vec<_>) =
            published.into_iter().map(|(entry, statuses)| (entry.items, statuses)).unzip();
        assert_eq!((items.concat(), statuses.concat()), (expected.fresh, expected.statuses), "what the catalog gets");
        self.log.push(entry);
    }

    /// The follower applies the next entries together.
    fn follow(&mut self, entries: usize) {
        let end = self.log.len().min(self.followed + entries);
        let batch: Vec<&Entry> = self.log[self.followed..end].iter().collect();
        if !batch.is_empty() {
            self.follower.apply(&batch);
            self.followed = end;
        }
    }

    /// The follower gets the newest snapshot, if it is ahead of it.
    fn install(&mut self) {
        if let Some((covers, snapshot)) = &self.snapshot
            && *covers > self.followed
        {
            self.follower.install(snapshot, Some(self.log[covers - 1].log_id));
            self.followed = *covers;
        }
    }

    /// Everything that the state keeps in memory is what the model holds.
    fn compare(&self, replica: &R) {
        assert_eq!(replica.totals(), self.model.totals());
        assert_eq!(replica.inventory(), self.model.inventory());
    }

    /// When the follower has applied everything, both hold the same bytes, and what the model holds.
    fn end(mut self) {
        self.follow(self.log.len());
        self.compare(&self.follower);
        assert_eq!(self.follower.rows(), self.leader.rows(), "a follower with other bytes");
        self.follower.restart();
        self.compare(&self.follower);
        assert_eq!(self.follower.orders(), self.model.orders);
        for number in [0, 1, self.model.orders.len(), self.model.orders.len() + 1] {
            assert_eq!(self.follower.digest_at(number as u64), self.model.digest_at(number), "at {number}");
        }
        let outcomes: BTreeMap<_, _> = self.model.outcomes().collect();
        for key in plan::keys() {
            assert_eq!(self.follower.outcome(&key), outcomes.get(&key).copied(), "{key}");
        }
    }
}
