//! Looks into the log of a replica that does not run. Nothing in its folder is changed, and nothing is repaired or
//! guessed: an entry that cannot be read is named.

use std::{io, path::Path};

use anyhow::Result;
use bazaar_domain::ReplicaId;
use bazaar_service::data_dir::DataDir;
use serde::Serialize;

use super::{LogOwner, database::Database, keys, view::EntryView};
use crate::{
    identity::LOG_FOLDER,
    raft_types::{Entry, LogId, Vote},
    run::{DATA_FORMAT, DATA_KIND},
    state_machine::{snapshot::current_generation, store::StateDb},
};

/// Term and index of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The term it was proposed in.
    pub term: u64,
    /// Its log index.
    pub index: u64,
}

impl From<LogId> for Position {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

/// The vote that a replica remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VoteView {
    /// The term it was given in.
    pub term: u64,
    /// The replica that got it.
    pub voted_for: u64,
    /// Whether that replica was seen to lead the term.
    pub committed: bool,
}

/// An entry, or why it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Found {
    /// It was read.
    Entry(EntryView),
    /// It is damaged or missing.
    Unreadable {
        /// Its log index.
        index: u64,
        /// What is wrong with it.
        error: String,
    },
}

/// What the folder of a stopped replica says about its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoppedLog {
    /// The cluster, if the log has an owner.
    pub cluster_id: Option<String>,
    /// The replica, if the log has an owner.
    pub replica: Option<ReplicaId>,
    /// Which life of that number it is.
    pub life: Option<u64>,
    /// The vote.
    pub vote: Option<VoteView>,
    /// Index of the first entry; none if there is no entry.
    pub first: Option<u64>,
    /// Index of the last entry; none if there is no entry.
    pub last: Option<u64>,
    /// The last entry that this replica knew to be committed and wrote down.
    pub committed: Option<Position>,
    /// The last entry that was purged.
    pub purged: Option<Position>,
    /// The last entry that the state database has applied.
    pub applied: Option<Position>,
    /// The entries that were asked for.
    pub entries: Vec<Found>,
}

impl StoppedLog {
    /// How many of the entries that were asked for cannot be read.
    pub fn unreadable(&self) -> usize {
        self.entries.iter().filter(|found| matches!(found, Found::Unreadable { .. })).count()
    }
}

/// Reads at most `limit` entries after the index `after` (`None`: the last ones) from a replica's data directory.
///
/// # Errors
/// If it is no replica's directory, a process uses it, or its databases cannot be opened.
pub fn read(data: &Path, after: Option<u64>, limit: u64) -> Result<StoppedLog> {
    let folder = DataDir::look_into(data, DATA_KIND, DATA_FORMAT)?;
    let db = Database::open_read_only(&folder.path().join(LOG_FOLDER))?;
    let owner: Option<LogOwner> = db.meta_record(keys::OWNER)?;
    let vote: Option<Vote> = db.meta_record(keys::VOTE)?;
    let purged: Option<LogId> = db.meta_record(keys::PURGED)?;
    let start = purged.map_or(0, |id| id.index + 1);
    let bounds = db.bounds(start)?;
    Ok(StoppedLog {
        cluster_id: owner.as_ref().map(|owner| owner.cluster_id.clone()),
        replica: owner.as_ref().map(|owner| owner.id.replica),
        life: owner.map(|owner| owner.id.life),
        vote: vote.map(|vote| VoteView {
            term: vote.leader_id.term,
            voted_for: vote.leader_id.voted_for.replica,
            committed: vote.committed,
        }),
        first: bounds.map(|(first, _)| first),
        last: bounds.map(|(_, last)| last),
        committed: db.meta_record::<Option<LogId>>(keys::COMMITTED)?.flatten().map(Position::from),
        purged: purged.map(Position::from),
        applied: applied(data)?,
        entries: bounds.map_or(Vec::new(), |(_, last)| entries(&db, start, last, after, limit)),
    })
}

fn applied(data: &Path) -> Result<Option<Position>> {
    if !data.join("state").exists() {
        return Ok(None);
    }
    let position = StateDb::position_in(&current_generation(&data.join("state"))?)?;
    Ok(position.last_applied.map(Position::from))
}

fn entries(db: &Database, start: u64, last: u64, after: Option<u64>, limit: u64) -> Vec<Found> {
    let after = after.map_or_else(|| (last + 1).saturating_sub(limit), |after| after.saturating_add(1));
    let from = after.max(start);
    let to = last.min(from.saturating_add(limit - 1));
    (from..=to).map(|index| found(index, db.entry(index))).collect()
}

fn found(index: u64, entry: io::Result<Option<Entry>>) -> Found {
    let unreadable = |error: String| Found::Unreadable { index, error };
    match entry {
        Ok(Some(entry)) => EntryView::of(&entry).map_or_else(|error| unreadable(error.to_string()), Found::Entry),
        Ok(None) => unreadable("it is missing".to_owned()),
        Err(error) => unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use bazaar_domain::{Command, IdempotencyKey, Quantity, Side, StockName, command::Trade};
    use openraft::EntryPayload;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        log_store::{
            database::Changes,
            test_entries::{blank, log_id},
        },
        raft_types::{LogCommand, RaftId},
    };

    fn trade(index: u64) -> Entry {
        let trade = Trade {
            key: IdempotencyKey::new(&format!("k{index}")).unwrap(),
            name: StockName::new("BoarCo").unwrap(),
            side: Side::Buy,
            quantity: Quantity::new(3).unwrap(),
        };
        let payload = EntryPayload::Normal(LogCommand::encode(&Command::Trades(vec![trade])));
        Entry { log_id: log_id(2, index), payload }
    }

    /// The folder of a replica with the entries 0 to 9, of which those up to 3 are purged.
    fn replica() -> TempDir {
        let folder = TempDir::new().unwrap();
        drop(DataDir::open(folder.path(), DATA_KIND, DATA_FORMAT).unwrap());
        let db = Database::open(&folder.path().join(LOG_FOLDER)).unwrap();
        let mut changes = Changes::default();
        for entry in (0..9).map(trade).chain([blank(3, 9)]) {
            db.put_entry(&mut changes, &entry);
        }
        db.delete_entries(&mut changes, 0, 4);
        db.put_meta(&mut changes, keys::PURGED, &log_id(2, 3));
        db.put_meta(&mut changes, keys::COMMITTED, &Some(log_id(2, 8)));
        db.put_meta(&mut changes, keys::VOTE, &Vote::new_committed(3, RaftId::founding(1)));
        db.put_meta(&mut changes, keys::OWNER, &LogOwner { cluster_id: "c".into(), id: RaftId::founding(1) });
        db.write(changes).unwrap();
        db.sync().unwrap();
        folder
    }

    /// Every file of a folder with its content.
    fn content(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(content(&path));
            } else {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
        files
    }

    fn indexes(log: &StoppedLog) -> Vec<u64> {
        let index = |found: &Found| match found {
            Found::Entry(entry) => entry.index,
            Found::Unreadable { index, .. } => *index,
        };
        log.entries.iter().map(index).collect()
    }

    #[test]
    fn everything_is_shown_and_no_file_is_changed() {
        let folder = replica();
        let before = content(folder.path());
        let log = read(folder.path(), None, 3).unwrap();
        assert_eq!(indexes(&log), [7, 8, 9]);
        assert_eq!((log.first, log.last, log.unreadable()), (Some(4), Some(9), 0));
        assert_eq!(log.purged, Some(Position { term: 2, index: 3 }));
        assert_eq!(log.committed, Some(Position { term: 2, index: 8 }));
        assert_eq!(log.vote, Some(VoteView { term: 3, voted_for: 1, committed: true }));
        assert_eq!((log.cluster_id.as_deref(), log.replica, log.life), (Some("c"), Some(1), Some(0)));
        let Found::Entry(entry) = &log.entries[0] else { panic!("{log:?}") };
        assert_eq!((entry.kind.as_str(), entry.items[0]["name"].as_str()), ("trades", Some("BoarCo")));
        assert_eq!(indexes(&read(folder.path(), Some(0), 2).unwrap()), [4, 5], "it begins where the purge ended");
        assert_eq!(indexes(&read(folder.path(), Some(9), 2).unwrap()), [0_u64; 0]);
        assert!(before == content(folder.path()), "a file was changed");
    }

    #[test]
    fn entries_that_are_damaged_or_missing_are_named_and_those_behind_them_are_shown() {
        let folder = replica();
        let db = Database::open(&folder.path().join(LOG_FOLDER)).unwrap();
        let mut changes = Changes::default();
        db.delete_entries(&mut changes, 5, 6);
        db.write(changes).unwrap();
        db.put_raw(7, b"\x01nonsense");
        db.sync().unwrap();
        drop(db);
        let log = read(folder.path(), Some(4), 5).unwrap();
        assert_eq!((indexes(&log), log.unreadable()), (vec![5, 6, 7, 8, 9], 2));
        let error = |at: usize| match &log.entries[at] {
            Found::Unreadable { error, .. } => error.clone(),
            Found::Entry(entry) => panic!("{entry:?}"),
        };
        assert_eq!(error(0), "it is missing");
        assert!(error(2).contains("entry 7 cannot be read"), "{}", error(2));
    }

    #[test]
    fn a_folder_in_use_or_of_something_else_is_refused_in_words() {
        let refused = |folder: &Path| format!("{:#}", read(folder, None, 1).unwrap_err());
        let folder = replica();
        let held = DataDir::open(folder.path(), DATA_KIND, DATA_FORMAT).unwrap();
        assert!(refused(folder.path()).contains("is in use by a running process"));
        drop(held);
        let other = TempDir::new().unwrap();
        assert!(refused(other.path()).contains("is no data directory of the bazaar"));
        assert!(refused(&other.path().join("nowhere")).contains("there is no folder"));
        fs::create_dir(other.path().join("replica-2")).unwrap();
        assert!(refused(other.path()).contains("it holds replica-2"));
        fs::remove_dir(other.path().join("replica-2")).unwrap();
        drop(DataDir::open(other.path(), "catalog", 1).unwrap());
        assert!(refused(other.path()).contains("is a data directory of 'catalog format 1'"));
    }
}
