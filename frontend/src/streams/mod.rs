//! The orders as a stream, for programs that follow them (`GET /orders/stream`).
//!
//! One [`follower`] reads new orders, for all subscribers, into a [`ring`] of the newest ones; a [`subscription`] takes
//! them from there, or reads pages itself while it is behind the ring. All reads are the gateway's ordinary ones, so no
//! order is shown before it is released. While nobody subscribes nothing is read.

mod follower;
mod ring;
mod subscription;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bazaar_domain::{
    ApiError, ErrorKind, Order,
    internal::{OrderRead, OrderReadAnswer},
};
use metrics::{Counter, Gauge};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use self::ring::Ring;
pub(crate) use self::subscription::{KEEP_ALIVE_EVERY, Subscription};
use crate::{Options, gateway::Gateway, meters};

/// Streams at a time; more are refused.
pub(crate) const STREAMS_MAX: usize = 1_024;
/// Streams behind the ring that read a page at the same time; the others wait for their turn.
const PAGE_READS_MAX: usize = 4;

/// What the follower and its subscribers share.
pub(crate) struct Streams {
    gateway: Gateway,
    /// The newest orders, as far as the follower knows; none while it does not know where to begin. Who watches it is a
    /// subscriber.
    ring: watch::Sender<Option<Ring>>,
    /// Tells the follower that there may be something to read.
    news: Notify,
    slots: Arc<Semaphore>,
    page_reads: Semaphore,
    keep_alive_every: Duration,
    shutdown: CancellationToken,
    open: Gauge,
    sent: Counter,
}

impl Streams {
    /// Streams that read through this gateway, until `shutdown`.
    pub(crate) fn new(gateway: Gateway, options: &Options, shutdown: CancellationToken) -> Self {
        Self {
            gateway,
            ring: watch::Sender::new(None),
            news: Notify::new(),
            slots: Arc::new(Semaphore::new(options.streams_max)),
            page_reads: Semaphore::new(PAGE_READS_MAX),
            keep_alive_every: options.keep_alive_every,
            shutdown,
            open: meters::STREAMS_OPEN.gauge(),
            sent: meters::STREAM_EVENTS.counter(),
        }
    }

    /// A stream of the orders behind a number; without one, of the orders that are made from now on. It ends when
    /// `may_read` does not hold any more.
    ///
    /// # Errors
    /// `overloaded`, or, without a number, why the leader could not be asked.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        after: Option<u64>,
        may_read: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Subscription, ApiError> {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return Err(ApiError::new(ErrorKind::Overloaded, "too many streams are open; try again later"));
        };
        let after = match after {
            Some(number) => number,
            None => self.newest().await?,
        };
        Ok(Subscription::new(Arc::clone(self), after, Box::new(may_read), slot))
    }

    /// Says that an order was made, or is about to be shown: the follower then need not wait for its next look.
    pub(crate) fn hint(&self) {
        if self.ring.receiver_count() > 0 {
            self.news.notify_one();
        }
    }

    /// The number of the newest order; 0 if there is none.
    async fn newest(&self) -> Result<u64, ApiError> {
        match self.gateway.read(OrderRead::Newest).await? {
            OrderReadAnswer::Order(order) => Ok(order.map_or(0, |order| order.number)),
            _ => Err(mismatch()),
        }
    }

    /// Orders behind a number, and whether there are more. What comes back follows the number without a gap.
    async fn page(&self, after: u64, limit: usize) -> Result<(Vec<Order>, bool), ApiError> {
        let OrderReadAnswer::Page { orders, more, .. } = self.gateway.read(OrderRead::After { after, limit }).await?
        else {
            return Err(mismatch());
        };
        let follows = orders.iter().zip(after..).all(|(order, previous)| order.number - 1 == previous);
        if follows { Ok((orders, more)) } else { Err(mismatch()) }
    }
}

fn mismatch() -> ApiError {
    ApiError::new(ErrorKind::Internal, "the order leader answered something else than it was asked")
}
