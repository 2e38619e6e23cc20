//! The hash chain over all orders: two replicas with the same digest at the same number hold the same orders.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::order::Order;

/// `digest(n) = BLAKE3(digest(n - 1) || order n)`, with 32 zero bytes at number 0.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest after one more order.
    #[must_use]
    pub fn extended(&self, order: &Order) -> Self {
        self.extended_by_record(&crate::codec::encode(order))
    }

    /// The digest after one more order, given as its stored record.
    #[must_use]
    pub fn extended_by_record(&self, record: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(record);
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
