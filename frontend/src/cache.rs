//! The stocks this frontend may answer by itself, and the lease that allows it (rules R8, R9 and R11).
//!
//! Pure: the caller brings the clock reading, holds the one lock around it, and does the input and output.
//!
//! A session is one unbroken run of leases. When the lease lapses the session is over for good: the next number is
//! taken and nothing of the old one (entry, fill under way, lease answer, invalidation) counts any more.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use axum::http::HeaderValue;
use bazaar_domain::{
    Moment, StockName,
    api::{Data, StockView},
    internal::{InvalidationAck, InvalidationBatch, SubscribeReply},
    limits::STOCKS_MAX,
    mutants::{Mutant, broken},
};
use bytes::Bytes;
use lru::LruCache;

#[cfg(test)]
mod tests;

/// A stock as the catalog showed it, with the answer to a client ready-made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockAnswer {
    /// The stock.
    pub stock: StockView,
    /// The log index at which it was current.
    pub log_index: u64,
    /// The whole JSON body of the answer.
    pub body: Bytes,
    /// The `ETag` header: the stock's version.
    pub etag: HeaderValue,
}

impl StockAnswer {
    /// Makes the answer for a stock that was current at `log_index`.
    ///
    /// # Panics
    /// Never: a stock's view is plain JSON, and a number in quotes is a header's value.
    pub fn new(stock: StockView, log_index: u64) -> Self {
        let etag = HeaderValue::try_from(format!("\"{}\"", stock.version)).expect("digits in quotes are ASCII");
        let data = Data { data: stock };
        let body = serde_json::to_vec(&data).expect("a stock is plain JSON").into();
        Self { stock: data.data, log_index, body, etag }
    }
}

/// Remembers under what conditions a fetch was sent, so that a late answer is not taken for a current one (R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    session: u64,
    leased: bool,
    epoch: u64,
}

/// What the cache says to a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The stock, current by the lease.
    Hit(Arc<StockAnswer>),
    /// Not here; the answer of a fetch may be kept.
    Miss(Ticket),
    /// The cache is off or there is no lease; the answer of a fetch will not be kept.
    Bypass(Ticket),
}

/// What a lookup that met fetches of others may take from them (R11).
///
/// A fetch that was under way before the lookup arrived may carry an answer that is too old for it: its end is awaited,
/// and then only the cache is believed. A fetch met after that began after the lookup did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sharing {
    has_waited: bool,
}

impl Sharing {
    /// Whether the answer of the fetch that it met may be taken.
    pub fn is_allowed(self) -> bool {
        self.has_waited || broken(Mutant::JoinEarlierFetch)
    }

    /// It has seen the end of a fetch.
    pub fn waited(&mut self) {
        self.has_waited = true;
    }

    /// Whether it has seen the end of a fetch.
    pub fn has_waited(self) -> bool {
        self.has_waited
    }
}

/// Things that happened inside and that the shell reports: only ever grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    /// Leases that lapsed.
    pub lapses: u64,
    /// Changes of the set of cached stocks.
    pub changes: u64,
}

/// The cache. One owner, one lock.
#[derive(Debug, Clone)]
pub struct Cache {
    /// None if the cache is switched off.
    entries: Option<LruCache<StockName, Arc<StockAnswer>>>,
    /// Invariant: grows by one at each lapse, and never else.
    session: u64,
    lease_end: Option<Moment>,
    /// The highest log index invalidated in the current session. One number and not one for each entry: an entry may be
    /// evicted, and its floor would be forgotten with it.
    floor: u64,
    /// Grows with each drop that an operator asked for, and with each replacement of the whole inventory. These have no
    /// log index that a fill could be compared with.
    epoch: u64,
    counts: CacheCounts,
}

impl Cache {
    /// A cache of at most `cache_size` stocks (and never more than can be listed); 0 switches it off.
    pub fn new(cache_size: usize) -> Self {
        let entries = NonZeroUsize::new(cache_size.min(STOCKS_MAX)).map(LruCache::new);
        Self { entries, session: 1, lease_end: None, floor: 0, epoch: 0, counts: CacheCounts::default() }
    }

    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.entries.is_some()
    }

    /// Stocks that are here now.
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, LruCache::len)
    }

    /// Whether no stock is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stocks that may be here at a time.
    pub fn capacity(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.cap().get())
    }

    /// What happened so far.
    pub fn counts(&self) -> CacheCounts {
        self.counts
    }

    /// The end of the lease, if there is one that lasts at `now`.
    pub fn leased_until(&mut self, now: Moment) -> Option<Moment> {
        self.notice_lapse(now);
        self.lease_end
    }

    /// Looks a stock up: the lease first, then the entry (R11). `now` must have been read after the request arrived.
    pub fn lookup(&mut self, name: &StockName, now: Moment) -> Lookup {
        if !broken(Mutant::HitWithoutLease) {
            self.notice_lapse(now);
        }
        let leased = self.lease_end.is_some() || broken(Mutant::FillWithoutLease);
        let ticket = Ticket { session: self.session, leased, epoch: self.epoch };
        match &mut self.entries {
            Some(entries) if ticket.leased => match entries.get(name) {
                Some(answer) => Lookup::Hit(Arc::clone(answer)),
                None => Lookup::Miss(ticket),
            },
            _ => Lookup::Bypass(ticket),
        }
    }

    /// Offers the answer to a fetch that was sent after `ticket` was given out. Returns whether it was kept (R9).
    pub fn fill(&mut self, ticket: Ticket, answer: &Arc<StockAnswer>, cacheable: bool, now: Moment) -> bool {
        self.notice_lapse(now);
        let of_this_session = ticket.session == self.session || broken(Mutant::FillOfEarlierSession);
        let of_this_lease = ticket.leased && of_this_session && self.lease_end.is_some();
        let is_settled = cacheable || broken(Mutant::FillPending);
        let is_below_floor = answer.log_index < self.floor && !broken(Mutant::FillBelowFloor);
        if !of_this_lease || ticket.epoch != self.epoch || !is_settled || is_below_floor {
            return false;
        }
        let Some(entries) = &mut self.entries else { return false };
        // A second fetch of the stock may have overtaken this one.
        if entries.peek(&answer.stock.name).is_some_and(|kept| kept.log_index > answer.log_index) {
            return false;
        }
        entries.put(answer.stock.name, Arc::clone(answer));
        self.counts.changes += 1;
        true
    }

    /// Takes the catalog's word that stocks are about to change, and returns the ack. A batch for another session
    /// drops nothing, and its ack names the session of now, so it does not count for the one that was meant.
    pub fn invalidate(&mut self, frontend: u128, batch: &InvalidationBatch, now: Moment) -> InvalidationAck {
        self.notice_lapse(now);
        if batch.session == self.session {
            self.floor = self.floor.max(batch.index);
            if batch.names.is_empty() {
                // The whole inventory is replaced, perhaps at the same log index: no fill from before may be kept.
                self.epoch += u64::from(!broken(Mutant::FillFromBeforeHealing));
                self.clear();
            }
            for name in &batch.names {
                self.remove(name);
            }
        }
        InvalidationAck { frontend, incarnation: batch.incarnation, session: self.session, batch: batch.batch }
    }

    /// Drops one stock because an operator asked for it; fills under way are refused. Returns whether it was here.
    pub fn drop_stock(&mut self, name: &StockName, now: Moment) -> bool {
        self.notice_lapse(now);
        self.epoch += 1;
        self.remove(name)
    }

    /// The session to ask a lease for.
    pub fn lease_request(&mut self, now: Moment) -> u64 {
        self.notice_lapse(now);
        self.session
    }

    /// Takes the answer to a lease request that was sent at `asked_at`. The lease counts from then (R8): the catalog
    /// counts from when it granted, which is later, so the holder lets go first.
    pub fn lease_answer(&mut self, reply: &SubscribeReply, asked_at: Moment, now: Moment) {
        self.notice_lapse(now);
        let begin = if broken(Mutant::LeaseFromAnswer) { now } else { asked_at };
        let end = begin.plus(Duration::from_micros(reply.duration_micros));
        let is_own = reply.session == self.session || broken(Mutant::AnySessionsAnswer);
        if is_own && reply.duration_micros > 0 && end > now {
            self.lease_end = Some(self.lease_end.map_or(end, |old| old.max(end)));
        }
    }

    /// Gives the lease back before its end, and returns the session that is over.
    pub fn end_session(&mut self) -> u64 {
        let ended = self.session;
        self.next_session();
        ended
    }

    /// The cached names, from the most to the least recently used.
    pub fn names(&self) -> Vec<StockName> {
        self.entries.iter().flat_map(|entries| entries.iter().map(|(name, _)| *name)).collect()
    }

    fn notice_lapse(&mut self, now: Moment) {
        if self.lease_end.is_some_and(|end| now >= end) {
            self.counts.lapses += 1;
            self.lease_end = None;
            if !broken(Mutant::SessionOutlivesLapse) {
                self.next_session();
            }
        }
    }

    fn next_session(&mut self) {
        self.session += 1;
        self.lease_end = None;
        self.floor = 0;
        self.clear();
    }

    fn clear(&mut self) {
        if let Some(entries) = self.entries.as_mut().filter(|entries| !entries.is_empty()) {
            entries.clear();
            self.counts.changes += 1;
        }
    }

    fn remove(&mut self, name: &StockName) -> bool {
        let removed = self.entries.as_mut().is_some_and(|entries| entries.pop(name).is_some());
        self.counts.changes += u64::from(removed);
        removed
    }
}

/// For searches over states: caches that act alike are equal. What was counted is left out.
impl Hash for Cache {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.session, self.lease_end, self.floor, self.epoch).hash(state);
        for (name, answer) in self.entries.iter().flatten() {
            (name, answer.log_index, answer.stock.version, answer.stock.price).hash(state);
        }
    }
}
