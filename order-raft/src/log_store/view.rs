//! An entry as people see it: in `GET /admin/log` of a running replica, and in the folder of a stopped one.

use std::io;

use bazaar_domain::{Command, codec::DecodeError};
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::LogStore;
use crate::raft_types::Entry;

/// A decoded log entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// Its log index.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// `blank`, `membership`, `trades` or `listings`.
    pub kind: String,
    /// What it carries.
    #[serde(default)]
    pub items: Vec<Value>,
}

/// A log entry, with its items counted and not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EntryBrief {
    /// Its log index.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// As [`EntryView::kind`].
    pub kind: &'static str,
    /// How many items it carries.
    pub count: usize,
}

/// Reads of the log for one list of entries in short: each gives some entries, whose bytes are bounded, so this bounds
/// what one request can have read.
const BRIEF_READS_MAX: usize = 32;

impl EntryBrief {
    /// At most `limit` entries after the index `after`, as [`LogStore::entries`] finds them. However large the entries
    /// are, a few of them are in memory at a time.
    ///
    /// # Errors
    /// If the log cannot be read or is damaged.
    pub fn list(log: &LogStore, mut after: Option<u64>, limit: usize) -> io::Result<Vec<Self>> {
        let mut list = Vec::new();
        for _ in 0..BRIEF_READS_MAX {
            let entries = log.entries(after, limit - list.len())?;
            let Some(last) = entries.last() else { break };
            after = Some(last.log_id.index);
            for entry in &entries {
                list.push(Self::of(entry).map_err(io::Error::other)?);
            }
            if list.len() == limit {
                break;
            }
        }
        Ok(list)
    }

    /// What an entry shows.
    ///
    /// # Errors
    /// If it holds no command that this build knows.
    pub fn of(entry: &Entry) -> Result<Self, DecodeError> {
        let (kind, count) = match &entry.payload {
            EntryPayload::Blank => ("blank", 0),
            EntryPayload::Membership(_) => ("membership", 1),
            EntryPayload::Normal(command) => match command.decode()? {
                Command::Trades(trades) => ("trades", trades.len()),
                Command::Listings(listings) => ("listings", listings.len()),
            },
        };
        Ok(Self { index: entry.log_id.index, term: entry.log_id.leader_id.term, kind, count })
    }
}

impl EntryView {
    /// What an entry shows.
    ///
    /// # Errors
    /// If it holds no command that this build knows.
    pub fn of(entry: &Entry) -> Result<Self, DecodeError> {
        let (kind, items) = match &entry.payload {
            EntryPayload::Blank => ("blank", Vec::new()),
            EntryPayload::Membership(membership) => {
                let voters: Vec<u64> = membership.voter_ids().map(|id| id.replica).collect();
                ("membership", vec![json!({ "voters": voters })])
            }
            EntryPayload::Normal(command) => match command.decode()? {
                Command::Trades(trades) => ("trades", trades.iter().map(|trade| json!(trade)).collect()),
                Command::Listings(listings) => ("listings", listings.iter().map(|listing| json!(listing)).collect()),
            },
        };
        let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
        Ok(Self { index, term, kind: kind.to_owned(), items })
    }
}
