//! What the search found before holds for ever, also without it: the inputs that it kept are in `fuzz/corpus`.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::{TARGETS, Target};

/// What was kept for a target. An empty folder is a fault: nothing would be checked.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

fn replay(target: &Target) {
    let mut taken = 0;
    for (path, bytes) in corpus(target.name) {
        // Printed only if the check panics.
        println!("{}", path.display());
        taken += usize::from((target.check)(&bytes));
    }
    assert!(taken > 0, "nothing in the corpus of {} is taken: its checks reach nothing", target.name);
}

/// The slow one apart.
fn with_the_database(target: &&Target) -> bool {
    target.name == "state_database"
}

#[test]
fn every_input_that_was_kept_still_holds() {
    TARGETS.iter().filter(|target| !with_the_database(target)).for_each(replay);
}

#[test]
fn every_input_that_was_kept_still_holds_on_the_database() {
    TARGETS.iter().filter(with_the_database).for_each(replay);
}

#[test]
fn every_seed_is_taken() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            assert!((target.check)(seed), "seed {number} of {} is refused", target.name);
        }
    }
}

/// Bytes that a search would also make: a seed with a piece replaced.
fn nearly_a_seed(
    seeds: &[Vec<u8>],
    choice: &prop::sample::Index,
    place: &prop::sample::Index,
    piece: &[u8],
) -> Vec<u8> {
    let mut bytes = choice.get(seeds).clone();
    let start = place.index(bytes.len());
    let end = bytes.len().min(start + piece.len());
    bytes.splice(start..end, piece.iter().copied());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken_or_refused_in_good_order(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        piece in prop::collection::vec(any::<u8>(), 0..5),
        choice: prop::sample::Index,
        place: prop::sample::Index,
    ) {
        for target in TARGETS.iter().filter(|target| !with_the_database(target)) {
            (target.check)(&bytes);
            (target.check)(&nearly_a_seed(&(target.seeds)(), &choice, &place, &piece));
        }
    }
}
