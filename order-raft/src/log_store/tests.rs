use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bazaar_domain::{Command, IdempotencyKey, Quantity, Side, StockName, Trade};
use openraft::{EntryPayload, type_config::TypeConfigExt};
use tempfile::TempDir;

use super::{
    test_entries::{blank, indexes, log_id, normal},
    view::EntryBrief,
    *,
};
use crate::raft_types::LogCommand;

fn open(folder: &TempDir) -> LogStore {
    LogStore::open(folder.path(), |message| panic!("fatal: {message}")).unwrap()
}

async fn append(log: &mut LogStore, entries: impl IntoIterator<Item = Entry, IntoIter: Send> + Send) {
    let (sender, receiver) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await.unwrap();
    receiver.await.unwrap().unwrap();
}

async fn all(log: &mut LogStore) -> Vec<Entry> {
    log.try_get_log_entries(..).await.unwrap()
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| normal(1, index, 100))).await;
    let vote = Vote::new(3, RaftId::founding(2));
    log.save_vote(&vote).await.unwrap();
    log.save_committed(Some(log_id(1, 7))).await.unwrap();
    let (written, positions) = (all(&mut log).await, log.positions());
    log.close().await.unwrap();

    let mut log = open(&folder);
    assert_eq!(all(&mut log).await, written);
    assert_eq!(log.positions(), positions);
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 7)));
}

#[tokio::test]
async fn a_truncated_end_stays_away_and_can_be_written_anew() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| blank(1, index))).await;
    log.truncate_after(Some(log_id(1, 5))).await.unwrap();
    append(&mut log, [blank(2, 6)]).await;
    drop(log);

    let mut log = open(&folder);
    assert_eq!(indexes(&all(&mut log).await), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(log.positions().last, Some(log_id(2, 6)));
    log.truncate_after(None).await.unwrap();
    assert_eq!(all(&mut log).await, []);
    assert_eq!(log.positions(), LogPositions::default());
}

#[tokio::test]
async fn a_purged_beginning_stays_away() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| blank(1, index))).await;
    log.purge(log_id(1, 5)).await.unwrap();
    assert_eq!(indexes(&all(&mut log).await), [6, 7, 8, 9]);
    drop(log);

    let mut log = open(&folder);
    assert_eq!(indexes(&all(&mut log).await), [6, 7, 8, 9]);
    let expected = LogPositions { first: Some(6), last: Some(log_id(1, 9)), purged: Some(log_id(1, 5)) };
    assert_eq!(log.positions(), expected);
}

#[tokio::test]
async fn after_a_purge_past_the_end_the_log_goes_on_behind_it() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| blank(1, index))).await;
    log.purge(log_id(2, 20)).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(2, 20)));
    append(&mut log, [blank(2, 21)]).await;
    drop(log);

    let mut log = open(&folder);
    assert_eq!(indexes(&all(&mut log).await), [21]);
    assert_eq!(log.positions().purged, Some(log_id(2, 20)));
}

#[tokio::test]
async fn an_older_purge_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| blank(1, index))).await;
    log.purge(log_id(1, 5)).await.unwrap();
    let positions = log.positions();
    log.purge(log_id(1, 3)).await.unwrap();
    assert_eq!(log.positions(), positions);
}

#[tokio::test]
async fn a_message_is_cut_at_its_byte_limit_from_memory_and_from_disk() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| normal(1, index, 300_000))).await;
    append(&mut log, [normal(1, 10, 2 * MESSAGE_ENTRIES_BYTES_MAX)]).await;
    for _ in ["from memory", "from disk"] {
        assert_eq!(indexes(&log.limited_get_log_entries(0, 11).await.unwrap()), [0, 1, 2]);
        assert_eq!(indexes(&log.limited_get_log_entries(8, 10).await.unwrap()), [8, 9]);
        assert_eq!(indexes(&log.limited_get_log_entries(10, 11).await.unwrap()), [10]);
        assert_eq!(all(&mut log).await.len(), 11);
        drop(log);
        log = open(&folder);
    }
}

#[tokio::test]
async fn a_list_in_short_reaches_the_newest_entry_however_large_the_entries_are() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    let trade = |number: usize| Trade {
        key: IdempotencyKey::new(&format!("{number:0>255}")).unwrap(),
        name: StockName::new("GameStart").unwrap(),
        side: Side::Buy,
        quantity: Quantity::new(1).unwrap(),
    };
    let command = LogCommand::encode(&Command::Trades((0..2_000).map(trade).collect()));
    let entry = |index| Entry { log_id: log_id(1, index), payload: EntryPayload::Normal(command.clone()) };
    append(&mut log, (0..30).map(entry)).await;
    assert!(log.entries(None, 30).unwrap().len() < 5, "so many do not fit into one answer");
    let list = EntryBrief::list(&log, None, 30).unwrap();
    assert_eq!(list.iter().map(|entry| entry.index).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
    assert!(list.iter().all(|entry| (entry.kind, entry.count) == ("trades", 2_000)));
    assert_eq!(EntryBrief::list(&log, Some(27), 30).unwrap().len(), 2);
}

#[tokio::test]
async fn a_stream_gives_every_entry_of_its_range() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..20).map(|index| normal(1, index, 300_000))).await;
    drop(log);
    let mut log = open(&folder);
    let entries: Vec<Entry> = log.entries_stream(3..50).await.try_collect().await.unwrap();
    assert_eq!(indexes(&entries), (3..20).collect::<Vec<_>>());
    let none: Vec<Entry> = log.entries_stream(5..5).await.try_collect().await.unwrap();
    assert_eq!(none, []);
}

#[tokio::test]
async fn the_admin_page_gets_a_limited_part_that_begins_where_the_log_does() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| blank(1, index))).await;
    assert_eq!(indexes(&log.entries(Some(3), 2).unwrap()), [4, 5]);
    log.purge(log_id(1, 5)).await.unwrap();
    assert_eq!(indexes(&log.entries(None, 2).unwrap()), [6, 7]);
    assert_eq!(log.entries(Some(9), 2).unwrap(), []);
}

#[tokio::test]
async fn an_entry_that_would_leave_a_hole_is_refused() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..3).map(|index| blank(1, index))).await;
    let error = log.append([blank(1, 4)], IOFlushed::noop()).await.unwrap_err();
    assert!(error.to_string().contains("entry 4 was to be appended where entry 3 belongs"), "{error}");
    assert_eq!(indexes(&all(&mut log).await), [0, 1, 2]);
}

#[tokio::test]
async fn a_hole_is_an_error_that_names_the_database_and_the_index() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| blank(1, index))).await;
    drop(log);
    remove_entry(&folder, 4);
    let (mut log, told) = open_telling(&folder);
    assert_eq!(indexes(&log.try_get_log_entries(5..8).await.unwrap()), [5, 6, 7]);
    let error = log.try_get_log_entries(2..8).await.unwrap_err().to_string();
    assert!(error.contains("entry 4 is missing, entry 5 follows"), "{error}");
    assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
    assert_eq!(*told.lock().unwrap(), [error], "it is fatal");
}

/// A log, and what it said that was fatal.
fn open_telling(folder: &TempDir) -> (LogStore, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let log = LogStore::open(folder.path(), move |message| tells.lock().unwrap().push(message)).unwrap();
    (log, told)
}

#[tokio::test]
async fn a_flipped_byte_in_a_file_of_entries_is_fatal_when_it_is_read_and_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..200).map(|index| normal(1, index, 1_000))).await;
    drop(log);
    // Opening again writes what the write-ahead log holds to a file of sorted entries.
    drop(open(&folder));
    let file = largest_sst(folder.path());
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (mut log, told) = open_telling(&folder);
    let error = log.try_get_log_entries(0..200).await.unwrap_err().to_string();
    assert!(error.contains("Corruption") && error.ends_with(crate::disk::REPLACE), "{error}");
    assert_eq!(told.lock().unwrap().len(), 1);
    log.append([blank(1, 200)], IOFlushed::noop()).await.unwrap_err();
}

fn largest_sst(folder: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    tables.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

#[tokio::test]
async fn a_log_without_its_beginning_is_not_opened() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder);
    append(&mut log, (0..10).map(|index| blank(1, index))).await;
    drop(log);
    remove_entry(&folder, 0);
    let error = LogStore::open(folder.path(), |_| {}).unwrap_err().to_string();
    assert!(error.contains("entry 0 is missing, the log begins with entry 1"), "{error}");
}

fn remove_entry(folder: &TempDir, index: u64) {
    let db = database::Database::open(folder.path()).unwrap();
    let mut changes = database::Changes::default();
    db.delete_entries(&mut changes, index, index + 1);
    db.write(changes).unwrap();
    db.sync().unwrap();
}

#[tokio::test]
async fn what_was_not_synced_is_not_acknowledged_after_a_failed_sync() {
    let folder = TempDir::new().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let message = Arc::new(Mutex::new(String::new()));
    let (called, told) = (Arc::clone(&calls), Arc::clone(&message));
    let on_fatal = move |text| {
        called.fetch_add(1, Ordering::SeqCst);
        *told.lock().unwrap() = text;
    };
    let failing = || Err("no space left on device".to_owned());
    let mut log =
        LogStore { store: Arc::new(Store::open_with_sync(folder.path(), on_fatal, move |_| failing()).unwrap()) };

    let (sender, receiver) = TypeConfig::oneshot();
    log.append([blank(1, 0)], IOFlushed::signal(sender)).await.unwrap();
    receiver.await.unwrap().unwrap_err();
    log.save_vote(&Vote::new(1, RaftId::founding(1))).await.unwrap_err();
    log.append([blank(1, 1)], IOFlushed::noop()).await.unwrap_err();
    log.save_committed(None).await.unwrap_err();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(message.lock().unwrap().contains("no space left on device"));
}
