//! Records of the log store, and what is said when one cannot be read.

use std::{io, path::Path};

use bazaar_domain::codec::{self, DecodeError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{disk, raft_types::Entry};

/// The bytes of a record.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode(value)
}

/// Reads the entry that is stored under `index`.
///
/// # Errors
/// If the bytes are not an entry, or one of another index: the log is damaged, and no default can stand in for it.
pub(super) fn decode_entry(path: &Path, index: u64, bytes: &[u8]) -> io::Result<Entry> {
    let entry: Entry =
        codec::decode(bytes).map_err(|error| unreadable(path, &format!("entry {index} cannot be read"), &error))?;
    if entry.log_id.index == index {
        Ok(entry)
    } else {
        Err(damaged(path, &format!("entry {} is stored under index {index}", entry.log_id.index)))
    }
}

/// Reads a record of the `meta` column family.
///
/// # Errors
/// If the bytes are not such a record.
pub(super) fn decode_meta<T: DeserializeOwned>(path: &Path, key: &[u8], bytes: &[u8]) -> io::Result<T> {
    codec::decode(bytes).map_err(|error| {
        unreadable(path, &format!("the record '{}' cannot be read", String::from_utf8_lossy(key)), &error)
    })
}

fn unreadable(path: &Path, what: &str, error: &DecodeError) -> io::Error {
    let text = format!("the Raft log in {}: {what}: {}", path.display(), disk::undecodable(error));
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The error of a log that contradicts itself.
pub(super) fn damaged(path: &Path, what: &str) -> io::Error {
    let text = format!("the Raft log in {} is damaged: {what}; {}", path.display(), disk::REPLACE);
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openraft::{EntryPayload, Membership};

    use super::*;
    use crate::{
        log_store::test_entries::{blank, normal},
        raft_types::{Member, RaftId, Vote},
    };

    fn path() -> &'static Path {
        Path::new("replica-1/raft")
    }

    #[test]
    fn every_kind_of_entry_is_read_back_as_it_was_written() {
        let member = Member { peers: "a:1".into(), service: "a:2".into(), admin: "a:3".into() };
        let id = RaftId { replica: 1, life: 9 };
        let membership = Membership::new(vec![[id].into()], BTreeMap::from([(id, member)])).unwrap();
        let mut with_members = blank(2, 9);
        with_members.payload = EntryPayload::Membership(membership);
        for entry in [blank(1, 0), normal(3, 7, 1_000), with_members] {
            let index = entry.log_id.index;
            assert_eq!(decode_entry(path(), index, &encode(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn a_vote_is_read_back_as_it_was_written() {
        let vote = Vote::new_committed(7, RaftId::founding(3));
        assert_eq!(decode_meta::<Vote>(path(), b"vote", &encode(&vote)).unwrap(), vote);
    }

    #[test]
    fn a_damaged_entry_is_an_error_that_names_the_database_and_the_index() {
        let mut bytes = encode(&normal(3, 7, 100));
        bytes.truncate(20);
        let error = decode_entry(path(), 7, &bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let text = error.to_string();
        assert!(text.contains("replica-1/raft") && text.contains("entry 7"), "{text}");
    }

    #[test]
    fn an_entry_under_another_index_is_refused() {
        let error = decode_entry(path(), 8, &encode(&blank(3, 7))).unwrap_err();
        assert!(error.to_string().contains("entry 7 is stored under index 8"), "{error}");
    }
}
