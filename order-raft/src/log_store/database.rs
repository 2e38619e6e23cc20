//! The RocksDB of the log: how it is opened, written and scanned. It knows keys and records, not Raft's rules.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, properties::LIVE_SST_FILES_SIZE,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    codec,
    keys::{self, LOG, META},
};
use crate::{disk::explained, raft_types::Entry};

/// Size of one memtable.
const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Memtables at most, including those on their way to disk.
const WRITE_BUFFERS_MAX: i32 = 3;
/// The log is read from disk only by followers that are far behind, so little is worth caching.
const BLOCK_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Flushes and compactions at a time.
const BACKGROUND_JOBS_MAX: i32 = 2;
/// Files kept open.
const OPEN_FILES_MAX: i32 = 256;
/// The rarely written `meta` keeps old write-ahead logs alive; past this size they are flushed away.
const WAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// RocksDB's own text logs that are kept.
const INFO_LOGS_KEPT: usize = 2;

/// Both column families behind one write-ahead log: nothing in it is ever reordered.
pub(super) struct Database {
    db: DB,
    path: PathBuf,
}

/// Changes that are written together or not at all.
#[derive(Default)]
pub(super) struct Changes(WriteBatch);

impl Database {
    /// Opens the database, or makes it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let families =
            [ColumnFamilyDescriptor::new(LOG, log_options()), ColumnFamilyDescriptor::new(META, meta_options())];
        let db = DB::open_cf_descriptors(&database_options(), path, families)
            .map_err(|error| anyhow!("the Raft log in {} cannot be opened: {}", path.display(), explained(&error)))?;
        Ok(Self { db, path: path.to_owned() })
    }

    /// Opens a database that nobody writes, without changing a file. What its write-ahead log holds is read into memory.
    pub(super) fn open_read_only(path: &Path) -> anyhow::Result<Self> {
        let families =
            [ColumnFamilyDescriptor::new(LOG, log_options()), ColumnFamilyDescriptor::new(META, meta_options())];
        let mut options = database_options();
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        let db = DB::open_cf_descriptors_read_only(&options, path, families, false)
            .map_err(|error| anyhow!("the Raft log in {} cannot be opened: {}", path.display(), explained(&error)))?;
        Ok(Self { db, path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn log(&self) -> &ColumnFamily {
        self.db.cf_handle(LOG).expect("opened with the database")
    }

    fn meta(&self) -> &ColumnFamily {
        self.db.cf_handle(META).expect("opened with the database")
    }

    /// Adds an entry to the changes; returns its encoded size in bytes.
    pub(super) fn put_entry(&self, changes: &mut Changes, entry: &Entry) -> usize {
        let value = codec::encode(entry);
        changes.0.put_cf(self.log(), keys::log_key(entry.log_id.index), &value);
        value.len()
    }

    /// Puts bytes where an entry belongs, for tests of damage.
    #[cfg(test)]
    pub(super) fn put_raw(&self, index: u64, bytes: &[u8]) {
        self.db.put_cf(self.log(), keys::log_key(index), bytes).expect("a test can write");
    }

    /// Adds the removal of the entries in `[start, end)` to the changes: one range tombstone.
    pub(super) fn delete_entries(&self, changes: &mut Changes, start: u64, end: u64) {
        changes.0.delete_range_cf(self.log(), keys::log_key(start), keys::log_key(end));
    }

    /// Adds a record of `meta` to the changes.
    pub(super) fn put_meta<T: Serialize>(&self, changes: &mut Changes, key: &[u8], value: &T) {
        changes.0.put_cf(self.meta(), key, codec::encode(value));
    }

    /// Writes the changes to memory and to the buffer of the write-ahead log. They are durable after the next [`Self::sync`].
    pub(super) fn write(&self, changes: Changes) -> Result<(), String> {
        self.db.write(changes.0).map_err(|error| explained(&error))
    }

    /// Bytes of the files that hold entries; what is still in memory does not count.
    pub(super) fn log_file_bytes(&self) -> Result<u64, String> {
        let bytes =
            self.db.property_int_value_cf(self.log(), LIVE_SST_FILES_SIZE).map_err(|error| error.to_string())?;
        Ok(bytes.unwrap_or(0))
    }

    /// Makes everything durable that was written before.
    pub(super) fn sync(&self) -> Result<(), String> {
        self.db.flush_wal(true).map_err(|error| explained(&error))
    }

    /// Hands everything that was written before to the system, which may still lose it.
    #[cfg(feature = "mutants")]
    pub(super) fn write_out(&self) -> Result<(), String> {
        self.db.flush_wal(false).map_err(|error| explained(&error))
    }

    /// Removes files that hold nothing but entries before `end`. Unlike a tombstone this takes effect at once, also
    /// after a power cut: the purge of these entries must be durable already.
    pub(super) fn delete_files_before(&self, end: u64) -> Result<(), String> {
        self.db
            .delete_file_in_range_cf(self.log(), keys::log_key(0), keys::log_key(end))
            .map_err(|error| error.to_string())
    }

    /// A record of `meta`.
    pub(super) fn meta_record<T: DeserializeOwned>(&self, key: &[u8]) -> io::Result<Option<T>> {
        let bytes = self.db.get_pinned_cf(self.meta(), key).map_err(|error| self.read_error(&error))?;
        bytes.map(|bytes| codec::decode_meta(&self.path, key, &bytes)).transpose()
    }

    /// One entry. Unlike a scan, this reaches entries behind one that is damaged.
    pub(super) fn entry(&self, index: u64) -> io::Result<Option<Entry>> {
        let key = keys::log_key(index);
        let bytes = self.db.get_pinned_cf(self.log(), key).map_err(|error| self.read_error(&error))?;
        bytes.map(|bytes| codec::decode_entry(&self.path, index, &bytes)).transpose()
    }

    /// The first and the last index at or after `start`, from the keys alone.
    pub(super) fn bounds(&self, start: u64) -> io::Result<Option<(u64, u64)>> {
        let end = |mode| {
            let mut options = ReadOptions::default();
            options.set_iterate_lower_bound(keys::log_key(start));
            let found = self.db.iterator_cf_opt(self.log(), options, mode).next().transpose();
            let key = found.map_err(|error| self.read_error(&error))?.map(|(key, _)| key);
            key.map(|key| self.index(&key)).transpose()
        };
        Ok(end(IteratorMode::Start)?.zip(end(IteratorMode::End)?))
    }

    fn index(&self, key: &[u8]) -> io::Result<u64> {
        keys::index_of(key)
            .ok_or_else(|| codec::damaged(&self.path, &format!("a key of {} bytes is in the log", key.len())))
    }

    /// The first entry at or after `start`.
    pub(super) fn first_entry(&self, start: u64) -> io::Result<Option<Entry>> {
        self.scan(start, None, IteratorMode::Start).next().transpose().map(|found| found.map(|(_, entry)| entry))
    }

    /// The last entry at or after `start`.
    pub(super) fn last_entry(&self, start: u64) -> io::Result<Option<Entry>> {
        self.scan(start, None, IteratorMode::End).next().transpose().map(|found| found.map(|(_, entry)| entry))
    }

    /// The entries of `[start, end)` with their encoded sizes, as they are at the time of this call.
    pub(super) fn entries(&self, start: u64, end: u64) -> impl Iterator<Item = io::Result<(usize, Entry)>> {
        self.scan(start, Some(end), IteratorMode::Start)
    }

    fn scan(
        &self,
        start: u64,
        end: Option<u64>,
        mode: IteratorMode,
    ) -> impl Iterator<Item = io::Result<(usize, Entry)>> {
        let mut options = ReadOptions::default();
        // The bound keeps the iterator away from the tombstones of purged entries.
        options.set_iterate_lower_bound(keys::log_key(start));
        if let Some(end) = end {
            options.set_iterate_upper_bound(keys::log_key(end));
        }
        options.fill_cache(false);
        self.db.iterator_cf_opt(self.log(), options, mode).map(|item| {
            let (key, value) = item.map_err(|error| self.read_error(&error))?;
            Ok((value.len(), codec::decode_entry(&self.path, self.index(&key)?, &value)?))
        })
    }

    fn read_error(&self, error: &rocksdb::Error) -> io::Error {
        io::Error::other(format!("the Raft log in {} cannot be read: {}", self.path.display(), explained(error)))
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // The flusher alone decides when the write-ahead log goes to disk.
    options.set_manual_wal_flush(true);
    // A crash may tear the last record; anything worse is refused at the start.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_background_jobs(BACKGROUND_JOBS_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOGS_KEPT);
    options.set_log_level(LogLevel::Warn);
    options
}

fn log_options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
    options
}

fn meta_options() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    options
}
