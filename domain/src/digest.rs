//! The hash chain over all orders: two replicas with the same digest at the same number hold the same orders.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::order::Order;

/// Room for a digest and an order with a key of usual length.
const CHAINED_BYTES: usize = 256;

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
        // One piece is hashed faster than two.
        let mut message = [0; CHAINED_BYTES];
        let length = self.0.len() + record.len();
        if length > message.len() {
            return Self(*blake3::Hasher::new().update(&self.0).update(record).finalize().as_bytes());
        }
        message[..self.0.len()].copy_from_slice(&self.0);
        message[self.0.len()..length].copy_from_slice(record);
        Self(*blake3::hash(&message[..length]).as_bytes())
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
