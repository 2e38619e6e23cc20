//! Everything that a replica and the catalog keep as records in their databases.

use std::path::Path;

use bazaar_domain::{Command, Order, Stock, digest::Digest, order::StoredOutcome};

use super::{LogOwner, codec, keys};
use crate::{
    fuzzed::{again, entries, equal_again, log_id, members, order, outcome, selected, stock, with_selector},
    raft_types::{LogId, RaftId, StoredMembership, Vote},
    state_machine::{
        books::{StockRecord, Totals},
        store::Position,
    },
};

/// Kinds of records.
const KINDS: usize = 13;

/// The record that the first byte chooses is read back as it was written, if it is read at all.
pub(crate) fn stored_records(bytes: &[u8]) -> bool {
    let Some((kind, record)) = selected(bytes, KINDS) else { return false };
    match kind {
        0 => entry(record),
        1 => meta::<Vote>(record),
        2 => meta::<Option<LogId>>(record),
        3 => meta::<LogId>(record),
        4 => meta::<LogOwner>(record),
        5 => keys::index_of(record).is_some_and(|index| keys::log_key(index) == record),
        6 => equal_again::<Order>(record).is_some(),
        7 => equal_again::<StoredOutcome>(record).is_some(),
        8 => equal_again::<StockRecord>(record).is_some(),
        9 => equal_again::<Position>(record).is_some(),
        10 => equal_again::<Totals>(record).is_some(),
        11 => equal_again::<Digest>(record).is_some(),
        _ => equal_again::<Stock>(record).is_some(),
    }
}

fn path() -> &'static Path {
    Path::new("replica-1/raft")
}

/// The first eight bytes are the key under which the entry is found.
fn entry(stored: &[u8]) -> bool {
    let Some((key, record)) = stored.split_first_chunk::<8>() else { return false };
    let index = u64::from_be_bytes(*key);
    let Ok(entry) = codec::decode_entry(path(), index, record) else { return false };
    assert_eq!(entry.log_id.index, index, "an entry is never taken for another one");
    for other in [&record[..record.len() - 1], &[record, &[0]].concat()] {
        assert!(codec::decode_entry(path(), index, other).is_err(), "an entry with a byte more or less is one, too");
    }
    let encoded = codec::encode(&entry);
    let second = codec::decode_entry(path(), index, &encoded).expect("what was encoded can be decoded");
    assert_eq!(second, entry);
    if let openraft::EntryPayload::Normal(command) = &entry.payload {
        return equal_again::<Command>(&command.bytes).is_some();
    }
    true
}

/// What the log's own reader takes is what was written.
fn meta<T: serde::Serialize + serde::de::DeserializeOwned>(record: &[u8]) -> bool {
    let taken = codec::decode_meta::<T>(path(), keys::VOTE, record).is_ok();
    assert_eq!(taken, again::<T>(record).is_some(), "one decoder for all records");
    taken
}

/// One record of each kind.
pub(crate) fn stored_record_seeds() -> Vec<Vec<u8>> {
    let entries = entries().into_iter().map(|entry| {
        let stored = [&keys::log_key(entry.log_id.index)[..], &codec::encode(&entry)].concat();
        with_selector(0, &stored)
    });
    let position =
        Position { last_applied: Some(log_id(2, 7)), membership: StoredMembership::new(Some(log_id(1, 0)), members()) };
    let owner = LogOwner { cluster_id: "bazaar-0123456789abcdef".into(), id: RaftId { replica: 2, life: 0xabcd } };
    let totals = Totals { orders: 1, digest: Digest::default().extended(&order()) };
    let others = [
        codec::encode(&Vote::new_committed(3, RaftId::founding(1))),
        codec::encode(&Some(log_id(2, 8))),
        codec::encode(&log_id(2, 3)),
        codec::encode(&owner),
        keys::log_key(256).to_vec(),
        codec::encode(&order()),
        codec::encode(&outcome()),
        codec::encode(&StockRecord { stock: stock(), listed: 100 }),
        codec::encode(&position),
        codec::encode(&totals),
        codec::encode(&totals.digest),
        codec::encode(&stock()),
    ];
    entries.chain(others.iter().zip(1..).map(|(record, kind)| with_selector(kind, record))).collect()
}
