//! The calls that we need of etcd's own interface, with the numbers that its fields have there.

use anyhow::{Context, Result};

use super::{
    grpc::Connection,
    protobuf::{Message, all_bytes, bytes, number},
};

/// In a comparison: by the revision of the last change.
const TARGET_MOD: u64 = 2;
/// Field of an answer's header.
const HEADER: u64 = 1;
/// Where a header has the revision.
const REVISION: u64 = 3;

/// A key's value and the revision of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The revision.
    pub mod_revision: u64,
    /// The value.
    pub value: Vec<u8>,
}

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// Both keys were put, at this revision.
    Done {
        /// The revision.
        revision: u64,
    },
    /// Another client was faster; this is what it left.
    Lost(Entry),
}

/// Whether a member leads.
///
/// # Errors
/// If the call fails.
pub async fn leads(connection: &Connection) -> Result<bool> {
    let answer = connection.call("etcdserverpb.Maintenance/Status", []).await?;
    let own = number(bytes(&answer, HEADER)?, 2)?;
    Ok(own != 0 && own == number(&answer, 4)?)
}

/// Puts a value under a key.
///
/// # Errors
/// If the call fails.
pub async fn put(connection: &Connection, key: &str, value: &[u8]) -> Result<()> {
    connection.call("etcdserverpb.KV/Put", put_message(key, value)).await.map(drop)
}

/// What is under a key.
///
/// # Errors
/// If the call fails.
pub async fn get(connection: &Connection, key: &str) -> Result<Option<Entry>> {
    let answer = connection.call("etcdserverpb.KV/Range", Message::default().bytes(1, key)).await?;
    first_entry(&answer)
}

/// Puts both keys if the first one still has this revision, all at once.
///
/// # Errors
/// If the call fails, or the first key is gone.
pub async fn swap(connection: &Connection, revision: u64, first: (&str, &[u8]), second: (&str, &[u8])) -> Result<Swap> {
    let answer = connection.call("etcdserverpb.KV/Txn", swap_message(revision, first, second)).await?;
    if number(&answer, 2)? == 1 {
        return Ok(Swap::Done { revision: number(bytes(&answer, HEADER)?, REVISION)? });
    }
    let range = bytes(bytes(&answer, 3)?, 1)?;
    Ok(Swap::Lost(first_entry(range)?.context("a stock is gone")?))
}

fn put_message(key: &str, value: &[u8]) -> Message {
    Message::default().bytes(1, key).bytes(2, value)
}

fn swap_message(revision: u64, first: (&str, &[u8]), second: (&str, &[u8])) -> Message {
    let unchanged = Message::default().number(2, TARGET_MOD).bytes(3, first.0).number(6, revision);
    let put = |(key, value)| Message::default().bytes(2, put_message(key, value));
    let look = Message::default().bytes(1, Message::default().bytes(1, first.0));
    Message::default().bytes(1, unchanged).bytes(2, put(first)).bytes(2, put(second)).bytes(3, look)
}

/// The first key and value of a range's answer.
fn first_entry(range: &[u8]) -> Result<Option<Entry>> {
    let Some(entry) = all_bytes(range, 2)?.first().copied() else { return Ok(None) };
    Ok(Some(Entry { mod_revision: number(entry, 3)?, value: bytes(entry, 5)?.to_vec() }))
}
