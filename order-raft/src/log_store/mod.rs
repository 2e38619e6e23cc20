//! The Raft log on disk: entries, vote, committed and purged positions in one RocksDB with one write-ahead log.
//!
//! Writes go to memory and to the buffer of the write-ahead log at once; one flusher thread makes them durable, many
//! at a time. Nobody is told that a vote or an entry is stored before its fsync has returned, and the first failed
//! write, fsync or read ends the process (see [`LogStore::open`]).

mod codec;
mod database;
mod flusher;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzed;
mod keys;
mod recent;
#[cfg(feature = "mutants")]
mod retried;
pub mod stopped;
mod store;
#[cfg(test)]
pub(crate) mod test_entries;
#[cfg(test)]
mod tests;
pub mod view;

use std::{fmt::Debug, io, ops::RangeBounds, path::Path, sync::Arc, time::Instant};

use futures::{Stream, TryStreamExt, stream};
use openraft::{
    RaftLogReader,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use self::store::LogPositions;
use self::store::Store;
use crate::raft_types::{Entry, LogId, RaftId, TypeConfig, Vote};

/// Entries of one message to a follower, and of one step of apply, in encoded bytes; at least one entry is taken.
pub const MESSAGE_ENTRIES_BYTES_MAX: usize = 1024 * 1024;

/// Whose log it is, kept inside it: a log that lost its owner's name was lost itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOwner {
    /// The cluster.
    pub cluster_id: String,
    /// The replica.
    pub id: RaftId,
}

/// A replica's Raft log. Clones share it; the last one that goes makes it durable and closes it.
#[derive(Clone)]
pub struct LogStore {
    store: Arc<Store>,
}

impl LogStore {
    /// Opens the log in the folder `path`, or makes it.
    ///
    /// `on_fatal` is called once, with what happened and what to do, at the first write, fsync or read that fails. It
    /// must end the process: what is on disk is not known after that, and everything asked of the log later fails.
    ///
    /// # Errors
    /// If the database cannot be opened, or is damaged: a record that cannot be read, a log that does not begin where
    /// it was purged.
    pub fn open(path: &Path, on_fatal: impl Fn(String) + Send + Sync + 'static) -> anyhow::Result<Self> {
        Ok(Self { store: Arc::new(Store::open(path, on_fatal)?) })
    }

    /// Whose log this is; nobody's if it was just made.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn owner(&self) -> io::Result<Option<LogOwner>> {
        self.store.meta(keys::OWNER)
    }

    /// Names the owner, durably.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub async fn claim(&self, owner: &LogOwner) -> io::Result<()> {
        self.store.put_meta(keys::OWNER, owner)?;
        self.flushed().await
    }

    /// Lets a log that was just made go on behind `last`, as if all entries up to it had been purged, and names the
    /// owner, durably.
    ///
    /// # Errors
    /// If the log is not new, or cannot be written.
    pub async fn found_behind(&self, last: LogId, owner: &LogOwner) -> io::Result<()> {
        if self.owner()?.is_some() || self.positions() != LogPositions::default() {
            return Err(io::Error::other("the log is not new"));
        }
        // Log ids must grow, so the first leader needs a later term than that of the last entry: a vote in that term
        // is spent.
        self.store.put_meta(keys::VOTE, &Vote::new(last.leader_id.term, owner.id))?;
        self.store.purge(last)?;
        self.claim(owner).await
    }

    /// Where the log begins and ends.
    pub fn positions(&self) -> LogPositions {
        self.store.positions()
    }

    /// Bytes that the entries take on disk, without the newest ones that are still in memory.
    ///
    /// # Errors
    /// If the database does not say.
    pub fn file_bytes(&self) -> io::Result<u64> {
        self.store.file_bytes()
    }

    /// At most `limit` entries after the index `after` (`None`: from the first one), for people who look inside. May read the disk, so do not call
    /// it on one of the runtime's threads for long ranges.
    ///
    /// # Errors
    /// If the log cannot be read or is damaged.
    pub fn entries(&self, after: Option<u64>, limit: usize) -> io::Result<Vec<Entry>> {
        let Some(start) = after.map_or(Some(0), |after| after.checked_add(1)) else { return Ok(Vec::new()) };
        let start = start.max(self.positions().first.unwrap_or(start));
        let end = start.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX));
        self.store.read(&(start..end), MESSAGE_ENTRIES_BYTES_MAX)
    }

    /// Makes everything durable that was written. The database closes when the last clone is dropped.
    ///
    /// # Errors
    /// If the fsync fails, or an earlier one failed.
    pub async fn close(self) -> io::Result<()> {
        self.flushed().await
    }

    async fn flushed(&self) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.store.flush(Box::new(move |result| {
            // The caller may have gone away; then nobody wants to know.
            let _ = sender.send(result);
        }));
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("the log's flusher thread is gone")))
    }

    /// From memory if all of it is there, else from the disk on a thread that may block.
    async fn read<R>(&self, range: R, bytes_max: usize) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Send + 'static,
    {
        if let Some(entries) = self.store.recent(&range, bytes_max) {
            return Ok(entries);
        }
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.read(&range, bytes_max)).await.map_err(io::Error::other)?
    }
}

impl Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").field("positions", &self.positions()).finish_non_exhaustive()
    }
}

fn owned<R: RangeBounds<u64>>(range: &R) -> (std::ops::Bound<u64>, std::ops::Bound<u64>) {
    (range.start_bound().cloned(), range.end_bound().cloned())
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.read(owned(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, MESSAGE_ENTRIES_BYTES_MAX).await
    }

    /// Reads step by step: after a restart, apply may have hundreds of thousands of entries to go through.
    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = Result<Entry, io::Error>> + Send
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (start, end) = owned(&range);
        let steps = stream::try_unfold((self.clone(), start), move |(log, start)| async move {
            let entries = log.read((start, end), MESSAGE_ENTRIES_BYTES_MAX).await?;
            let Some(last) = entries.last().map(|entry| entry.log_id.index) else { return Ok::<_, io::Error>(None) };
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), (log, std::ops::Bound::Excluded(last)))))
        });
        Box::pin(steps.try_flatten())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.store.meta(keys::VOTE)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let positions = self.positions();
        Ok(LogState { last_purged_log_id: positions.purged, last_log_id: positions.last.or(positions.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.store.put_meta(keys::VOTE, vote)?;
        self.flushed().await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.store.put_meta(keys::COMMITTED, &committed)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.store.meta::<Option<LogId>>(keys::COMMITTED)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let started = Instant::now();
        self.store.append(entries)?;
        crate::meters::LOG_APPEND_SECONDS.histogram().record(started.elapsed());
        self.store.flush(Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.store.truncate_after(last_log_id)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.store.purge(log_id)
    }
}
