//! Lookups: the cache first, then the catalog, with one fetch for all that miss the same stock at the same time.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use bazaar_domain::{
    ApiError, Moment, StockName,
    internal::{InvalidationAck, InvalidationBatch, SubscribeReply},
};
use bazaar_service::{Clock, RequestId};
use metrics::Counter;
use tokio::sync::watch;

use crate::{
    cache::{Cache, CacheCounts, Lookup, Sharing, StockAnswer, Ticket},
    cache_log::CacheLog,
    catalog::{Catalog, Consistency, Fetched},
    meters,
};

/// How a lookup was answered, as the `X-Cache` header says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheUse {
    Hit,
    Miss,
    Bypass,
}

impl CacheUse {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// A stock and how it was come by.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) answer: Arc<StockAnswer>,
    pub(crate) cache_use: CacheUse,
    /// Whether the catalog marked it as possibly old.
    pub(crate) stale: bool,
}

/// The end of a fetch, shared with those who wait for it.
type FetchResult = Result<Found, ApiError>;
type Landing = watch::Receiver<Option<FetchResult>>;

#[derive(Debug)]
struct Shelf {
    cache: Cache,
    /// Fetches under way. Bounded by the connections: each belongs to a request that waits for it.
    flights: HashMap<StockName, Landing>,
}

/// Owns the cache.
#[derive(Debug)]
pub(crate) struct Lookups {
    /// One lock for the lease, the entries and the fetches under way; never held across an await.
    shelf: Mutex<Shelf>,
    clock: Clock,
    catalog: Catalog,
    log: Option<CacheLog>,
    /// One life of this frontend.
    frontend: u128,
    /// The last answer to a lease request was a refusal.
    is_refused: AtomicBool,
    counters: Counters,
}

#[derive(Debug)]
struct Counters {
    hits: Counter,
    misses: Counter,
    bypasses: Counter,
    invalidations: Counter,
    refused_fills: Counter,
    lease_lapses: Counter,
}

/// What a lookup has to do next.
enum Next {
    Answer(Arc<StockAnswer>),
    Join(Landing),
    Fetch(Ticket, watch::Sender<Option<FetchResult>>),
    Bypass,
}

impl Lookups {
    pub(crate) fn new(cache_size: usize, clock: Clock, catalog: Catalog, log: Option<CacheLog>) -> Self {
        let shelf = Shelf { cache: Cache::new(cache_size), flights: HashMap::new() };
        let counters = Counters {
            hits: meters::CACHE_HITS.counter(),
            misses: meters::CACHE_MISSES.counter(),
            bypasses: meters::CACHE_BYPASSES.counter(),
            invalidations: meters::CACHE_INVALIDATIONS.counter(),
            refused_fills: meters::CACHE_REFUSED_FILLS.counter(),
            lease_lapses: meters::CACHE_LEASE_LAPSES.counter(),
        };
        Self {
            shelf: Mutex::new(shelf),
            clock,
            catalog,
            log,
            frontend: rand::random(),
            is_refused: AtomicBool::new(false),
            counters,
        }
    }

    /// The life of this frontend, as the catalog knows it.
    pub(crate) fn frontend(&self) -> u128 {
        self.frontend
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn is_on(&self) -> bool {
        self.shelf().cache.is_on()
    }

    /// Whether a lease is wanted, and has not been refused.
    pub(crate) fn waits_for_lease(&self) -> bool {
        self.is_on() && !self.is_refused.load(Ordering::Relaxed)
    }

    /// The end of the present lease.
    pub(crate) fn leased_until(&self) -> Option<Moment> {
        self.change(|shelf, now| shelf.cache.leased_until(now))
    }

    /// Measures what is not counted as it happens.
    pub(crate) fn look(&self) {
        meters::CACHE_LEASED.gauge().set(f64::from(u8::from(self.leased_until().is_some())));
        meters::CACHE_ENTRIES.gauge().set(self.shelf().cache.len() as f64);
        meters::CACHE_CAPACITY.gauge().set(self.shelf().cache.capacity() as f64);
    }

    /// Looks a stock up.
    ///
    /// # Errors
    /// The catalog's own error, or `catalog_unavailable`.
    pub(crate) async fn stock(&self, name: StockName, id: &RequestId) -> Result<Found, ApiError> {
        let mut sharing = Sharing::default();
        loop {
            match self.next(name) {
                Next::Answer(answer) => {
                    // Whoever waited for a fetch was not served from the cache, even if the answer lies there now.
                    let cache_use = if sharing.has_waited() { CacheUse::Miss } else { CacheUse::Hit };
                    return self.counted(Ok(Found { answer, cache_use, stale: false }));
                }
                Next::Bypass => return self.fetch_past_the_cache(name, Consistency::Current, id).await,
                Next::Fetch(ticket, landing) => {
                    let flight = Flight { lookups: self, name, landing };
                    return self.counted(flight.run(ticket, id).await);
                }
                Next::Join(mut landing) => {
                    let landed = landing.wait_for(Option::is_some).await.ok().and_then(|result| result.clone());
                    if let Some(result) = landed.filter(|_| sharing.is_allowed()) {
                        return self.counted(result);
                    }
                    sharing.waited();
                }
            }
        }
    }

    /// Asks the catalog whatever the cache holds, and takes an answer that may be old.
    ///
    /// # Errors
    /// As [`Self::stock`].
    pub(crate) async fn stale_stock(&self, name: StockName, id: &RequestId) -> Result<Found, ApiError> {
        self.fetch_past_the_cache(name, Consistency::Stale, id).await
    }

    /// The catalog's push: these stocks are about to change.
    pub(crate) fn invalidate(&self, batch: &InvalidationBatch) -> InvalidationAck {
        self.counters.invalidations.increment(1);
        let id = RequestId::current();
        tracing::debug!(
            request = id.as_ref().map(RequestId::as_str),
            index = batch.index,
            stocks = batch.names.len(),
            "stocks are about to change"
        );
        self.change(|shelf, now| shelf.cache.invalidate(self.frontend, batch, now))
    }

    /// An operator's drop of one stock. Returns whether it was cached.
    pub(crate) fn drop_stock(&self, name: &StockName) -> bool {
        self.counters.invalidations.increment(1);
        self.change(|shelf, now| shelf.cache.drop_stock(name, now))
    }

    /// The session to ask a lease for.
    pub(crate) fn lease_request(&self) -> u64 {
        self.change(|shelf, now| shelf.cache.lease_request(now))
    }

    /// The catalog's answer to a lease request that was sent at `asked_at`.
    pub(crate) fn lease_answer(&self, reply: &SubscribeReply, asked_at: Moment) {
        self.is_refused.store(reply.duration_micros == 0, Ordering::Relaxed);
        self.change(|shelf, now| shelf.cache.lease_answer(reply, asked_at, now));
    }

    /// Gives the lease up, and returns the session that is over.
    pub(crate) fn end_session(&self) -> u64 {
        self.change(|shelf, _| shelf.cache.end_session())
    }

    fn next(&self, name: StockName) -> Next {
        self.change(|shelf, now| match shelf.cache.lookup(&name, now) {
            Lookup::Hit(answer) => Next::Answer(answer),
            Lookup::Bypass(_) => Next::Bypass,
            Lookup::Miss(ticket) => match shelf.flights.get(&name) {
                Some(landing) => Next::Join(landing.clone()),
                None => {
                    let (sender, landing) = watch::channel(None);
                    shelf.flights.insert(name, landing);
                    Next::Fetch(ticket, sender)
                }
            },
        })
    }

    async fn fetch_past_the_cache(
        &self,
        name: StockName,
        consistency: Consistency,
        id: &RequestId,
    ) -> Result<Found, ApiError> {
        let Fetched { answer, stale, .. } = self.catalog.stock(&name, consistency, id).await?;
        self.counted(Ok(Found { answer: Arc::new(answer), cache_use: CacheUse::Bypass, stale }))
    }

    /// Counts an answer by how it was come by.
    fn counted(&self, found: Result<Found, ApiError>) -> Result<Found, ApiError> {
        match found.as_ref().map(|found| found.cache_use) {
            Ok(CacheUse::Hit) => self.counters.hits.increment(1),
            Ok(CacheUse::Miss) => self.counters.misses.increment(1),
            Ok(CacheUse::Bypass) => self.counters.bypasses.increment(1),
            Err(_) => {}
        }
        found
    }

    /// Runs one change under the lock, with the clock read under it too, and reports what happened.
    fn change<R>(&self, act: impl FnOnce(&mut Shelf, Moment) -> R) -> R {
        let mut shelf = self.shelf();
        let before = shelf.cache.counts();
        let result = act(&mut shelf, self.clock.now());
        let after = shelf.cache.counts();
        if after != before {
            self.report(&shelf.cache, before, after);
        }
        result
    }

    /// Called under the lock, so that the lines of the cache log keep the order of the changes.
    fn report(&self, cache: &Cache, before: CacheCounts, after: CacheCounts) {
        self.counters.lease_lapses.increment(after.lapses - before.lapses);
        if let Some(log) = self.log.as_ref().filter(|_| after.changes != before.changes) {
            log.append(cache.names());
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no change of the cache panics")
    }
}

/// A fetch under way. If the request that runs it goes away, those who wait for it find its name free and go on.
struct Flight<'a> {
    lookups: &'a Lookups,
    name: StockName,
    landing: watch::Sender<Option<FetchResult>>,
}

impl Flight<'_> {
    async fn run(self, ticket: Ticket, id: &RequestId) -> FetchResult {
        let fetched = self.lookups.catalog.stock(&self.name, Consistency::Current, id).await;
        let result = fetched.map(|Fetched { answer, cacheable, stale }| {
            let answer = Arc::new(answer);
            let kept = self.lookups.change(|shelf, now| shelf.cache.fill(ticket, &answer, cacheable, now));
            if !kept {
                self.lookups.counters.refused_fills.increment(1);
            }
            Found { answer, cache_use: CacheUse::Miss, stale }
        });
        // The name is freed first: a waiter that misses again must not meet this fetch a second time.
        self.free_name();
        self.landing.send_replace(Some(result.clone()));
        result
    }

    fn free_name(&self) {
        let mut shelf = self.lookups.shelf();
        let is_own =
            shelf.flights.get(&self.name).is_some_and(|landing| landing.same_channel(&self.landing.subscribe()));
        if is_own {
            shelf.flights.remove(&self.name);
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.free_name();
    }
}
