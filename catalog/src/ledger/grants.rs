//! The leases that leaders gave to the catalog, each with its floor (R2).

use std::time::Duration;

use bazaar_domain::{
    Moment,
    mutants::{Mutant, broken},
};

/// Most grants kept at a time. One in five is enough for one leader; forgetting one only makes the catalog more
/// careful.
const GRANTS_MAX: usize = 64;

/// A lease of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Grant {
    /// The catalog may use it only once it has exposed this log index.
    floor: u64,
    /// Its end, counted from when the catalog asked.
    end: Moment,
}

/// All leases of the catalog that may still matter.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Grants(Vec<Grant>);

impl Grants {
    /// Keeps a grant, and forgets those that are over or say nothing that it does not say too.
    pub(super) fn add(&mut self, floor: u64, end: Moment, now: Moment) {
        if end <= now || self.0.iter().any(|grant| grant.floor <= floor && grant.end >= end) {
            return;
        }
        self.0.retain(|grant| grant.end > now && !(floor <= grant.floor && end >= grant.end));
        if self.0.len() == GRANTS_MAX {
            self.0.remove(0);
        }
        self.0.push(Grant { floor, end });
    }

    /// How long the longest lease lasts that can be used at this exposed index; zero if there is none.
    pub(super) fn longest(&self, exposed: u64, now: Moment) -> Duration {
        let usable = self.0.iter().filter(|grant| grant.floor <= exposed || broken(Mutant::IgnoreFloor));
        usable.map(|grant| grant.end.since(now)).max().unwrap_or(Duration::ZERO)
    }

    /// Forgets the leases that are over, and the order in which the others came.
    pub(super) fn forget_past(&mut self, now: Moment) {
        self.0.retain(|grant| grant.end > now);
        self.0.sort_unstable();
    }

    /// Whether any lease lasts, usable yet or not.
    pub(super) fn any(&self, now: Moment) -> bool {
        self.0.iter().any(|grant| grant.end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_grants_stays_bounded_and_keeps_the_newest() {
        let mut grants = Grants::default();
        for step in 1..1_000 {
            grants.add(step, Moment::from_millis(10_000 + step), Moment::ZERO);
        }
        assert_eq!(grants.0.len(), GRANTS_MAX);
        assert_eq!(grants.longest(999, Moment::ZERO), Duration::from_millis(10_999));
    }

    #[test]
    fn a_grant_that_another_one_covers_is_not_kept() {
        let mut grants = Grants::default();
        grants.add(5, Moment::from_millis(100), Moment::ZERO);
        grants.add(6, Moment::from_millis(90), Moment::ZERO);
        assert_eq!(grants.0.len(), 1);
        grants.add(5, Moment::from_millis(200), Moment::ZERO);
        assert_eq!(grants.0, [Grant { floor: 5, end: Moment::from_millis(200) }]);
    }
}
