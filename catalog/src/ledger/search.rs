//! What a search over the states of a [`Ledger`] needs: states that act alike are equal, and visited once.

use std::hash::{Hash, Hasher};

use bazaar_domain::{Moment, Stock};

use super::{Ledger, Next};

impl Ledger {
    /// Forgets what cannot matter any more from `now` on.
    pub fn forget_past(&mut self, now: Moment) {
        self.grants.forget_past(now);
        self.forget_lapsed(now);
        if self.silent_until <= now {
            self.silent_until = Moment::ZERO;
        }
    }

    /// The number of the batch that is applied and not exposed yet, and the frontends that it waits for.
    pub fn pending(&self) -> Option<(u64, Vec<u128>)> {
        self.pending.as_ref().map(|pending| (pending.number, pending.waiting.keys().copied().collect()))
    }
}

/// The settings and the cluster are left out: they do not change. The delays by slow frontends are not: a search that
/// took a frontend that gets no lease for one that gets some would not look at what that one can do.
impl Hash for Ledger {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.incarnation, self.applied, self.exposed, self.batches, self.silent_until).hash(state);
        hash_stocks(self.stocks.values(), state);
        self.grants.hash(state);
        self.frontends.hash(state);
        self.pending.is_some().hash(state);
        if let Some(pending) = &self.pending {
            (pending.number, pending.started).hash(state);
            pending.waiting.hash(state);
            match &pending.next {
                Next::Changed(stocks) => hash_stocks(stocks.iter(), state),
                Next::Whole(stocks) => hash_stocks(stocks.values(), state),
            }
            matches!(pending.next, Next::Whole(_)).hash(state);
        }
    }
}

/// In name order: a map has none of its own.
fn hash_stocks<'a>(stocks: impl Iterator<Item = &'a Stock>, state: &mut impl Hasher) {
    let mut stocks: Vec<&Stock> = stocks.collect();
    stocks.sort_unstable_by_key(|stock| stock.name);
    stocks.hash(state);
}
