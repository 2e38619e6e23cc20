//! Checks of what comes from outside: peers' messages, stored records, files, and sequences of commands, each as a
//! function of any bytes. `scripts/fuzz` searches for bytes that break one, and a test replays what it kept
//! (docs/fuzzing.md). No binary that people use has this module.
//!
//! The decoders that a module keeps to itself are checked by a module `fuzzed` beside them.

mod backups;
mod data_files;
mod inner_messages;
mod samples;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use bazaar_domain::codec;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use samples::{entries, listing, log_id, member, members, order, outcome, stock, trade, with_selector};

use crate::{log_store, network, state_machine};

/// One subject of the search.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its corpus.
    pub name: &'static str,
    /// It decodes what it is given, so that the memory it takes must be in proportion to that. A sequence of commands
    /// may ask for many trades in one byte.
    pub decodes: bool,
    /// Panics if these bytes break a promise. Says whether they were taken: a check that refuses everything checks
    /// nothing.
    pub check: fn(&[u8]) -> bool,
    /// Real values, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "peer_messages",
        decodes: true,
        check: network::fuzzed::peer_messages,
        seeds: network::fuzzed::peer_message_seeds,
    },
    Target {
        name: "inner_messages",
        decodes: true,
        check: inner_messages::inner_messages,
        seeds: inner_messages::inner_message_seeds,
    },
    Target {
        name: "stored_records",
        decodes: true,
        check: log_store::fuzzed::stored_records,
        seeds: log_store::fuzzed::stored_record_seeds,
    },
    Target { name: "data_files", decodes: true, check: data_files::data_files, seeds: data_files::data_file_seeds },
    Target {
        name: "snapshots",
        decodes: true,
        check: network::fuzzed::snapshots,
        seeds: network::fuzzed::snapshot_seeds,
    },
    Target { name: "backups", decodes: true, check: backups::backups, seeds: backups::backup_seeds },
    Target {
        name: "state_machine",
        decodes: false,
        check: state_machine::fuzzed::state_machine,
        seeds: state_machine::fuzzed::command_seeds,
    },
    Target {
        name: "state_database",
        decodes: false,
        check: state_machine::fuzzed::state_database,
        seeds: state_machine::fuzzed::command_seeds,
    },
];

/// Decodes a record. One that is taken must be the same value after it was encoded and decoded again: equal values
/// have equal bytes, since a record has no unordered part.
pub(crate) fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    compared_again(bytes, |_, _| ())
}

/// As [`again`], for values that can be compared: they must be equal, too.
pub(crate) fn equal_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    compared_again(bytes, |value: &T, second| assert_eq!(second, value, "another value after the way through a record"))
}

fn compared_again<T: Serialize + DeserializeOwned>(bytes: &[u8], compare: impl FnOnce(&T, &T)) -> Option<T> {
    let value: T = codec::decode(bytes).ok()?;
    let encoded = codec::encode(&value);
    let second: T = codec::decode(&encoded).expect("what was encoded can be decoded");
    assert_eq!(codec::encode(&second), encoded, "other bytes after the way through a record");
    compare(&value, &second);
    assert!(codec::decode::<T>(&bytes[..bytes.len() - 1]).is_err(), "a record without its last byte is one, too");
    assert!(codec::decode::<T>(&[bytes, &[0]].concat()).is_err(), "a record with one more byte is one, too");
    Some(value)
}

/// The first byte chooses what the others are.
pub(crate) fn selected(bytes: &[u8], choices: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((usize::from(*first) % choices, rest))
}
