//! The log itself: its positions, its recent entries, and the order in which changes reach the database.

use std::{
    io,
    ops::{Bound, RangeBounds},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[cfg(feature = "mutants")]
use bazaar_domain::mutants::{Mutant, broken};

use super::{
    codec,
    database::{Changes, Database},
    flusher::{Fatal, Flusher, Waiter},
    keys,
    recent::RecentEntries,
};
use crate::raft_types::{Entry, LogId};

/// Where the log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPositions {
    /// Index of the first entry that is still there; `None` if there is none.
    pub first: Option<u64>,
    /// Log id of the last entry; `None` if there is none.
    pub last: Option<LogId>,
    /// Log id of the last entry that was purged.
    pub purged: Option<LogId>,
}

impl LogPositions {
    /// The part of `range` that the log holds, as `[start, end)`; `None` if it holds nothing of it.
    fn held(&self, range: &impl RangeBounds<u64>) -> Option<(u64, u64)> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let (start, end) = (start.max(self.first?), end.min(self.last?.index + 1));
        (start < end).then_some((start, end))
    }

    /// The only index that may be appended next; `None` if the log is new and may begin anywhere.
    fn next(&self) -> Option<u64> {
        self.last.or(self.purged).map(|id| id.index + 1)
    }
}

/// Everything behind one mutex: readers find positions, recent entries and the database in agreement.
#[derive(Default)]
struct State {
    positions: LogPositions,
    recent: RecentEntries,
}

/// One opened log. Dropping it makes it durable and closes it.
pub(super) struct Store {
    state: Mutex<State>,
    fatal: Arc<Fatal>,
    flusher: Flusher,
    db: Arc<Database>,
}

impl Store {
    /// Opens the log in `path` and checks that it has a beginning and an end.
    pub(super) fn open(path: &Path, on_fatal: impl Fn(String) + Send + Sync + 'static) -> anyhow::Result<Self> {
        #[cfg(feature = "mutants")]
        if broken(Mutant::RetryFailedSync) {
            return Self::open_with_sync(path, on_fatal, super::retried::sync);
        }
        Self::open_with_sync(path, on_fatal, Database::sync)
    }

    /// The same with another way to sync, so that tests can make it fail.
    pub(super) fn open_with_sync(
        path: &Path,
        on_fatal: impl Fn(String) + Send + Sync + 'static,
        sync: impl Fn(&Database) -> Result<(), String> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let db = Arc::new(Database::open(path)?);
        let positions = find_positions(&db)?;
        let fatal = Arc::new(Fatal::new(on_fatal));
        let synced = Arc::clone(&db);
        let flusher = Flusher::start(Arc::clone(&fatal), move || {
            let path = synced.path().display();
            sync(&synced).map_err(|message| format!("the Raft log in {path} cannot be made durable: {message}"))
        })?;
        let state = Mutex::new(State { positions, recent: RecentEntries::default() });
        Ok(Self { state, fatal, flusher, db })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn file_bytes(&self) -> io::Result<u64> {
        self.db.log_file_bytes().map_err(io::Error::other)
    }

    pub(super) fn positions(&self) -> LogPositions {
        self.state().positions
    }

    /// Reads a record of `meta`.
    pub(super) fn meta<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> io::Result<Option<T>> {
        self.db.meta_record(key)
    }

    /// Writes a record of `meta`; durable after the next flush.
    pub(super) fn put_meta<T: serde::Serialize>(&self, key: &[u8], value: &T) -> io::Result<()> {
        let mut changes = Changes::default();
        self.db.put_meta(&mut changes, key, value);
        self.write(changes)
    }

    /// Tells `waiter` when everything written before this call is durable.
    pub(super) fn flush(&self, waiter: Waiter) {
        self.flusher.submit(waiter);
    }

    /// Appends entries: readable on return, durable after the next flush.
    pub(super) fn append(&self, entries: impl IntoIterator<Item = Entry>) -> io::Result<()> {
        let mut changes = Changes::default();
        let mut expected = self.positions().next();
        let mut sized = Vec::new();
        for entry in entries {
            let index = entry.log_id.index;
            if let Some(expected) = expected.filter(|expected| *expected != index) {
                let what = format!("entry {index} was to be appended where entry {expected} belongs");
                return Err(codec::damaged(self.db.path(), &what));
            }
            expected = Some(index + 1);
            sized.push((self.db.put_entry(&mut changes, &entry), entry));
        }
        self.write(changes)?;
        let mut state = self.state();
        for (bytes, entry) in sized {
            state.positions.first.get_or_insert(entry.log_id.index);
            state.positions.last = Some(entry.log_id);
            state.recent.push(entry, bytes);
        }
        Ok(())
    }

    /// Removes the entries after `kept`, or all of them.
    pub(super) fn truncate_after(&self, kept: Option<LogId>) -> io::Result<()> {
        let mut state = self.state();
        let start = kept.map_or(0, |id| id.index + 1);
        let LogPositions { first: Some(first), last: Some(last), .. } = state.positions else { return Ok(()) };
        if start > last.index {
            return Ok(());
        }
        let mut changes = Changes::default();
        self.db.delete_entries(&mut changes, start.max(first), last.index + 1);
        self.write(changes)?;
        state.recent.truncate_from(start);
        if start <= first {
            (state.positions.first, state.positions.last) = (None, None);
        } else {
            state.positions.last = kept;
        }
        Ok(())
    }

    /// Removes the entries up to `purged`, inclusive; it may lie past the end after a snapshot was installed.
    pub(super) fn purge(&self, purged: LogId) -> io::Result<()> {
        let mut state = self.state();
        let positions = state.positions;
        if positions.purged.is_some_and(|before| before.index >= purged.index) {
            return Ok(());
        }
        let mut changes = Changes::default();
        self.db.put_meta(&mut changes, keys::PURGED, &purged);
        if let Some(first) = positions.first.filter(|first| *first <= purged.index) {
            self.db.delete_entries(&mut changes, first, purged.index + 1);
        }
        self.write(changes)?;
        state.recent.purge_through(purged.index);
        state.positions.purged = Some(purged);
        if positions.last.is_some_and(|last| last.index > purged.index) {
            state.positions.first = positions.first.max(Some(purged.index + 1));
        } else {
            (state.positions.first, state.positions.last) = (None, None);
        }
        drop(state);
        self.delete_purged_files(purged.index + 1);
        Ok(())
    }

    /// Frees disk space as soon as the purge is durable. A file removed sooner would, after a power cut, leave a log
    /// that begins behind the purged position it remembers.
    fn delete_purged_files(&self, end: u64) {
        let db = Arc::clone(&self.db);
        self.flush(Box::new(move |durable| {
            if durable.is_ok()
                && let Err(error) = db.delete_files_before(end)
            {
                tracing::warn!(%error, end, "files of purged log entries are left to compaction");
            }
        }));
    }

    /// The entries of `range` that are in memory, or `None` if the database must be read.
    pub(super) fn recent(&self, range: &impl RangeBounds<u64>, bytes_max: usize) -> Option<Vec<Entry>> {
        let state = self.state();
        match state.positions.held(range) {
            Some((start, end)) => state.recent.range(start, end, bytes_max),
            None => Some(Vec::new()),
        }
    }

    /// The entries of `range` that the log holds, as many as fit in `bytes_max` but at least one. Reads the disk; what
    /// cannot be read there is fatal, like a failed write: a replica must not go on without a part of its log.
    pub(super) fn read(&self, range: &impl RangeBounds<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        self.read_unchecked(range, bytes_max).map_err(|error| self.fatal.report(error.to_string()))
    }

    fn read_unchecked(&self, range: &impl RangeBounds<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let Some((start, end)) = state.positions.held(range) else { return Ok(Vec::new()) };
        // The iterator shows the database as it is here, under the lock: what is removed later is still seen.
        let mut stored = self.db.entries(start, end);
        drop(state);
        let mut bytes_left = bytes_max;
        let mut found = Vec::new();
        for expected in start..end {
            let (bytes, entry) = stored.next().unwrap_or_else(|| Err(self.hole(expected, None)))?;
            if entry.log_id.index != expected {
                return Err(self.hole(expected, Some(entry.log_id.index)));
            }
            if bytes > bytes_left && !found.is_empty() {
                break;
            }
            bytes_left = bytes_left.saturating_sub(bytes);
            found.push(entry);
        }
        Ok(found)
    }

    fn hole(&self, expected: u64, found: Option<u64>) -> io::Error {
        let next = found.map_or("nothing".to_owned(), |index| format!("entry {index}"));
        codec::damaged(self.db.path(), &format!("entry {expected} is missing, {next} follows"))
    }

    fn write(&self, changes: Changes) -> io::Result<()> {
        self.fatal.check()?;
        self.db.write(changes).map_err(|message| {
            self.fatal.report(format!("the Raft log in {} cannot be written: {message}", self.db.path().display()))
        })
    }
}

fn find_positions(db: &Database) -> io::Result<LogPositions> {
    let purged: Option<LogId> = db.meta_record(keys::PURGED)?;
    let start = purged.map_or(0, |id| id.index + 1);
    let first = db.first_entry(start)?.map(|entry| entry.log_id.index);
    if let Some(first) = first.filter(|first| *first != start) {
        return Err(codec::damaged(db.path(), &format!("entry {start} is missing, the log begins with entry {first}")));
    }
    let last = db.last_entry(start)?.map(|entry| entry.log_id);
    Ok(LogPositions { first, last, purged })
}
