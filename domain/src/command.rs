//! What the Raft log carries: trades and listing changes, as clients asked for them.

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::words::{Cents, IdempotencyKey, Quantity, Side, StockName};

/// What is fingerprinted is at most a stock's name, a change, and their lengths. One piece is hashed faster than several.
const FINGERPRINTED_BYTES_MAX: usize = 128;

/// A trade as a client asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Makes the trade happen at most once, however often it is sent.
    pub key: IdempotencyKey,
    /// The stock.
    pub name: StockName,
    /// Buy or sell.
    pub side: Side,
    /// How many.
    pub quantity: Quantity,
}

impl Trade {
    /// Two trades under one key are the same if their fingerprints are equal: the first eight bytes of the
    /// BLAKE3 hash of what was asked.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(
            0,
            &[self.name.as_str().as_bytes(), self.side.as_str().as_bytes(), &self.quantity.get().to_be_bytes()],
        )
    }
}

/// A change of what is on offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Makes the change happen at most once. Listings and trades share one space of keys.
    pub key: IdempotencyKey,
    /// The stock.
    pub name: StockName,
    /// What changes.
    pub change: ListingChange,
}

/// The kinds of [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListingChange {
    /// A new stock is offered.
    List {
        /// Its price.
        price: Cents,
        /// How many there are at the start.
        quantity: u64,
        /// The most there may ever be; sells past it are rejected.
        max_quantity: Option<u64>,
    },
    /// The price changes for later trades.
    Reprice {
        /// The new price.
        price: Cents,
    },
    /// More of the stock is put on offer.
    Restock {
        /// How many are added.
        quantity: u64,
    },
}

impl Listing {
    /// As [`Trade::fingerprint`]; never equal to a trade's by kind.
    pub fn fingerprint(&self) -> u64 {
        let change = postcard::to_stdvec(&self.change).expect("a listing change has no unserializable part");
        fingerprint(1, &[self.name.as_str().as_bytes(), &change])
    }
}

fn fingerprint(kind: u8, parts: &[&[u8]]) -> u64 {
    let mut message = [0; FINGERPRINTED_BYTES_MAX];
    let mut rest = &mut message[..];
    let room = rest.len();
    // Writing to a slice can only fail for lack of room.
    let mut put = |bytes: &[u8]| rest.write_all(bytes).expect("what is fingerprinted is short");
    put(&[kind]);
    for part in parts {
        put(&(part.len() as u64).to_be_bytes());
        put(part);
    }
    let length = room - rest.len();
    u64::from_be_bytes(blake3::hash(&message[..length]).as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}

/// The content of one log entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Trades, decided one after the other.
    Trades(Vec<Trade>),
    /// Listing changes, decided one after the other.
    Listings(Vec<Listing>),
}
