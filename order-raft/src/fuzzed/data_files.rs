//! The small files of a replica's data directory: whose it is, of which format, and which generation of the state is in
//! use. What is wrong with one stops the start in words, and never costs what lies beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bazaar_domain::api::{Founder, Founding};
use bazaar_service::data_dir::DataDir;
use tempfile::TempDir;

use super::{member, selected, with_selector};
use crate::{
    identity::Identity,
    raft_types::Member,
    run::{DATA_FORMAT, DATA_KIND},
    state_machine::snapshot::Generations,
};

/// `identity.json`, `BAZAAR`, and `CURRENT` of the state.
const KINDS: usize = 3;
const REPLICA: u64 = 2;
/// Generations that lie in the folder when `CURRENT` is read.
const GENERATIONS: [&str; 3] = ["generation-1", "generation-2", "generation-10"];

thread_local! {
    /// One folder for all runs, since making one takes longer than all the rest.
    static FOLDER: TempDir = TempDir::new().expect("a temporary folder can be made");
}

/// The file that the first byte chooses has this content when a replica starts.
pub(crate) fn data_files(bytes: &[u8]) -> bool {
    let Some((kind, content)) = selected(bytes, KINDS) else { return false };
    let folder = FOLDER.with(|folder| folder.path().to_owned());
    match kind {
        0 => identity(&folder.join("identity"), content),
        1 => marker(&folder.join("marker"), content),
        _ => current(&folder.join("root"), content),
    }
}

fn write(folder: &Path, file: &str, content: &[u8]) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder can be made");
    let path = folder.join(file);
    fs::write(&path, content).expect("a file can be written");
    path
}

/// An identity is taken as it is, but for one more start; one that is refused is left as it was.
fn identity(folder: &Path, content: &[u8]) -> bool {
    let file = write(folder, "identity.json", content);
    let Ok(first) = Identity::establish(folder, REPLICA, None) else {
        assert_eq!(fs::read(&file).expect("it was written"), content, "a refused identity is not touched");
        return false;
    };
    let noted: Identity = serde_json::from_slice(content).expect("it was read from these bytes");
    assert_eq!(first, Identity { incarnation: first.incarnation, ..noted.clone() });
    assert_eq!((first.replica_id, Some(first.incarnation)), (REPLICA, noted.incarnation.checked_add(1)));
    let stored: Identity = serde_json::from_slice(&fs::read(&file).expect("it was written")).expect("just written");
    assert_eq!(stored, first, "what holds is what is stored");
    true
}

/// Only the directory of this kind and format is taken.
fn marker(folder: &Path, content: &[u8]) -> bool {
    let file = write(folder, "BAZAAR", content);
    let taken = DataDir::open(folder, DATA_KIND, DATA_FORMAT).is_ok();
    assert_eq!(taken, content == format!("{DATA_KIND} format {DATA_FORMAT}\n").as_bytes());
    assert_eq!(taken, DataDir::look_into(folder, DATA_KIND, DATA_FORMAT).is_ok());
    assert_eq!(fs::read(file).expect("it was written"), content, "the mark of a directory is not touched");
    taken
}

/// Only a generation that is there is taken, and then the others go; otherwise all stay.
fn current(root: &Path, content: &[u8]) -> bool {
    let state = root.join("state");
    write(&state, "CURRENT", content);
    for generation in GENERATIONS {
        fs::create_dir_all(state.join(generation)).expect("a folder can be made");
    }
    let found = Generations::open(root).and_then(|generations| generations.current());
    let named = GENERATIONS.into_iter().find(|name| name.as_bytes() == content);
    assert_eq!(found.as_ref().ok(), named.map(|name| state.join(name)).as_ref());
    for generation in GENERATIONS {
        let stays = named.is_none_or(|named| named == generation);
        assert_eq!(state.join(generation).exists(), stays, "{generation} after CURRENT names {named:?}");
    }
    found.is_ok()
}

/// Every file as it is written, and an identity in each state.
pub(crate) fn data_file_seeds() -> Vec<Vec<u8>> {
    let cluster_id = || "bazaar-0123456789abcdef".to_owned();
    let Member { peers, service, admin } = member();
    let founder =
        |id| Founder { id, life: 0xabcd, service: service.clone(), peers: peers.clone(), admin: admin.clone() };
    let founders = [1, REPLICA].map(founder).to_vec();
    let founding = Some(Founding { cluster_id: cluster_id(), founders });
    let joined = Identity {
        cluster_id: Some(cluster_id()),
        replica_id: REPLICA,
        life: 0xabcd,
        incarnation: 3,
        has_log: true,
        founding: None,
    };
    let waiting = Identity { cluster_id: None, has_log: false, founding, ..joined.clone() };
    let mut seeds: Vec<Vec<u8>> = [joined, waiting]
        .iter()
        .map(|identity| with_selector(0, &serde_json::to_vec_pretty(identity).expect("plain JSON")))
        .collect();
    seeds.push(with_selector(1, format!("{DATA_KIND} format {DATA_FORMAT}\n").as_bytes()));
    seeds.extend(GENERATIONS.map(|generation| with_selector(2, generation.as_bytes())));
    seeds
}
