//! The catalog's state at run time: the ledger behind a short lock, and the one way in which changes come in.

use std::{
    future::Future,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicBool},
};

use anyhow::anyhow;
use bazaar_domain::{
    ApiError, ErrorKind,
    internal::{InventorySnapshot, PublishBatch, PublishReply},
    limits::STOCKS_MAX,
};
use bazaar_service::{Caller, Clock, Origin, RequestId, remarks};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    incoming::{TakenBatch, replaced_by},
    ledger::{Advance, Change, Ledger, Serving},
    meters,
    push::push,
    store::Store,
};

/// Publishes taken at a time: the one in progress and those behind it, such as a leader's retry.
const PUBLISHES_MAX: usize = 8;

/// What the listener and the background tasks share.
pub(crate) struct Catalog {
    /// Held for moments only, and never across an await; whatever takes longer is prepared outside.
    ledger: RwLock<Ledger>,
    pub(crate) clock: Clock,
    pub(crate) caller: Caller,
    /// Held by the one change in progress; empty once the catalog stops.
    store: Mutex<Option<Arc<dyn Store>>>,
    publishes: Arc<Semaphore>,
    /// The first start's stocks are listed, now or in an earlier life: from then on a trade can succeed.
    pub(crate) has_first_stocks: AtomicBool,
    /// A frontend stopped owing an ack otherwise than by an ack.
    released: Notify,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// What ends the process.
    fatal: mpsc::Sender<anyhow::Error>,
}

impl Catalog {
    pub(crate) fn new(
        ledger: Ledger,
        clock: Clock,
        caller: Caller,
        store: Arc<dyn Store>,
        shutdown: CancellationToken,
        fatal: mpsc::Sender<anyhow::Error>,
    ) -> Self {
        Self {
            ledger: RwLock::new(ledger),
            clock,
            caller,
            store: Mutex::new(Some(store)),
            publishes: Arc::new(Semaphore::new(PUBLISHES_MAX)),
            has_first_stocks: AtomicBool::new(false),
            released: Notify::new(),
            tasks: TaskTracker::new(),
            shutdown,
            fatal,
        }
    }

    /// The ledger, to read. The clock must be read after this, so that no wait for the lock lies in between.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Ledger> {
        self.ledger.read().expect("an invariant of the ledger broke; the process is stopping")
    }

    /// The ledger, to change.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Ledger> {
        self.ledger.write().expect("an invariant of the ledger broke; the process is stopping")
    }

    /// A wait for an ack may be over for another reason than the ack.
    pub(crate) fn recheck(&self) {
        self.released.notify_one();
    }

    /// Measures what is not counted as it happens.
    pub(crate) fn look(&self) {
        meters::PUBLISHES_UNDER_WAY.gauge().set((PUBLISHES_MAX - self.publishes.available_permits()) as f64);
        let ledger = self.read();
        meters::APPLIED_INDEX.gauge().set(ledger.applied() as f64);
        meters::EXPOSED_INDEX.gauge().set(ledger.exposed() as f64);
        meters::STOCKS.gauge().set(ledger.listed() as f64);
        meters::FRONTENDS.gauge().set(ledger.frontends() as f64);
        meters::SHUNNED_FRONTENDS.gauge().set(ledger.shunned() as f64);
        let serves = ledger.serving(self.clock.now()) == Serving::Yes;
        meters::SERVING.gauge().set(f64::from(u8::from(serves)));
    }

    /// Takes a published batch, and replies once it is exposed.
    pub(crate) async fn publish(self: &Arc<Self>, batch: PublishBatch) -> Result<PublishReply, ApiError> {
        let catalog = Arc::clone(self);
        self.detached(async move { catalog.take_batch(batch).await }).await
    }

    /// Takes a whole inventory, and replies once it is exposed.
    pub(crate) async fn replace(self: &Arc<Self>, snapshot: InventorySnapshot) -> Result<PublishReply, ApiError> {
        let catalog = Arc::clone(self);
        self.detached(async move { catalog.take_snapshot(snapshot).await }).await
    }

    /// Runs a change in a task of its own: a leader that hangs up must not leave a batch half way.
    async fn detached(
        &self,
        change: impl Future<Output = Result<PublishReply, ApiError>> + Send + 'static,
    ) -> Result<PublishReply, ApiError> {
        let permit = Arc::clone(&self.publishes).try_acquire_owned().map_err(|_| {
            ApiError::new(ErrorKind::Overloaded, "too many publishes wait already; send it again later")
        })?;
        let shutdown = self.shutdown.clone();
        let work = async move {
            let _permit = permit;
            tokio::select! {
                reply = change => reply,
                () = shutdown.cancelled() => Err(stopping()),
            }
        };
        let task = match Origin::current() {
            Some(origin) => self.tasks.spawn(origin.scope(work)),
            None => self.tasks.spawn(work),
        };
        task.await.unwrap_or_else(|error| Err(self.fail(anyhow!("a publish ended in a fault: {error}"))))
    }

    async fn take_batch(&self, batch: PublishBatch) -> Result<PublishReply, ApiError> {
        let store = self.store.lock().await;
        let store = store.as_ref().ok_or_else(stopping)?;
        let taken = {
            let ledger = self.read();
            let Some(taken) = TakenBatch::of(&ledger, &batch)? else {
                meters::PUBLISH_GAPS.counter().increment(1);
                return Ok(ledger.reply(Vec::new(), self.clock.now()));
            };
            taken
        };
        let applied = taken.applied();
        let (change, statuses) = taken.decide();
        let items: usize = statuses.iter().map(|(_, items)| items.len()).sum();
        if change.through > applied {
            // A write to the log of a small database that is not synced: too short to be worth another thread.
            let started = std::time::Instant::now();
            store.write(&change).map_err(|error| self.fail(error.into()))?;
            meters::WRITE_SECONDS.histogram().record(started.elapsed());
        }
        meters::APPLIED_ITEMS.counter().increment(items as u64);
        self.expose(change).await;
        Ok(self.read().reply(statuses, self.clock.now()))
    }

    async fn take_snapshot(&self, snapshot: InventorySnapshot) -> Result<PublishReply, ApiError> {
        if snapshot.stocks.len() > STOCKS_MAX {
            return Err(ApiError::invalid(format!("an inventory holds at most {STOCKS_MAX} stocks")));
        }
        let store = self.store.lock().await;
        let store = Arc::clone(store.as_ref().ok_or_else(stopping)?);
        {
            let ledger = self.read();
            if !ledger.takes_snapshot(&snapshot)? {
                return Ok(ledger.reply(Vec::new(), self.clock.now()));
            }
        }
        tracing::info!(
            index = snapshot.index,
            stocks = snapshot.stocks.len(),
            heals = snapshot.heals,
            "inventory replaced"
        );
        let change = replaced_by(snapshot);
        let written = tokio::task::spawn_blocking(move || store.write(&change).map(|()| change)).await;
        let change = match written {
            Ok(Ok(change)) => change,
            Ok(Err(error)) => return Err(self.fail(error.into())),
            Err(error) => return Err(self.fail(anyhow!("a write ended in a fault: {error}"))),
        };
        self.expose(change).await;
        Ok(self.read().reply(Vec::new(), self.clock.now()))
    }

    /// Invalidates the changed stocks at every frontend with a lease, waits for the acks or the leases' ends, exposes.
    async fn expose(&self, change: Change) {
        let started = std::time::Instant::now();
        let sends = {
            let mut ledger = self.write();
            let now = self.clock.now();
            ledger.begin(change, now)
        };
        let waits_for_acks = !sends.is_empty();
        let mut pushes: FuturesUnordered<_> = sends.into_iter().map(|send| push(self, send)).collect();
        loop {
            let advance = {
                let mut ledger = self.write();
                let now = self.clock.now();
                ledger.advance(now)
            };
            let wake_at = match advance {
                Advance::Exposed(_) => break,
                Advance::Waits(wake_at) => self.clock.instant(wake_at),
            };
            tokio::select! {
                Some(()) = pushes.next() => {}
                () = self.released.notified() => {}
                () = tokio::time::sleep_until(wake_at.into()) => {}
            }
        }
        meters::EXPOSURE_SECONDS.histogram().record(started.elapsed());
        if waits_for_acks {
            meters::ACK_WAIT_SECONDS.histogram().record(started.elapsed());
        }
        let index = self.read().exposed();
        let (id, took) = (RequestId::current(), started.elapsed());
        let request = id.as_ref().map(RequestId::as_str);
        if remarks::is_slow(took) && remarks::may_remark() {
            tracing::warn!(request, index, took_ms = took.as_millis() as u64, "a batch was exposed slowly");
        } else {
            tracing::debug!(request, index, "a batch is exposed");
        }
    }

    /// Reports what the catalog cannot go on after: [`crate::run`] ends with it.
    fn fail(&self, error: anyhow::Error) -> ApiError {
        let answer = ApiError::new(ErrorKind::Internal, format!("the catalog stops: {error:#}"));
        // A second failure adds nothing to the first.
        let _ = self.fatal.try_send(error);
        answer
    }

    /// Waits for changes in progress to end, and closes the store, so that the data directory can be opened again.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.store.lock().await.take();
    }
}

fn stopping() -> ApiError {
    ApiError::new(ErrorKind::CatalogUnavailable, "the catalog is stopping; send it again")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use bazaar_domain::{codec::DecodeError, config::LeaseConfig};

    use super::*;
    use crate::{ledger::InventoryCopy, store::StoreError};

    struct FullDisk;

    impl Store for FullDisk {
        fn write(&self, _change: &Change) -> Result<(), StoreError> {
            Err(StoreError::Record { path: PathBuf::from("copy"), key: "A".into(), cause: DecodeError::Empty })
        }
    }

    #[tokio::test]
    async fn after_a_failed_write_nothing_is_applied_and_the_process_is_told_to_stop() {
        let clock = Clock::start();
        let ledger = Ledger::new(1, LeaseConfig::default(), InventoryCopy::default(), clock.now());
        let (fatal, mut failure) = mpsc::channel(1);
        let catalog =
            Arc::new(Catalog::new(ledger, clock, Caller::new(), Arc::new(FullDisk), CancellationToken::new(), fatal));
        let batch = PublishBatch { cluster_id: "c1".into(), previous: 0, through: 1, entries: Vec::new() };
        assert_eq!(catalog.publish(batch).await.unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(catalog.read().applied(), 0);
        assert!(failure.recv().await.unwrap().to_string().contains("remove the catalog's data directory"));
    }
}
