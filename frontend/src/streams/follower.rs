//! The one task that looks for new orders, for all subscribers.

use std::{convert::Infallible, time::Duration};

use bazaar_domain::limits::PAGE_ORDERS_MAX;
use tokio::time::{sleep, timeout};

use super::{Streams, ring::Ring};

/// Shortest time between the end of a look that found nothing more and the next one. A look that filled its page is
/// followed by the next one at once.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Longest time between two looks while no order comes, unless something hints at one: four reads a second. A frontend
/// whose cache has a lease hears of every change from the catalog, so the looks only matter without one.
const PAUSE_MAX: Duration = Duration::from_millis(250);

impl Streams {
    /// Follows the orders while anybody subscribes; never ends.
    pub(crate) async fn follow(&self) -> Infallible {
        loop {
            self.news.notified().await;
            if self.ring.receiver_count() > 0 {
                tokio::select! {
                    () = self.ring.closed() => {}
                    never = self.look() => match never {},
                }
                // Whoever comes next starts from the orders of then.
                self.ring.send_replace(None);
            }
        }
    }

    async fn look(&self) -> Infallible {
        let mut last = self.begin().await;
        let mut pause = PAUSE_MIN;
        loop {
            match self.page(last, PAGE_ORDERS_MAX).await {
                Ok((orders, more)) => {
                    pause = if orders.is_empty() { (pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
                    if let Some(newest) = orders.last() {
                        last = newest.number;
                        self.ring.send_modify(|ring| ring.as_mut().expect("it was begun").extend(&orders));
                    }
                    if more {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "new orders could not be read");
                    pause = PAUSE_MAX;
                }
            }
            sleep(PAUSE_MIN).await;
            let _ = timeout(pause, self.news.notified()).await;
        }
    }

    /// Begins the ring behind the newest order there is; returns that order's number.
    async fn begin(&self) -> u64 {
        loop {
            match self.newest().await {
                Ok(newest) => {
                    self.ring.send_replace(Some(Ring::behind(newest)));
                    return newest;
                }
                Err(error) => tracing::debug!(%error, "the newest order is not known yet"),
            }
            sleep(PAUSE_MAX).await;
        }
    }
}
