//! The newest orders, as they are sent.

use std::collections::VecDeque;

use bazaar_domain::{Order, api::OrderView};
use bytes::{BufMut, Bytes, BytesMut};

/// Orders that are kept; who is further behind reads them from the leader.
pub(super) const RING_ORDERS_MAX: usize = 8_192;
/// Orders that are sent as one piece, at most: a subscriber holds one piece at a time.
pub(super) const PIECE_ORDERS_MAX: usize = 256;

/// Events that are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// The number of the last order in it.
    pub(super) last: u64,
    /// How many orders are in it.
    pub(super) count: u64,
}

/// What the ring has behind a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Piece(Piece),
    /// Nothing yet.
    Nothing,
    /// Orders that are not in the ring any more, or never were.
    Behind,
}

/// The newest orders. Invariant: their numbers follow each other without a gap, and the last one is `last`.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Bytes>,
    last: u64,
}

impl Ring {
    /// An empty ring that begins behind an order.
    pub(super) fn behind(last: u64) -> Self {
        Self { events: VecDeque::new(), last }
    }

    /// Takes the orders that follow the newest one, and drops as many of the oldest ones as there is no room for.
    pub(super) fn extend(&mut self, orders: &[Order]) {
        for order in orders {
            assert_eq!(order.number, self.last + 1, "orders follow each other");
            self.last = order.number;
            self.events.push_back(event(order));
        }
        self.events.drain(..self.events.len().saturating_sub(RING_ORDERS_MAX));
    }

    /// What follows the order with this number.
    pub(super) fn after(&self, number: u64) -> Next {
        let Some(missing) = self.last.checked_sub(number).filter(|missing| *missing > 0) else { return Next::Nothing };
        let Some(first) = usize::try_from(missing).ok().and_then(|missing| self.events.len().checked_sub(missing))
        else {
            return Next::Behind;
        };
        Next::Piece(piece(number, self.events.iter().skip(first).take(PIECE_ORDERS_MAX)))
    }
}

/// The piece of these events, the first of which follows the order with this number.
fn piece<'a>(after: u64, events: impl Iterator<Item = &'a Bytes>) -> Piece {
    let (mut bytes, mut count) = (BytesMut::new(), 0);
    for event in events {
        bytes.put_slice(event);
        count += 1;
    }
    Piece { bytes: bytes.freeze(), last: after + count, count }
}

/// The piece of these orders, which follow the one with this number.
pub(super) fn piece_of(after: u64, orders: &[Order]) -> Piece {
    let events: Vec<Bytes> = orders.iter().map(event).collect();
    piece(after, events.iter())
}

/// An order as a server-sent event.
fn event(order: &Order) -> Bytes {
    // All subscribers get the same bytes, so a key that belongs to a token is shown as to others.
    let data = serde_json::to_string(&OrderView::seen_by(order, None)).expect("an order is plain JSON, on one line");
    format!("event: order\nid: {}\ndata: {data}\n\n", order.number).into()
}
