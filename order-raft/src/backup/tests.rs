//! A backup and the cluster that is restored from it, without processes.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use bazaar_domain::{
    Cents, Command, Listing, ListingChange, Quantity, Side, Trade, config::ClusterConfig, digest::Digest,
};
use openraft::RaftLogReader;

use super::{
    format::{Archive, Manifest, Nowhere, read_archive},
    restore::{Restored, restore},
};
use crate::{
    identity::{Identity, LOG_FOLDER},
    log_store::{LogOwner, LogPositions, LogStore, test_entries::log_id},
    raft_types::{RaftId, Vote},
    run::{DATA_FORMAT, founding_members},
    snapshot_dir::SnapshotDir,
    state_machine::{
        State,
        books::{Applier, Books},
        store::{Faults, Position, Row, StateDb},
    },
};

const TERM: u64 = 7;
const ORDERS: u64 = 30;
const CONFIG: &str = r#"
[[replica]]
id = 1
service = "127.0.0.1:1001"
peers = "127.0.0.1:1002"
admin = "127.0.0.1:1003"
[[replica]]
id = 2
service = "127.0.0.1:1004"
peers = "127.0.0.1:1005"
admin = "127.0.0.1:1006"
"#;

/// A backup in a folder, and the rows of the state that it is of.
struct Backup {
    folder: tempfile::TempDir,
    manifest: Manifest,
    checkpoint: SnapshotDir,
    rows: Vec<Row>,
}

impl Backup {
    fn take() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = StateDb::open(&folder.path().join("db"), Faults::new(None)).unwrap();
        trade(&db);
        let checkpoint = SnapshotDir { path: folder.path().join("checkpoint") };
        db.checkpoint(&checkpoint.path).unwrap();
        let totals = db.totals().unwrap();
        assert_eq!((totals.orders, totals), (ORDERS, db.count_anew().unwrap()));
        let manifest = Manifest {
            cluster_id: "old".into(),
            replica: 3,
            term: TERM,
            index: ORDERS + 1,
            orders: ORDERS,
            digest: totals.digest.to_string(),
            taken_unix_s: 0,
            data_format: DATA_FORMAT,
            files: checkpoint.files().unwrap(),
        };
        let rows = without_position(&db);
        let backup = Self { folder, manifest, checkpoint, rows };
        backup.write(&backup.manifest);
        backup
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("new").join("data")
    }

    fn write(&self, manifest: &Manifest) {
        let mut bytes = Vec::new();
        Archive::new(manifest, self.checkpoint.clone()).unwrap().read_to_end(&mut bytes).unwrap();
        fs::write(self.file(), bytes).unwrap();
    }

    fn restore(&self) -> anyhow::Result<Restored> {
        restore(&self.file(), &self.data(), &config())
    }

    fn refusal(&self) -> String {
        format!("{:#}", self.restore().unwrap_err())
    }
}

fn config() -> ClusterConfig {
    ClusterConfig::parse(CONFIG).unwrap()
}

fn trade(db: &StateDb) {
    let mut books = Books::default();
    let change = ListingChange::List { price: Cents::new(100).unwrap(), quantity: 1_000, max_quantity: None };
    let name = "A".parse().unwrap();
    let listing = Command::Listings(vec![Listing { key: "list".parse().unwrap(), name, change }]);
    let buy = |index: u64| {
        let key = format!("key-{index}").parse().unwrap();
        Command::Trades(vec![Trade { key, name, side: Side::Buy, quantity: Quantity::new(1).unwrap() }])
    };
    for index in 1..=ORDERS + 1 {
        let mut applier = Applier::new(&mut books, db);
        applier.apply(index, if index == 1 { listing.clone() } else { buy(index) }).unwrap();
        let changes = applier.changes;
        let position = Position { last_applied: Some(log_id(TERM, index)), ..Position::default() };
        db.commit(&changes, &books, &position).unwrap();
    }
}

fn without_position(db: &StateDb) -> Vec<Row> {
    let mut rows = db.dump().unwrap();
    let before = rows.len();
    rows.retain(|(key, _)| key != b"position");
    assert_eq!(rows.len(), before - 1);
    rows
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_restored_replica_has_the_state_of_the_backup_and_an_empty_log_behind_it() {
    let backup = Backup::take();
    let restored = backup.restore().unwrap();
    assert_eq!(restored.replicas, [1, 2]);
    assert_eq!(names_in(&backup.data()), ["bootstrapped", "cluster-id", "replica-1", "replica-2"]);
    let cluster_id = fs::read_to_string(backup.data().join("cluster-id")).unwrap();
    assert_eq!(cluster_id.trim(), restored.cluster_id);
    let last = log_id(TERM, ORDERS + 1);
    for replica in restored.replicas {
        let root = backup.data().join(format!("replica-{replica}"));
        let identity = Identity::establish(&root, replica, None).unwrap();
        let id = RaftId::founding(replica);
        assert_eq!((identity.cluster_id.as_ref(), identity.raft_id()), (Some(&restored.cluster_id), id));
        assert_eq!((identity.incarnation, identity.has_log), (1, true));

        let mut log = LogStore::open(&root.join(LOG_FOLDER), |fault: String| panic!("{fault}")).unwrap();
        assert_eq!(log.positions(), LogPositions { first: None, last: None, purged: Some(last) });
        assert_eq!(log.owner().unwrap(), Some(LogOwner { cluster_id: restored.cluster_id.clone(), id }));
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(TERM, id)));

        let state = State::open(&root).unwrap();
        assert_eq!(without_position(&state.db()), backup.rows);
        let position = state.db().position().unwrap();
        assert_eq!((position.last_applied, *position.membership.log_id()), (Some(last), Some(last)));
        let members = founding_members(&config());
        assert!(position.membership.nodes().map(|(id, member)| (*id, member.clone())).eq(members.clone()));
        assert!(position.membership.membership().voter_ids().eq(members.into_keys()));
        let checkpoints = names_in(&root.join("snapshots"));
        assert_eq!(checkpoints.len(), 1);
        let checkpoint = root.join("snapshots").join(&checkpoints[0]);
        assert_eq!(StateDb::position_in(&checkpoint).unwrap(), position);
    }
}

#[test]
fn two_restores_make_two_clusters_and_an_empty_folder_may_be_there() {
    let backup = Backup::take();
    let first = backup.restore().unwrap().cluster_id;
    fs::rename(backup.data(), backup.folder.path().join("first")).unwrap();
    fs::create_dir(backup.data()).unwrap();
    assert_ne!(backup.restore().unwrap().cluster_id, first);
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let backup = Backup::take();
    fs::create_dir_all(backup.data()).unwrap();
    fs::write(backup.data().join("letters.txt"), "private").unwrap();
    assert!(backup.refusal().contains("is not empty"), "{}", backup.refusal());
    assert_eq!(names_in(&backup.data()), ["letters.txt"]);
    fs::remove_dir_all(backup.data()).unwrap();
    fs::write(backup.data(), "a file").unwrap();
    assert!(backup.refusal().contains("is not a folder"), "{}", backup.refusal());
}

#[test]
fn a_restore_that_was_cut_off_is_named_and_not_built_upon() {
    let backup = Backup::take();
    let partial = backup.data().with_file_name("data.partial");
    fs::create_dir_all(&partial).unwrap();
    assert!(backup.refusal().contains("data.partial is left from a restore"), "{}", backup.refusal());
    fs::remove_dir(&partial).unwrap();
    backup.restore().unwrap();
}

#[test]
fn a_damaged_backup_leaves_nothing_behind() {
    let backup = Backup::take();
    let whole = fs::read(backup.file()).unwrap();
    read_archive(&whole[..], &mut Nowhere).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, word) in [(&whole[..whole.len() - 1], "truncated"), (&flipped, "damaged"), (b"letters", "no backup")] {
        fs::write(backup.file(), bytes).unwrap();
        assert!(backup.refusal().contains(word), "{}", backup.refusal());
        assert_eq!(names_in(backup.data().parent().unwrap()), Vec::<String>::new());
    }
}

#[test]
fn a_manifest_that_does_not_say_what_the_files_hold_is_refused() {
    let backup = Backup::take();
    let lies = [
        (Manifest { orders: ORDERS + 1, ..backup.manifest.clone() }, "but it holds 30"),
        (Manifest { digest: Digest::default().to_string(), ..backup.manifest.clone() }, "but it holds 30"),
        (Manifest { index: ORDERS, ..backup.manifest.clone() }, "but it ends at 31"),
        (Manifest { data_format: DATA_FORMAT + 1, ..backup.manifest.clone() }, "this program needs format"),
    ];
    for (manifest, word) in lies {
        backup.write(&manifest);
        assert!(backup.refusal().contains(word), "{}", backup.refusal());
        assert!(!backup.data().exists());
    }
}

#[test]
fn a_checkpoint_is_lent_to_one_at_a_time_and_gone_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let lent = state.lend_checkpoint().unwrap().unwrap();
    let path = lent.dir.path.clone();
    assert!(path.exists() && state.lend_checkpoint().unwrap().is_none());
    drop(lent);
    assert!(!path.exists());
    let lent_again = state.lend_checkpoint().unwrap().unwrap();
    // As if the process had died: nothing was dropped.
    std::mem::forget(lent_again);
    drop(state);
    assert!(path.exists());
    State::open(folder.path()).unwrap();
    assert!(!path.exists(), "the next start removes it");
}
