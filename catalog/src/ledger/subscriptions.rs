//! The frontends that may hold the catalog's answers in a cache, and until when.

use std::{collections::BTreeMap, time::Duration};

use bazaar_domain::{Moment, internal::SubscribeRequest};

/// Most frontends that hold a lease at a time; more get none, and serve without a cache.
pub const FRONTENDS_MAX: usize = 1_024;

/// An ack within this part of the TTL delays nobody worth mentioning.
const QUICK_ACK_TTL_PART: u32 = 20;
/// One batch counts as at most this part of the TTL: it may have been the catalog itself that stood still.
const ONE_BATCH_TTL_PART: u32 = 2;
/// Delays are added up over so many TTLs.
const WINDOW_TTLS: u32 = 10;
/// For how many TTLs a frontend is shunned.
const SHUNNED_TTLS: u32 = 10;

/// The lease of one frontend, as its granter counts it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Subscription {
    /// The session it was given to (R8).
    pub(super) session: u64,
    /// Its end, with the drift margin.
    pub(super) lease_end: Moment,
    /// Where the frontend takes invalidations.
    pub(super) internal_address: String,
    slowness: Slowness,
}

/// How much a frontend's slow acks have delayed batches lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Slowness {
    window_end: Moment,
    delay: Duration,
}

impl Slowness {
    /// Adds a wait for an ack; returns whether the delays of late are more than a TTL.
    fn add(&mut self, waited: Duration, ttl: Duration, now: Moment) -> bool {
        if now >= self.window_end {
            *self = Self { window_end: now.plus(ttl * WINDOW_TTLS), delay: Duration::ZERO };
        }
        self.delay += waited.saturating_sub(ttl / QUICK_ACK_TTL_PART).min(ttl / ONE_BATCH_TTL_PART);
        self.delay > ttl
    }
}

/// How a request relates to what is recorded (R8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is recorded for this frontend.
    Unknown,
    /// The recorded session is newer: the request is a late copy.
    Older,
    /// It renews the recorded session.
    Same,
    /// The frontend has a newer session: its older cache is unusable already.
    Newer,
}

/// All frontends with a lease. Ordered, so that a simulation sees the same sequence of effects in every run.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Subscriptions {
    leases: BTreeMap<u128, Subscription>,
    /// Frontends whose acks were slow, and until when they get no lease. Each had one before, so they are as few.
    shunned: BTreeMap<u128, Moment>,
}

impl Subscriptions {
    pub(super) fn standing(&self, frontend: u128, session: u64) -> Standing {
        match self.leases.get(&frontend) {
            None => Standing::Unknown,
            Some(known) => match session.cmp(&known.session) {
                std::cmp::Ordering::Less => Standing::Older,
                std::cmp::Ordering::Equal => Standing::Same,
                std::cmp::Ordering::Greater => Standing::Newer,
            },
        }
    }

    /// Records or extends a lease; never shortens one. False if there are too many frontends.
    pub(super) fn record(&mut self, request: &SubscribeRequest, lease_end: Moment) -> bool {
        if let Some(known) = self.leases.get_mut(&request.frontend) {
            known.session = request.session;
            known.lease_end = known.lease_end.max(lease_end);
            known.internal_address.clone_from(&request.internal_address);
            return true;
        }
        if self.leases.len() >= FRONTENDS_MAX {
            return false;
        }
        let internal_address = request.internal_address.clone();
        self.leases.insert(
            request.frontend,
            Subscription { session: request.session, lease_end, internal_address, slowness: Slowness::default() },
        );
        true
    }

    /// Takes note of how long a batch waited for a frontend's ack; one that is slow again and again is shunned.
    pub(super) fn acked_after(&mut self, frontend: u128, waited: Duration, ttl: Duration, now: Moment) {
        let Some(known) = self.leases.get_mut(&frontend) else { return };
        if known.slowness.add(waited, ttl, now) {
            self.shun(frontend, ttl, now);
        }
    }

    /// Gives a frontend no lease for a while: nobody waits for it once the present one is over, and it serves without a
    /// cache meanwhile.
    pub(super) fn shun(&mut self, frontend: u128, ttl: Duration, now: Moment) {
        self.shunned.insert(frontend, now.plus(ttl * SHUNNED_TTLS));
    }

    /// How many frontends are shunned.
    pub(super) fn shunned(&self) -> usize {
        self.shunned.len()
    }

    /// Whether a frontend gets no lease now.
    pub(super) fn is_shunned(&self, frontend: u128, now: Moment) -> bool {
        self.shunned.get(&frontend).is_some_and(|until| *until > now)
    }

    pub(super) fn forget(&mut self, frontend: u128) {
        self.leases.remove(&frontend);
    }

    pub(super) fn forget_lapsed(&mut self, now: Moment) {
        self.leases.retain(|_, known| known.lease_end > now);
        self.shunned.retain(|_, until| *until > now);
    }

    pub(super) fn get(&self, frontend: u128) -> Option<&Subscription> {
        self.leases.get(&frontend)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, &Subscription)> {
        self.leases.iter().map(|(frontend, known)| (*frontend, known))
    }

    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }
}
