//! The durable copy of the inventory. Writes are not synced: what a power cut takes, the leader publishes again, since
//! the copy's position is lost in the same write.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bazaar_domain::{
    Stock,
    codec::{self, DecodeError},
};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, IteratorMode, Options, WriteBatch, WriteOptions,
};
use serde::{Deserialize, Serialize};

use crate::ledger::{Change, InventoryCopy, Next};

/// Stocks by name.
const STOCKS: &str = "stocks";
/// The copy's position.
const META: &str = "meta";
/// The one key of [`META`].
const POSITION: &[u8] = b"position";
/// Above every name, which are ASCII.
const AFTER_ALL_NAMES: &[u8] = &[0xff];
/// Memory for changes that are not in a table file yet, of each column family.
const WRITE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Memory for blocks of table files; they are read at the start only.
const BLOCK_CACHE_BYTES: usize = 2 * 1024 * 1024;
/// Files that the database holds open at most.
const OPEN_FILES_MAX: i32 = 64;
/// Information logs that the database keeps.
const INFO_LOGS_MAX: usize = 2;

/// Why the durable copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not open, read or write.
    #[error("the catalog's copy in {} cannot be {action}: {cause}; {}", path.display(), what_to_do())]
    Database {
        /// Where it is.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the database says.
        cause: rocksdb::Error,
    },
    /// A record in it does not decode.
    #[error("the catalog's copy in {} is damaged at '{key}': {cause}; {}", path.display(), what_to_do())]
    Record {
        /// Where it is.
        path: PathBuf,
        /// The record's key.
        key: String,
        /// What is wrong with it.
        cause: DecodeError,
    },
}

fn what_to_do() -> &'static str {
    "check the disk, or remove the catalog's data directory: it is rebuilt from the leader"
}

/// Where the copy is kept.
pub trait Store: Send + Sync {
    /// Stores a change, wholly or not at all.
    ///
    /// # Errors
    /// If it may not be stored; the catalog must not go on then.
    fn write(&self, change: &Change) -> Result<(), StoreError>;
}

/// What the copy follows, and how far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) cluster_id: String,
    pub(crate) applied: u64,
}

/// The copy in RocksDB.
pub struct RocksStore {
    db: DB,
    path: PathBuf,
}

impl RocksStore {
    /// Opens the copy, or makes an empty one, and reads it.
    ///
    /// # Errors
    /// If it cannot be opened, or any record does not decode: a copy that was guessed at is never served.
    pub fn open(path: &Path) -> Result<(Self, InventoryCopy), StoreError> {
        let families = [STOCKS, META].map(|name| ColumnFamilyDescriptor::new(name, family_options()));
        let db = DB::open_cf_descriptors(&database_options(), path, families)
            .map_err(|cause| StoreError::Database { path: path.to_owned(), action: "opened", cause })?;
        let store = Self { db, path: path.to_owned() };
        let copy = store.load()?;
        Ok((store, copy))
    }

    fn load(&self) -> Result<InventoryCopy, StoreError> {
        let position = self.db.get_cf(self.family(META), POSITION).map_err(|cause| self.failed("read", cause))?;
        let Some(position) = position else { return Ok(InventoryCopy::default()) };
        let position: Position = codec::decode(&position).map_err(|cause| self.damaged(POSITION, cause))?;
        let mut stocks = HashMap::new();
        for entry in self.db.iterator_cf(self.family(STOCKS), IteratorMode::Start) {
            let (key, record) = entry.map_err(|cause| self.failed("read", cause))?;
            let stock: Stock = codec::decode(&record).map_err(|cause| self.damaged(&key, cause))?;
            stocks.insert(stock.name, stock);
        }
        Ok(InventoryCopy { cluster_id: Some(position.cluster_id), applied: position.applied, stocks })
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("both column families are made at the open")
    }

    fn put(&self, batch: &mut WriteBatch, stock: &Stock) {
        batch.put_cf(self.family(STOCKS), stock.name.as_str(), codec::encode(stock));
    }

    fn failed(&self, action: &'static str, cause: rocksdb::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), action, cause }
    }

    fn damaged(&self, key: &[u8], cause: DecodeError) -> StoreError {
        StoreError::Record { path: self.path.clone(), key: String::from_utf8_lossy(key).into_owned(), cause }
    }
}

impl Store for RocksStore {
    fn write(&self, change: &Change) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        match &change.next {
            Next::Changed(stocks) => stocks.iter().for_each(|stock| self.put(&mut batch, stock)),
            Next::Whole(stocks) => {
                batch.delete_range_cf(self.family(STOCKS), &[][..], AFTER_ALL_NAMES);
                stocks.values().for_each(|stock| self.put(&mut batch, stock));
            }
        }
        let position = Position { cluster_id: change.cluster_id.clone(), applied: change.through };
        batch.put_cf(self.family(META), POSITION, codec::encode(&position));
        let mut options = WriteOptions::default();
        options.set_sync(false);
        self.db.write_opt(batch, &options).map_err(|cause| self.failed("written", cause))
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_keep_log_file_num(INFO_LOGS_MAX);
    options.set_max_total_wal_size(2 * WRITE_BUFFER_BYTES as u64);
    options
}

fn family_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    options.set_block_based_table_factory(&blocks);
    options
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{Cents, StockName};

    use super::*;

    fn stock(name: &str, quantity: u64) -> Stock {
        let name = StockName::new(name).unwrap();
        Stock { name, price: Cents::new(1_599).unwrap(), quantity, trade_volume: 3, version: 4, max_quantity: Some(9) }
    }

    fn change(through: u64, next: Next) -> Change {
        Change { cluster_id: "c1".into(), through, next }
    }

    #[test]
    fn a_new_copy_is_empty_and_follows_no_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, copy) = RocksStore::open(folder.path()).unwrap();
        assert_eq!(copy, InventoryCopy::default());
    }

    #[test]
    fn what_was_written_is_read_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = RocksStore::open(folder.path()).unwrap();
        store.write(&change(5, Next::Changed(vec![stock("A", 1), stock("B", 2)]))).unwrap();
        store.write(&change(9, Next::Changed(vec![stock("B", 7)]))).unwrap();
        drop(store);
        let (_store, copy) = RocksStore::open(folder.path()).unwrap();
        assert_eq!((copy.cluster_id.as_deref(), copy.applied), (Some("c1"), 9));
        let expected = [stock("A", 1), stock("B", 7)].map(|stock| (stock.name, stock));
        assert_eq!(copy.stocks, HashMap::from(expected));
    }

    #[test]
    fn a_whole_inventory_replaces_every_stock() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = RocksStore::open(folder.path()).unwrap();
        store.write(&change(5, Next::Changed(vec![stock("A", 1), stock("zz", 2)]))).unwrap();
        let whole = HashMap::from([stock("B", 3), stock("zz", 8)].map(|stock| (stock.name, stock)));
        store.write(&change(6, Next::Whole(whole.clone()))).unwrap();
        drop(store);
        let (_store, copy) = RocksStore::open(folder.path()).unwrap();
        assert_eq!((copy.applied, copy.stocks), (6, whole));
    }

    #[test]
    fn a_damaged_record_stops_the_start_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = RocksStore::open(folder.path()).unwrap();
        store.write(&change(5, Next::Changed(vec![stock("A", 1)]))).unwrap();
        let record = codec::encode(&stock("A", 1));
        store.db.put_cf(store.family(STOCKS), "A", &record[..record.len() - 1]).unwrap();
        drop(store);
        let message = RocksStore::open(folder.path()).err().expect("a damaged record").to_string();
        assert!(
            message.contains("damaged at 'A'") && message.contains("remove the catalog's data directory"),
            "{message}"
        );
        assert!(message.contains(&folder.path().display().to_string()), "{message}");
    }
}
