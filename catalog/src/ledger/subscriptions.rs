//! The frontends that may hold the catalog's answers in a cache, and until when.

use std::collections::BTreeMap;

use bazaar_domain::{Moment, internal::SubscribeRequest};

/// Most frontends that hold a lease at a time; more get none, and serve without a cache.
pub const FRONTENDS_MAX: usize = 1_024;

/// The lease of one frontend, as its granter counts it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Subscription {
    /// The session it was given to (R8).
    pub(super) session: u64,
    /// Its end, with the drift margin.
    pub(super) lease_end: Moment,
    /// Where the frontend takes invalidations.
    pub(super) internal_address: String,
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
pub(super) struct Subscriptions(BTreeMap<u128, Subscription>);

impl Subscriptions {
    pub(super) fn standing(&self, frontend: u128, session: u64) -> Standing {
        match self.0.get(&frontend) {
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
        if let Some(known) = self.0.get_mut(&request.frontend) {
            known.session = request.session;
            known.lease_end = known.lease_end.max(lease_end);
            known.internal_address.clone_from(&request.internal_address);
            return true;
        }
        if self.0.len() >= FRONTENDS_MAX {
            return false;
        }
        let internal_address = request.internal_address.clone();
        self.0.insert(request.frontend, Subscription { session: request.session, lease_end, internal_address });
        true
    }

    pub(super) fn forget(&mut self, frontend: u128) {
        self.0.remove(&frontend);
    }

    pub(super) fn forget_lapsed(&mut self, now: Moment) {
        self.0.retain(|_, known| known.lease_end > now);
    }

    pub(super) fn get(&self, frontend: u128) -> Option<&Subscription> {
        self.0.get(&frontend)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, &Subscription)> {
        self.0.iter().map(|(frontend, known)| (*frontend, known))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
