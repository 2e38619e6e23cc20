//! The catalog's copy of the inventory: what is applied, what is exposed, and who may still show older values.
//!
//! A pure state machine over moments that the caller passes in. A change takes this way: the shell asks whether it is
//! taken ([`Ledger::takes_batch`], [`Ledger::takes_snapshot`]), decides and stores it, calls [`Ledger::begin`], sends
//! the invalidations, feeds the acks to [`Ledger::acknowledge`], and calls [`Ledger::advance`] until it is exposed.

mod grants;
mod messages;
mod search;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use bazaar_domain::{
    ApiError, ErrorKind, Moment, Stock, StockName,
    config::LeaseConfig,
    internal::{
        InvalidationAck, InvalidationBatch, InventorySnapshot, ItemStatus, PublishBatch, PublishReply, SubscribeReply,
        SubscribeRequest, UnsubscribeRequest,
    },
    mutants::{Mutant, broken},
};

use crate::decide::{Base, check_batch, check_inventory};

use grants::Grants;
pub use messages::{Advance, Change, InventoryCopy, Next, Reading, SendInvalidation, Serving};
pub use subscriptions::FRONTENDS_MAX;
use subscriptions::{Standing, Subscriptions};

/// The mutant that drops some invalidations drops one in so many.
const DROPPED_ONE_IN: u64 = 100;

/// The batch that is applied and not exposed yet.
#[derive(Debug, Clone)]
struct Pending {
    number: u64,
    next: Next,
    started: Moment,
    /// The frontends, with their sessions, that may still show the values before it.
    waiting: BTreeMap<u128, u64>,
}

/// The catalog's copy, its exposure and its leases; see the module.
#[derive(Debug, Clone)]
pub struct Ledger {
    incarnation: u64,
    leases: LeaseConfig,
    cluster_id: Option<String>,
    /// Invariant: `applied >= exposed`, and equal while no batch is pending.
    applied: u64,
    exposed: u64,
    /// The stocks as of `exposed`.
    stocks: HashMap<StockName, Stock>,
    pending: Option<Pending>,
    batches: u64,
    grants: Grants,
    frontends: Subscriptions,
    silent_until: Moment,
}

impl Ledger {
    /// The ledger of a catalog that starts now. `incarnation` is a random number, one for each start.
    pub fn new(incarnation: u64, leases: LeaseConfig, copy: InventoryCopy, now: Moment) -> Self {
        let silence = leases.granted(leases.ttl());
        Self {
            incarnation,
            leases,
            cluster_id: copy.cluster_id,
            applied: copy.applied,
            exposed: copy.applied,
            stocks: copy.stocks,
            pending: None,
            batches: 0,
            grants: Grants::default(),
            frontends: Subscriptions::default(),
            silent_until: if broken(Mutant::NoSilenceAfterStart) { now } else { now.plus(silence) },
        }
    }

    /// Which life of the catalog this is.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Everything up to here is in the copy.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Everything up to here is what readers see.
    pub fn exposed(&self) -> u64 {
        self.exposed
    }

    /// How many stocks are exposed.
    pub fn listed(&self) -> usize {
        self.stocks.len()
    }

    /// How many frontends hold a lease, as far as is recorded.
    pub fn frontends(&self) -> usize {
        self.frontends.len()
    }

    /// How many frontends get no lease because of their acks.
    pub fn shunned(&self) -> usize {
        self.frontends.shunned()
    }

    /// Whether a published batch can be taken: false if something before it is missing, and the reply then says from
    /// where to send.
    ///
    /// # Errors
    /// If it belongs to another cluster, or contradicts itself.
    pub fn takes_batch(&self, batch: &PublishBatch) -> Result<bool, ApiError> {
        self.check_cluster(&batch.cluster_id)?;
        check_batch(batch).map_err(ApiError::invalid)?;
        Ok(batch.previous <= self.applied)
    }

    /// Whether a snapshot of the inventory is taken: an older one never is, one at the copy's own index only if it
    /// heals a divergence (R10).
    ///
    /// # Errors
    /// If it belongs to another cluster, or holds what cannot be.
    pub fn takes_snapshot(&self, snapshot: &InventorySnapshot) -> Result<bool, ApiError> {
        self.check_cluster(&snapshot.cluster_id)?;
        check_inventory(snapshot).map_err(ApiError::invalid)?;
        let goes_on = snapshot.index > self.applied || (snapshot.index == self.applied && snapshot.heals);
        Ok(goes_on || broken(Mutant::OldSnapshotTaken))
    }

    fn check_cluster(&self, cluster_id: &str) -> Result<(), ApiError> {
        match &self.cluster_id {
            Some(own) if own != cluster_id => Err(ApiError::new(
                ErrorKind::WrongCluster,
                format!("this catalog belongs to cluster {own}, the message to cluster {cluster_id}"),
            )),
            _ => Ok(()),
        }
    }

    /// The stocks of these names as they are in the copy. To be called while no batch is pending.
    pub fn base(&self, names: impl Iterator<Item = StockName>) -> Base {
        let stocks = names.filter_map(|name| self.stocks.get(&name).map(|stock| (name, *stock))).collect();
        Base { stocks, listed: self.stocks.len() }
    }

    /// Takes a change that was decided and stored; it is exposed by a later [`Self::advance`]. A frontend that
    /// subscribes from now on need not be waited for: its fills of the pending stocks are not cacheable.
    ///
    /// # Panics
    /// If another change is pending, or the change goes back: the caller serialises changes and asks first.
    pub fn begin(&mut self, change: Change, now: Moment) -> Vec<SendInvalidation> {
        assert!(self.pending.is_none(), "one batch is exposed before the next one begins");
        assert!(change.through >= self.applied || broken(Mutant::OldSnapshotTaken), "the copy never goes back");
        self.cluster_id.get_or_insert(change.cluster_id);
        self.applied = change.through;
        self.batches += 1;
        self.frontends.forget_lapsed(now);
        let is_quiet =
            change.next.is_blank() || (matches!(change.next, Next::Whole(_)) && broken(Mutant::SnapshotNotInvalidated));
        let sends = if is_quiet { Vec::new() } else { self.invalidations(&change.next.names()) };
        let waiting = sends.iter().map(|send| (send.frontend, send.batch.session)).collect();
        self.pending = Some(Pending { number: self.batches, next: change.next, started: now, waiting });
        sends
    }

    fn invalidations(&self, names: &[StockName]) -> Vec<SendInvalidation> {
        let send = |(frontend, known): (u128, &subscriptions::Subscription)| SendInvalidation {
            frontend,
            address: known.internal_address.clone(),
            batch: InvalidationBatch {
                incarnation: self.incarnation,
                session: known.session,
                batch: self.batches,
                index: self.applied,
                names: names.to_vec(),
            },
        };
        self.frontends.iter().filter(|(frontend, _)| !self.drops(*frontend)).map(send).collect()
    }

    /// Whether the invalidation of this batch for this frontend is one of those that a mutant forgets.
    fn drops(&self, frontend: u128) -> bool {
        if !broken(Mutant::DropSomeInvalidations) {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        (self.incarnation, self.batches, frontend).hash(&mut hasher);
        hasher.finish().is_multiple_of(DROPPED_ONE_IN)
    }

    /// Takes an ack. It counts only for this life of the catalog, the session that was asked, and the pending batch
    /// (R7); returns whether it did.
    pub fn acknowledge(&mut self, ack: InvalidationAck, now: Moment) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        let is_of_this_question = ack.incarnation == self.incarnation
            && ack.batch == pending.number
            && pending.waiting.get(&ack.frontend) == Some(&ack.session);
        let counts = is_of_this_question || broken(Mutant::AnyAckCounts);
        if counts {
            pending.waiting.remove(&ack.frontend);
            self.frontends.acked_after(ack.frontend, now.since(pending.started), self.leases.ttl(), now);
        }
        counts
    }

    /// Whether the ack for this invalidation is still waited for.
    pub fn owes(&self, send: &SendInvalidation) -> bool {
        let owed = |pending: &Pending| {
            pending.number == send.batch.batch && pending.waiting.get(&send.frontend) == Some(&send.batch.session)
        };
        self.pending.as_ref().is_some_and(owed)
    }

    /// Exposes the pending batch if nobody can show the values before it any more. Returns whether it is exposed, and
    /// hands out what it replaced as a whole, so that the caller frees that without holding a lock.
    pub fn advance(&mut self, now: Moment) -> Advance {
        self.forget_lapsed(now);
        let may_expose = |pending: &Pending| pending.waiting.is_empty() || broken(Mutant::IgnoreAcks);
        if now < self.silent_until || !self.pending.as_ref().is_some_and(may_expose) {
            return if self.pending.is_some() { Advance::Waits(self.wake_at()) } else { Advance::Exposed(None) };
        }
        let pending = self.pending.take().expect("checked: there is a pending batch");
        self.exposed = self.applied;
        match pending.next {
            Next::Changed(stocks) => {
                self.stocks.extend(stocks.into_iter().map(|stock| (stock.name, stock)));
                Advance::Exposed(None)
            }
            Next::Whole(stocks) => Advance::Exposed(Some(std::mem::replace(&mut self.stocks, stocks))),
        }
    }

    /// When the pending batch may become exposable by the mere passing of time.
    fn wake_at(&self) -> Moment {
        let waiting = self.pending.iter().flat_map(|pending| pending.waiting.keys());
        let ends = waiting.filter_map(|frontend| self.frontends.get(*frontend)).map(|known| known.lease_end);
        ends.min().unwrap_or(self.silent_until)
    }

    /// A frontend whose lease is over shows nothing from its cache, so it is neither recorded nor waited for.
    fn forget_lapsed(&mut self, now: Moment) {
        self.frontends.forget_lapsed(now);
        let Some(pending) = &mut self.pending else { return };
        pending.waiting.retain(|frontend, _| self.frontends.get(*frontend).is_some());
    }

    fn forget(&mut self, frontend: u128) {
        self.frontends.forget(frontend);
        if let Some(pending) = &mut self.pending {
            pending.waiting.remove(&frontend);
        }
    }

    /// Takes a leader's grant. The catalog counts it from when it asked, without a margin.
    /// A leader of another cluster grants nothing: its floor counts the entries of another log.
    pub fn lease_granted(&mut self, cluster_id: &str, asked_at: Moment, duration: Duration, floor: u64, now: Moment) {
        if self.cluster_id.as_ref().is_some_and(|own| own != cluster_id) {
            return;
        }
        let begin = if broken(Mutant::LeaseFromAnswer) { now } else { asked_at };
        self.grants.add(floor, begin.plus(duration), now);
    }

    /// Gives a lease to a frontend's session, or renews it. It never outlasts the catalog's own (R2).
    pub fn subscribe(&mut self, request: &SubscribeRequest, now: Moment) -> SubscribeReply {
        let span = self.frontend_lease(request, now);
        SubscribeReply {
            incarnation: self.incarnation,
            session: request.session,
            duration_micros: u64::try_from(span.as_micros()).expect("a lease lasts seconds"),
        }
    }

    fn frontend_lease(&mut self, request: &SubscribeRequest, now: Moment) -> Duration {
        self.forget_lapsed(now);
        if self.frontends.is_shunned(request.frontend, now) {
            return Duration::ZERO;
        }
        match self.frontends.standing(request.frontend, request.session) {
            Standing::Older if !broken(Mutant::OlderSessionReplaces) => return Duration::ZERO,
            Standing::Same if self.owes_too_long(request.frontend, now) => {
                // A new session would be waited for as long again, and the next one too.
                self.frontends.shun(request.frontend, self.leases.ttl(), now);
                return Duration::ZERO;
            }
            Standing::Newer => self.forget(request.frontend),
            Standing::Same | Standing::Older | Standing::Unknown => {}
        }
        let own = self.own_lease(now);
        let outlasts = broken(Mutant::FrontendLeaseNotNested) && !own.is_zero();
        let span = if outlasts { self.leases.ttl() } else { own.min(self.leases.ttl()) };
        if span.is_zero() || !self.frontends.record(request, now.plus(self.leases.granted(span))) {
            return Duration::ZERO;
        }
        span
    }

    /// A frontend that renews but never acks would block trades for ever; after one TTL its lease runs out.
    fn owes_too_long(&self, frontend: u128, now: Moment) -> bool {
        self.pending.as_ref().is_some_and(|pending| {
            pending.waiting.contains_key(&frontend) && now.since(pending.started) > self.leases.ttl()
        })
    }

    /// Ends a frontend's lease at its own wish; a late wish of an older session is ignored.
    pub fn unsubscribe(&mut self, request: UnsubscribeRequest) {
        match self.frontends.standing(request.frontend, request.session) {
            Standing::Same | Standing::Newer => self.forget(request.frontend),
            Standing::Older | Standing::Unknown => {}
        }
    }

    /// How long the catalog may still serve reads and grant leases.
    fn own_lease(&self, now: Moment) -> Duration {
        if now < self.silent_until { Duration::ZERO } else { self.grants.longest(self.exposed, now) }
    }

    /// Whether reads are answered now.
    pub fn serving(&self, now: Moment) -> Serving {
        if now < self.silent_until {
            Serving::Silent
        } else if !self.own_lease(now).is_zero() {
            Serving::Yes
        } else if self.grants.any(now) {
            Serving::Behind
        } else {
            Serving::NoLease
        }
    }

    /// Reads one stock as it is exposed.
    pub fn lookup(&self, name: StockName, now: Moment) -> Reading<Option<Stock>> {
        let pending = self.pending.as_ref().is_some_and(|pending| pending.next.touches(name));
        self.reading(self.stocks.get(&name).copied(), !pending, now)
    }

    /// Reads all stocks as they are exposed, in no order: sorting is left to the caller, outside of any lock.
    pub fn list(&self, now: Moment) -> Reading<Vec<Stock>> {
        let pending = self.pending.as_ref().is_some_and(|pending| !pending.next.is_blank());
        self.reading(self.stocks.values().copied().collect(), !pending, now)
    }

    fn reading<T>(&self, value: T, unchanging: bool, now: Moment) -> Reading<T> {
        let serving = self.serving(now);
        Reading { value, index: self.exposed, cacheable: unchanging && serving == Serving::Yes, serving }
    }

    /// The reply to a publish. During the silence after a start nothing is reported as exposed (R6).
    pub fn reply(&self, statuses: Vec<(u64, Vec<ItemStatus>)>, now: Moment) -> PublishReply {
        let exposed = match now < self.silent_until {
            true => 0,
            false if broken(Mutant::ReportApplied) => self.applied,
            false => self.exposed,
        };
        PublishReply { incarnation: self.incarnation, applied: self.applied, exposed, statuses }
    }
}
