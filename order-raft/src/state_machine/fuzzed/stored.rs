//! A replica as it is: its state in RocksDB, snapshots as folders.

use std::{fs, path::Path, sync::Arc};

use bazaar_domain::{
    IdempotencyKey, Order,
    digest::Digest,
    internal::{ItemStatus, PublishedEntry},
    order::{Decision, StoredOutcome},
};
use tempfile::TempDir;

use super::Replica;
use crate::{
    raft_types::{Entry, LogId},
    snapshot_dir::SnapshotDir,
    state_machine::{
        State,
        books::{StockRecord, Totals},
        store::Row,
    },
};

pub(super) struct Stored {
    folder: TempDir,
    /// `None` only while it restarts: the database must be closed before it is opened again.
    state: Option<Arc<State>>,
}

impl Stored {
    fn state(&self) -> &State {
        self.state.as_ref().expect("open, but while it restarts")
    }

    fn open(&mut self) {
        self.state = Some(State::open(self.folder.path()).expect("the state can be opened"));
    }
}

fn temporary() -> TempDir {
    TempDir::new().expect("a temporary folder can be made")
}

/// A copy as a transfer makes it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder can be made");
    for file in (SnapshotDir { path: from.to_owned() }).files().expect("a snapshot can be read") {
        fs::copy(from.join(&file.name), to.join(&file.name)).expect("a file can be copied");
    }
}

impl Replica for Stored {
    type Snapshot = TempDir;

    fn new() -> Self {
        let mut new = Self { folder: temporary(), state: None };
        new.open();
        new
    }

    fn apply(&mut self, entries: &[&Entry]) -> Vec<Vec<Decision>> {
        let applied = self.state().apply(entries).expect("the store works");
        applied.into_iter().map(|applied| applied.decisions).collect()
    }

    fn snapshot(&self) -> TempDir {
        let state = self.state();
        let (_, path) = state.generations.make_checkpoint(&state.db()).expect("a checkpoint can be made");
        let sent = temporary();
        copy(&path, &sent.path().join("snapshot"));
        sent
    }

    fn install(&mut self, snapshot: &TempDir, last: Option<LogId>) {
        let received = self.folder.path().join("received");
        copy(&snapshot.path().join("snapshot"), &received);
        self.state().install(&received, last).expect("a snapshot can be installed");
    }

    fn restart(&mut self) {
        self.state = None;
        self.open();
        assert_eq!(self.totals(), self.state().db().count_anew().expect("the store works"), "what is stored adds up");
    }

    fn totals(&self) -> Totals {
        self.state().totals()
    }

    fn inventory(&self) -> Vec<StockRecord> {
        self.state().inventory().1
    }

    fn outcome(&self, key: &IdempotencyKey) -> Option<StoredOutcome> {
        self.state().db().outcome(key).expect("the store works")
    }

    fn orders(&self) -> Vec<Order> {
        self.state().db().orders_after(0, usize::MAX).expect("the store works")
    }

    fn digest_at(&self, number: u64) -> Option<Digest> {
        self.state().db().digest_at(number).expect("the store works")
    }

    fn published(&self, after: u64) -> Option<Vec<(PublishedEntry, Vec<ItemStatus>)>> {
        let range = self.state().recent_after(after, usize::MAX)?;
        Some(range.entries.iter().map(|entry| (entry.published.clone(), entry.statuses.clone())).collect())
    }

    fn rows(&self) -> Vec<Row> {
        self.state().db().dump().expect("the store works")
    }
}
