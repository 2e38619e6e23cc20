//! Orders, and the one outcome that each key gets.

use serde::{Deserialize, Serialize};

use crate::{
    inventory::Rejection,
    words::{Cents, IdempotencyKey, Quantity, Side, StockName},
};

/// An accepted trade, as it is kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// 1, 2, 3, … without gaps.
    pub number: u64,
    /// The key it was sent under.
    pub key: IdempotencyKey,
    /// The stock.
    pub name: StockName,
    /// Buy or sell.
    pub side: Side,
    /// How many.
    pub quantity: Quantity,
    /// The price of one at that time.
    pub price: Cents,
    /// The stock's version after this order.
    pub stock_version: u64,
    /// The log entry that holds it.
    pub log_index: u64,
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The trade happened.
    Accepted {
        /// The order's number.
        number: u64,
        /// The stock's version after it.
        stock_version: u64,
    },
    /// The listing change happened.
    Listed {
        /// The stock's version after it.
        stock_version: u64,
    },
    /// It did not happen, and never will under this key.
    Rejected(Rejection),
}

/// An outcome as it is kept under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// Tells a repeated trade from another one under the same key.
    pub fingerprint: u64,
    /// The log entry that decided it.
    pub log_index: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What apply says to one trade or listing change of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Decided now.
    Fresh(Outcome),
    /// Decided before; this is that outcome.
    Replayed(Outcome),
    /// The key belongs to another trade.
    KeyReused,
}
