//! The state database: orders, outcomes, stocks and positions in one RocksDB, one `WriteBatch` an apply.
//!
//! Writes are not synced: what a power cut takes, the Raft log brings back. All column families share one write-ahead
//! log, so what is left after a crash is always a prefix of the applied entries.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use bazaar_domain::{
    IdempotencyKey, Order, codec,
    digest::Digest,
    mutants::{Mutant, broken},
    order::StoredOutcome,
};
use rocksdb::{
    BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, DBRecoveryMode, Direction,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions, checkpoint::Checkpoint,
    properties::LIVE_SST_FILES_SIZE,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use super::books::{Books, Changes, DIGEST_EVERY_ORDERS, OutcomeLookup, StockRecord, StoreFault, Totals};
use crate::{
    disk::{self, explained},
    raft_types::{LogId, StoredMembership},
};

/// Big-endian order number -> [`Order`].
pub(super) const ORDERS: &str = "orders";
/// Idempotency key -> [`StoredOutcome`].
pub(super) const OUTCOMES: &str = "outcomes";
/// Stock name -> [`StockRecord`].
pub(super) const STOCKS: &str = "stocks";
/// Position, totals, and digests by big-endian order number.
pub(super) const META: &str = "meta";

pub(super) const POSITION_KEY: &[u8] = b"position";
pub(super) const TOTALS_KEY: &[u8] = b"totals";
const DIGEST_KEY_PREFIX: &[u8] = b"digest/";

const WRITE_BUFFER_BYTES: usize = 16 << 20;
const WRITE_BUFFERS_MAX: i32 = 3;
const WAL_BYTES_MAX: u64 = 64 << 20;
const OPEN_FILES_MAX: i32 = 256;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Part of a memtable that its filter of keys may take.
const MEMTABLE_BLOOM_RATIO: f64 = 0.05;

/// A stored key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Up to where the log is applied, and the membership that was in force there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last applied entry.
    pub last_applied: Option<LogId>,
    /// The last applied membership.
    pub membership: StoredMembership,
}

/// An open state database. When it was [retired](StateDb::retire), its folder goes with the last user.
#[derive(Debug)]
pub struct StateDb {
    /// `None` only while it is dropped: the database must be closed before its folder goes.
    db: Option<DB>,
    path: PathBuf,
    retired: std::sync::atomic::AtomicBool,
    faults: Faults,
}

/// Where the first fault of a state database is noted, whoever met it: the replica must stop then.
pub type Faults = watch::Sender<Option<String>>;

impl StateDb {
    /// Opens, or makes, the database at `path`.
    ///
    /// # Errors
    /// If it cannot be opened, or is damaged past a torn tail.
    pub fn open(path: &Path, faults: Faults) -> Result<Self> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_max_total_wal_size(WAL_BYTES_MAX);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_keep_log_file_num(2);
        options.set_max_background_jobs(2);
        let db = DB::open_cf_descriptors(&options, path, families()).map_err(|error| {
            anyhow!("the state database {} cannot be opened: {}", path.display(), explained(&error))
        })?;
        Ok(Self { db: Some(db), path: path.to_owned(), retired: false.into(), faults })
    }

    /// Reads the position inside a checkpoint, without changing it.
    ///
    /// # Errors
    /// If there is no readable state database.
    pub fn position_in(path: &Path) -> Result<Position> {
        let position = || -> Result<Position> {
            let db = DB::open_cf_descriptors_read_only(&Options::default(), path, families(), false)?;
            let meta = db.cf_handle(META).context("it holds no positions")?;
            let bytes = db.get_pinned_cf(meta, POSITION_KEY)?;
            Ok(bytes.map(|bytes| codec::decode(&bytes)).transpose()?.unwrap_or_default())
        };
        position().with_context(|| format!("the checkpoint {} cannot be read", path.display()))
    }

    /// Opens a checkpoint to look inside, without changing it.
    ///
    /// # Errors
    /// If there is no readable state database.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let db = DB::open_cf_descriptors_read_only(&Options::default(), path, families(), false)
            .with_context(|| format!("the checkpoint {} cannot be read", path.display()))?;
        Ok(Self { db: Some(db), path: path.to_owned(), retired: false.into(), faults: Faults::new(None) })
    }

    /// Reads all of a checkpoint, without changing it: every block of it has a checksum.
    ///
    /// # Errors
    /// If it is damaged, with what to do. One that cannot be read otherwise may just have been removed.
    pub fn verify(path: &Path) -> Result<(), String> {
        let read_all = || -> Result<(), rocksdb::Error> {
            let db = DB::open_cf_descriptors_read_only(&Options::default(), path, families(), false)?;
            for family in [ORDERS, OUTCOMES, STOCKS, META].into_iter().filter_map(|name| db.cf_handle(name)) {
                let mut options = ReadOptions::default();
                options.fill_cache(false);
                for row in db.iterator_cf_opt(family, options, IteratorMode::Start) {
                    row?;
                }
            }
            Ok(())
        };
        match read_all() {
            Err(error) if disk::is_damage(&error) => {
                Err(format!("the checkpoint {} is damaged: {}", path.display(), explained(&error)))
            }
            _ => Ok(()),
        }
    }

    fn db(&self) -> &DB {
        self.db.as_ref().expect("open until it is dropped")
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db().cf_handle(name).expect("all families are made when the database is opened")
    }

    /// Makes the folder go away once nobody uses the database any more.
    pub fn retire(&self) {
        self.retired.store(true, std::sync::atomic::Ordering::Release);
    }

    fn read<T: DeserializeOwned>(&self, family: &str, key: &[u8]) -> Result<Option<T>, StoreFault> {
        let bytes = self.db().get_pinned_cf(self.family(family), key).map_err(|error| self.failed(family, &error))?;
        bytes.map(|bytes| self.decode(family, &bytes)).transpose()
    }

    fn decode<T: DeserializeOwned>(&self, family: &str, bytes: &[u8]) -> Result<T, StoreFault> {
        codec::decode(bytes).map_err(|error| self.fault(family, &disk::undecodable(&error)))
    }

    fn failed(&self, family: &str, error: &rocksdb::Error) -> StoreFault {
        self.fault(family, &explained(error))
    }

    fn fault(&self, family: &str, what: &str) -> StoreFault {
        let text = format!("the state database {} ({family}) cannot be used: {what}", self.path.display());
        self.faults.send_if_modified(|first| first.is_none() && first.replace(text.clone()).is_none());
        StoreFault(text)
    }

    /// The position that the stored state is at.
    ///
    /// # Errors
    /// If the store fails.
    pub fn position(&self) -> Result<Position, StoreFault> {
        Ok(self.read(META, POSITION_KEY)?.unwrap_or_default())
    }

    /// Sets the position, durably, and leaves everything else as it is: for a state that begins a cluster of its own.
    ///
    /// # Errors
    /// If the store fails.
    pub fn found_at(&self, position: &Position) -> Result<(), StoreFault> {
        let mut durably = WriteOptions::default();
        durably.set_sync(true);
        self.put_position(position, &durably)
    }

    /// Forgets the outcomes of all keys: only a mutant does.
    ///
    /// # Errors
    /// If the write fails: fatal.
    pub(super) fn forget_outcomes(&self) -> Result<(), StoreFault> {
        // Keys are ASCII.
        let (first, end) = (b"".as_slice(), b"\xff".as_slice());
        self.db().delete_range_cf(self.family(OUTCOMES), first, end).map_err(|error| self.failed("write", &error))
    }

    fn put_position(&self, position: &Position, options: &WriteOptions) -> Result<(), StoreFault> {
        let record = codec::encode(position);
        self.db()
            .put_cf_opt(self.family(META), POSITION_KEY, record, options)
            .map_err(|error| self.failed("write", &error))
    }

    /// The stored number and digest of the orders.
    ///
    /// # Errors
    /// If the store fails.
    pub fn totals(&self) -> Result<Totals, StoreFault> {
        Ok(self.read(META, TOTALS_KEY)?.unwrap_or_default())
    }

    /// Number and digest of the orders, from the orders themselves. Reads all of them.
    ///
    /// # Errors
    /// If the store fails.
    pub fn count_anew(&self) -> Result<Totals, StoreFault> {
        let mut totals = Totals::default();
        for record in self.order_records(0) {
            totals.orders += 1;
            totals.digest = totals.digest.extended_by_record(&record?);
        }
        Ok(totals)
    }

    /// Loads the part of the state that is kept in memory.
    ///
    /// # Errors
    /// If the store fails.
    pub fn load_books(&self) -> Result<Books, StoreFault> {
        let mut books = Books { totals: self.totals()?, ..Books::default() };
        for item in self.db().iterator_cf(self.family(STOCKS), IteratorMode::Start) {
            let (_, value) = item.map_err(|error| self.failed(STOCKS, &error))?;
            let record: StockRecord = self.decode(STOCKS, &value)?;
            books.stocks.insert(record.stock.name, record);
        }
        Ok(books)
    }

    /// Writes what a run of entries changed, with the position after it, all or nothing.
    ///
    /// # Errors
    /// If the write fails: fatal.
    pub fn commit(&self, changes: &Changes, books: &Books, position: &Position) -> Result<(), StoreFault> {
        if broken(Mutant::ApplyInTwoWrites) {
            self.put_position(position, &WriteOptions::default())?;
        }
        let mut batch = WriteBatch::default();
        put_rows(changes, books, position, |family, key, record| batch.put_cf(self.family(family), key, record));
        self.db().write(batch).map_err(|error| self.failed("write", &error))
    }

    /// Bytes of the database's files; what is still in memory does not count.
    ///
    /// # Errors
    /// If the database does not say.
    pub fn file_bytes(&self) -> Result<u64, StoreFault> {
        [ORDERS, OUTCOMES, STOCKS, META].into_iter().try_fold(0, |sum, family| {
            let bytes = self.db().property_int_value_cf(self.family(family), LIVE_SST_FILES_SIZE);
            Ok(sum + bytes.map_err(|error| self.failed(family, &error))?.unwrap_or(0))
        })
    }

    /// What a key got.
    ///
    /// # Errors
    /// If the store fails.
    pub fn outcome(&self, key: &IdempotencyKey) -> Result<Option<StoredOutcome>, StoreFault> {
        self.read(OUTCOMES, key.as_str().as_bytes())
    }

    /// An order by its number.
    ///
    /// # Errors
    /// If the store fails.
    pub fn order(&self, number: u64) -> Result<Option<Order>, StoreFault> {
        self.read(ORDERS, &number.to_be_bytes())
    }

    /// At most `limit` orders behind a number, in order.
    ///
    /// # Errors
    /// If the store fails.
    pub fn orders_after(&self, after: u64, limit: usize) -> Result<Vec<Order>, StoreFault> {
        self.order_records(after).take(limit).map(|record| self.decode(ORDERS, &record?)).collect()
    }

    fn order_records(&self, after: u64) -> impl Iterator<Item = Result<Box<[u8]>, StoreFault>> {
        let first = after.saturating_add(1).to_be_bytes();
        let rows = self.db().iterator_cf(self.family(ORDERS), IteratorMode::From(&first, Direction::Forward));
        rows.map(|row| row.map(|(_, value)| value).map_err(|error| self.failed(ORDERS, &error)))
    }

    /// The digest over the orders 1 to `number`, or `None` if there are not that many.
    ///
    /// # Errors
    /// If the store fails.
    pub fn digest_at(&self, number: u64) -> Result<Option<Digest>, StoreFault> {
        let kept = number - number % DIGEST_EVERY_ORDERS;
        let start: Option<Digest> =
            if kept == 0 { Some(Digest::default()) } else { self.read(META, &digest_key(kept))? };
        let Some(mut digest) = start else { return Ok(None) };
        let wanted = usize::try_from(number - kept).expect("fewer than a thousand");
        let mut hashed = 0;
        for record in self.order_records(kept).take(wanted) {
            digest = digest.extended_by_record(&record?);
            hashed += 1;
        }
        Ok((hashed == wanted).then_some(digest))
    }

    /// Makes a checkpoint (hard links where possible) at `path`, which must not exist yet.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn checkpoint(&self, path: &Path) -> Result<()> {
        Checkpoint::new(self.db())
            .and_then(|checkpoint| checkpoint.create_checkpoint(path))
            .map_err(|error| anyhow!("the checkpoint {} cannot be made: {}", path.display(), explained(&error)))
    }

    /// Every stored key and value, family by family: two replicas with the same state have the same.
    ///
    /// # Errors
    /// If the store fails.
    pub fn dump(&self) -> Result<Vec<Row>, StoreFault> {
        let mut rows = Vec::new();
        for family in [ORDERS, OUTCOMES, STOCKS, META] {
            for row in self.db().iterator_cf(self.family(family), IteratorMode::Start) {
                let (key, value) = row.map_err(|error| self.failed(family, &error))?;
                rows.push((key.into_vec(), value.into_vec()));
            }
        }
        Ok(rows)
    }
}

impl OutcomeLookup for StateDb {
    fn outcomes<'k>(
        &self,
        keys: impl Iterator<Item = &'k IdempotencyKey>,
    ) -> Result<Vec<Option<StoredOutcome>>, StoreFault> {
        let keys: Vec<&[u8]> = keys.map(|key| key.as_str().as_bytes()).collect();
        let found = self.db().batched_multi_get_cf(self.family(OUTCOMES), &keys, false);
        let outcome = |bytes: Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>| {
            let bytes = bytes.map_err(|error| self.failed(OUTCOMES, &error))?;
            bytes.map(|bytes| self.decode(OUTCOMES, &bytes)).transpose()
        };
        found.into_iter().map(outcome).collect()
    }
}

impl Drop for StateDb {
    fn drop(&mut self) {
        self.db = None;
        if self.retired.load(std::sync::atomic::Ordering::Acquire)
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an old generation of the state could not be removed");
        }
    }
}

/// The rows of what a run of entries changed, as the column family, the key and the record of each.
pub(super) fn put_rows(
    changes: &Changes,
    books: &Books,
    position: &Position,
    mut put: impl FnMut(&'static str, &[u8], &[u8]),
) {
    for (number, record) in &changes.orders {
        put(ORDERS, &number.to_be_bytes(), record);
    }
    for (key, outcome) in &changes.outcomes {
        put(OUTCOMES, key.as_str().as_bytes(), &codec::encode(outcome));
    }
    for name in &changes.stocks {
        let record = books.stocks.get(name).expect("a changed stock is in the books");
        put(STOCKS, name.as_bytes(), &codec::encode(record));
    }
    for (number, digest) in &changes.digests {
        put(META, &digest_key(*number), &codec::encode(digest));
    }
    if !changes.orders.is_empty() {
        put(META, TOTALS_KEY, &codec::encode(&books.totals));
    }
    put(META, POSITION_KEY, &codec::encode(position));
}

pub(super) fn digest_key(number: u64) -> Vec<u8> {
    [DIGEST_KEY_PREFIX, &number.to_be_bytes()].concat()
}

fn families() -> Vec<ColumnFamilyDescriptor> {
    let mut plain = Options::default();
    plain.set_write_buffer_size(WRITE_BUFFER_BYTES);
    plain.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
    let mut hashed = plain.clone();
    // Nearly every key that apply looks up is new: the filters answer without a search, in memory as in the files.
    let mut table = BlockBasedOptions::default();
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    hashed.set_block_based_table_factory(&table);
    hashed.set_memtable_whole_key_filtering(true);
    hashed.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    vec![
        ColumnFamilyDescriptor::new(ORDERS, plain.clone()),
        ColumnFamilyDescriptor::new(OUTCOMES, hashed),
        ColumnFamilyDescriptor::new(STOCKS, plain.clone()),
        ColumnFamilyDescriptor::new(META, plain),
    ]
}
