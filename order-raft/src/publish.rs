//! Publishing committed trades to the catalog in log order: a pure state machine, and the comparison of the two keepers.
//!
//! The catalog's own position decides what is sent: the publisher asks for it first, sends what follows, and falls back
//! to an inventory snapshot when what is missing is no longer in memory. Committed entries are facts, so nothing here
//! depends on terms.

use std::time::Duration;

use bazaar_domain::{
    Moment,
    internal::{ItemStatus, PublishReply},
};

/// Pause after a failed call, so that a dead catalog is not called in a tight loop.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Pause after the catalog turned out to be another cluster's.
const FOREIGN_PAUSE: Duration = Duration::from_secs(5);

/// What happens to the publisher.
#[derive(Debug)]
pub enum Event {
    /// This replica leads from now on, or does not any more.
    Leading(bool),
    /// Entries up to this index are applied here.
    Applied(u64),
    /// The catalog answered the call in flight.
    Replied {
        /// Its answer.
        reply: PublishReply,
        /// Whether its results differ from ours.
        diverged: bool,
    },
    /// The call in flight failed.
    Failed,
    /// The catalog answered that it belongs to another cluster: that passes only when somebody looks after it.
    Foreign,
    /// What was to be sent is no longer in memory.
    Missing,
    /// The catalog asked for a lease in this life of its own. A new life may have less than the last one had.
    CatalogSeen {
        /// Its life.
        incarnation: u64,
    },
    /// Time has passed.
    Tick,
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send everything behind this index (nothing, to learn the catalog's position), and report the answer.
    SendAfter {
        /// The catalog has everything up to here; `None` while its position is unknown.
        previous: Option<u64>,
    },
    /// Send the whole inventory, and report the answer.
    SendInventory {
        /// It replaces what the catalog has at the same index.
        heals: bool,
    },
    /// The catalog has exposed everything up to here.
    Exposed(u64),
}

/// The publisher's state. At most one call is in flight.
#[derive(Debug, Default)]
pub struct Publisher {
    leading: bool,
    applied: u64,
    /// What the catalog has, as far as it said so in this leadership and in its present life.
    catalog_has: Option<u64>,
    /// The life in which it said so.
    incarnation: Option<u64>,
    in_flight: bool,
    heal: bool,
    /// What comes next was found to be gone from memory.
    missing: bool,
    not_before: Moment,
}

impl Publisher {
    /// Takes an event; returns what is to be done.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Leading(leading) => {
                self.leading = leading;
                self.catalog_has = None;
                self.heal = false;
            }
            Event::Applied(index) => self.applied = self.applied.max(index),
            Event::Replied { reply, diverged } => {
                self.in_flight = false;
                self.catalog_has = Some(reply.applied);
                self.incarnation = Some(reply.incarnation);
                self.missing = false;
                self.heal = diverged;
                effects.push(Effect::Exposed(reply.exposed));
            }
            Event::Failed => {
                self.in_flight = false;
                self.catalog_has = None;
                self.not_before = now.plus(RETRY_PAUSE);
            }
            Event::Foreign => {
                tracing::error!("the catalog belongs to another cluster; give it an empty data directory");
                self.in_flight = false;
                self.catalog_has = None;
                self.not_before = now.plus(FOREIGN_PAUSE);
            }
            Event::Missing => {
                self.in_flight = false;
                self.missing = true;
            }
            Event::CatalogSeen { incarnation } => {
                if self.incarnation.is_some_and(|known| known != incarnation) {
                    self.catalog_has = None;
                }
            }
            Event::Tick => {}
        }
        effects.extend(self.next_call(now));
        effects
    }

    /// When a tick is wanted although nothing else happens.
    pub fn wake_at(&self) -> Option<Moment> {
        (self.leading && !self.in_flight && self.not_before > Moment::ZERO).then_some(self.not_before)
    }

    fn next_call(&mut self, now: Moment) -> Option<Effect> {
        if !self.leading || self.in_flight || now < self.not_before {
            return None;
        }
        self.not_before = Moment::ZERO;
        let effect = if self.heal {
            Effect::SendInventory { heals: true }
        } else {
            match self.catalog_has {
                None => Effect::SendAfter { previous: None },
                Some(_) if self.missing => Effect::SendInventory { heals: false },
                Some(has) if has < self.applied => Effect::SendAfter { previous: Some(has) },
                Some(_) => return None,
            }
        };
        self.in_flight = true;
        Some(effect)
    }
}

/// The first item on which the two keepers differ: its log index, our result and the catalog's.
pub fn first_divergence(
    ours: &[(u64, &[ItemStatus])],
    theirs: &[(u64, Vec<ItemStatus>)],
) -> Option<(u64, Option<ItemStatus>, Option<ItemStatus>)> {
    for (index, theirs) in theirs {
        let ours = ours.iter().find(|(own, _)| own == index).map_or(&[][..], |(_, statuses)| statuses);
        for position in 0..ours.len().max(theirs.len()) {
            let (own, other) = (ours.get(position).copied(), theirs.get(position).copied());
            if own != other {
                return Some((*index, own, other));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{
        Moment,
        internal::{ItemStatus, PublishReply},
    };

    use super::{Effect, Event, Publisher, first_divergence};

    fn reply(applied: u64) -> Event {
        let reply = PublishReply { incarnation: 1, applied, exposed: applied, statuses: Vec::new() };
        Event::Replied { reply, diverged: false }
    }

    fn leading(applied: u64) -> Publisher {
        let mut publisher = Publisher::default();
        publisher.step(Event::Applied(applied), Moment::ZERO);
        assert_eq!(publisher.step(Event::Leading(true), Moment::ZERO), [Effect::SendAfter { previous: None }]);
        publisher
    }

    #[test]
    fn the_catalogs_own_position_decides_what_is_sent() {
        let mut publisher = leading(9);
        let effects = publisher.step(reply(4), Moment::ZERO);
        assert_eq!(effects, [Effect::Exposed(4), Effect::SendAfter { previous: Some(4) }]);
        assert_eq!(publisher.step(reply(9), Moment::ZERO), [Effect::Exposed(9)]);
    }

    #[test]
    fn one_call_is_in_flight_and_the_next_takes_what_came_meanwhile() {
        let mut publisher = leading(1);
        assert_eq!(publisher.step(Event::Applied(2), Moment::ZERO), []);
        assert_eq!(publisher.step(Event::Applied(3), Moment::ZERO), []);
        let effects = publisher.step(reply(1), Moment::ZERO);
        assert_eq!(effects, [Effect::Exposed(1), Effect::SendAfter { previous: Some(1) }]);
    }

    #[test]
    fn what_is_gone_from_memory_is_replaced_by_the_inventory() {
        let mut publisher = leading(9);
        publisher.step(reply(1), Moment::ZERO);
        assert_eq!(publisher.step(Event::Missing, Moment::ZERO), [Effect::SendInventory { heals: false }]);
        assert_eq!(publisher.step(reply(9), Moment::ZERO), [Effect::Exposed(9)]);
    }

    #[test]
    fn a_divergence_is_healed_by_the_inventory() {
        let mut publisher = leading(3);
        let reply = PublishReply { incarnation: 1, applied: 3, exposed: 3, statuses: Vec::new() };
        let effects = publisher.step(Event::Replied { reply, diverged: true }, Moment::ZERO);
        assert_eq!(effects, [Effect::Exposed(3), Effect::SendInventory { heals: true }]);
    }

    #[test]
    fn a_catalog_that_was_started_anew_is_asked_what_it_has_even_when_nothing_new_is_there() {
        let mut publisher = leading(3);
        publisher.step(reply(3), Moment::ZERO);
        assert_eq!(publisher.step(Event::CatalogSeen { incarnation: 1 }, Moment::ZERO), []);
        let effects = publisher.step(Event::CatalogSeen { incarnation: 2 }, Moment::ZERO);
        assert_eq!(effects, [Effect::SendAfter { previous: None }]);
    }

    #[test]
    fn a_failed_call_is_repeated_after_a_pause_and_asks_for_the_position_anew() {
        let mut publisher = leading(3);
        assert_eq!(publisher.step(Event::Failed, Moment::from_millis(100)), []);
        let wake = publisher.wake_at().unwrap();
        assert_eq!(publisher.step(Event::Applied(4), Moment::from_millis(101)), []);
        assert_eq!(publisher.step(Event::Tick, wake), [Effect::SendAfter { previous: None }]);
    }

    #[test]
    fn a_replica_that_does_not_lead_publishes_nothing() {
        let mut publisher = leading(3);
        publisher.step(Event::Leading(false), Moment::ZERO);
        publisher.step(reply(1), Moment::ZERO);
        assert_eq!(publisher.step(Event::Applied(10), Moment::ZERO), []);
    }

    #[test]
    fn a_different_status_version_or_content_is_a_divergence() {
        let ok = ItemStatus { status: 200, stock_version: 5, stock_checksum: 77 };
        let other = ItemStatus { status: 409, ..ok };
        let differs = ItemStatus { stock_checksum: 78, ..ok };
        assert_eq!(first_divergence(&[(7, &[ok])], &[(7, vec![ok])]), None);
        assert_eq!(first_divergence(&[(7, &[ok])], &[(7, vec![other])]), Some((7, Some(ok), Some(other))));
        assert_eq!(first_divergence(&[(7, &[ok])], &[(7, vec![differs])]), Some((7, Some(ok), Some(differs))));
        assert_eq!(first_divergence(&[(7, &[ok])], &[(7, vec![])]), Some((7, Some(ok), None)));
    }
}
