//! Entries for tests.

use bytes::Bytes;
use openraft::EntryPayload;

use crate::raft_types::{Entry, LogCommand, LogId, RaftId};

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<crate::raft_types::TypeConfig>(term, RaftId::founding(1), index)
}

pub(crate) fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Blank }
}

pub(crate) fn normal(term: u64, index: u64, payload_bytes: usize) -> Entry {
    let payload = EntryPayload::Normal(LogCommand { bytes: Bytes::from(vec![7; payload_bytes]), origin: None });
    Entry { log_id: log_id(term, index), payload }
}

pub(crate) fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index).collect()
}
