//! One subscriber: where it is, and what it gets next.
//!
//! A subscriber holds no orders, only a number. The HTTP server asks for the next piece when the connection has taken
//! the one before, so whoever does not read costs nothing but the connection, which the server ends in the end
//! (`HttpLimits::write_stall_max`).

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    Streams,
    ring::{Next, PIECE_ORDERS_MAX, Piece, Ring, piece_of},
};

/// After this silence a comment shows that the stream lives.
pub(crate) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// Pause after a page that could not be read.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// One subscriber. Invariant: it was sent all orders up to `after` that it asked for.
pub(crate) struct Subscription {
    streams: Arc<Streams>,
    ring: watch::Receiver<Option<Ring>>,
    after: u64,
    may_read: MayRead,
    /// When that was asked last.
    checked: Instant,
    _slot: OwnedSemaphorePermit,
}

/// Whether whoever began the stream may still read it: a token can be taken away, or expire, and a stream has no end.
pub(super) type MayRead = Box<dyn Fn() -> bool + Send + Sync>;

impl Subscription {
    pub(super) fn new(streams: Arc<Streams>, after: u64, may_read: MayRead, slot: OwnedSemaphorePermit) -> Self {
        let ring = streams.ring.subscribe();
        streams.open.increment(1);
        streams.news.notify_one();
        Self { streams, ring, after, may_read, checked: Instant::now(), _slot: slot }
    }

    /// What is sent, until the frontend stops or its reader may not read it any more.
    pub(crate) fn into_pieces(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, async |mut subscription| Some((Ok(subscription.next().await?), subscription)))
    }

    /// The next orders, or a sign of life if there are none for a while; nothing at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let keep_alive_every = self.streams.keep_alive_every;
        let shutdown = self.streams.shutdown.clone();
        let piece = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            piece = timeout(keep_alive_every, self.piece()) => piece,
        };
        // Under load no silence ever comes, so the time decides and not the sign of life.
        if self.checked.elapsed() >= keep_alive_every {
            if !(self.may_read)() {
                return None;
            }
            self.checked = Instant::now();
        }
        let Ok(piece) = piece else { return Some(KEEP_ALIVE) };
        let Piece { bytes, last, count } = piece?;
        self.after = last;
        self.streams.sent.increment(count);
        Some(bytes)
    }

    /// The next orders, once there are any; nothing if the follower is gone.
    async fn piece(&mut self) -> Option<Piece> {
        loop {
            let next = self.ring.borrow_and_update().as_ref().map_or(Next::Nothing, |ring| ring.after(self.after));
            match next {
                Next::Piece(piece) => return Some(piece),
                Next::Nothing => self.ring.changed().await.ok()?,
                Next::Behind => match self.catch_up().await {
                    Some(piece) => return Some(piece),
                    None => sleep(RETRY_PAUSE).await,
                },
            }
        }
    }

    /// Orders that are not in the ring any more; none if they cannot be read now.
    async fn catch_up(&self) -> Option<Piece> {
        let _turn = self.streams.page_reads.acquire().await.ok()?;
        match self.streams.page(self.after, PIECE_ORDERS_MAX).await {
            Ok((orders, _)) => (!orders.is_empty()).then(|| piece_of(self.after, &orders)),
            Err(error) => {
                tracing::debug!(%error, "older orders could not be read for a stream");
                None
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.streams.open.decrement(1);
    }
}
