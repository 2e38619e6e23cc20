//! The leader's intake, as a pure state machine: requests become log entries, entries that are applied and released
//! become answers.
//!
//! Natural batching: while as many entries are on their way as may be, what arrives waits and then shares the next
//! entry. At low load nothing waits. Every queue is bounded.

use std::collections::{BTreeMap, VecDeque};

use bazaar_domain::{limits::BATCH_TRADES_MAX, order::Decision};

/// Entries proposed and not yet applied, at most.
const PROPOSALS_IN_FLIGHT_MAX: usize = 8;
/// Items (trades, listing changes) waiting for an entry or an answer, at most.
const INTAKE_ITEMS_MAX: usize = 262_144;

/// Names a request within one process.
pub type RequestKey = u64;
/// Names a proposal within one process.
pub type ProposalKey = u64;

/// What kind of command a request's items belong to; an entry holds one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// Trades.
    Trades,
    /// Listing changes.
    Listings,
}

/// What happens to the intake.
#[derive(Debug)]
pub enum Event {
    /// A request with so many items arrived.
    Submit {
        /// Its name.
        request: RequestKey,
        /// Their kind.
        kind: ItemKind,
        /// How many.
        items: usize,
    },
    /// A proposal's entry was committed and applied.
    Applied {
        /// The proposal.
        proposal: ProposalKey,
        /// The entry's index.
        index: u64,
        /// One decision an item.
        decisions: Vec<Decision>,
    },
    /// A proposal failed: whether its entry will be applied is not known.
    ProposalFailed {
        /// The proposal.
        proposal: ProposalKey,
    },
    /// Everything up to this index may be answered.
    Released(u64),
    /// This replica leads from now on, or does not any more, or in another term: what is applied but not released is
    /// answered as unknown.
    Leading(bool),
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Propose one entry with the items of these requests, in order.
    Propose {
        /// The proposal's name.
        proposal: ProposalKey,
        /// The kind of its items.
        kind: ItemKind,
        /// The requests.
        requests: Vec<RequestKey>,
    },
    /// Answer a request.
    Answer {
        /// The request.
        request: RequestKey,
        /// The entry's index.
        index: u64,
        /// One decision an item.
        decisions: Vec<Decision>,
    },
    /// Answer a request: not known whether it happened.
    Unknown {
        /// The request.
        request: RequestKey,
    },
    /// Answer a request: more is waiting than may; it was not proposed.
    Overloaded {
        /// The request.
        request: RequestKey,
    },
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    request: RequestKey,
    kind: ItemKind,
    items: usize,
}

#[derive(Debug)]
struct Applied {
    requests: Vec<Waiting>,
    decisions: Vec<Decision>,
}

/// The intake's state.
#[derive(Debug, Default)]
pub struct Intake {
    /// Requests that wait for an entry.
    queue: VecDeque<Waiting>,
    /// Entries on their way.
    proposed: BTreeMap<ProposalKey, Vec<Waiting>>,
    /// Applied entries that wait for their release, by index.
    applied: BTreeMap<u64, Applied>,
    /// Items in `queue`, `proposed` and `applied` together.
    items: usize,
    leading: bool,
    released: u64,
    next_proposal: ProposalKey,
}

impl Intake {
    /// Takes an event; returns what is to be done, in order.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Submit { request, kind, items } => {
                if self.items.saturating_add(items) > INTAKE_ITEMS_MAX {
                    return vec![Effect::Overloaded { request }];
                }
                self.items += items;
                self.queue.push_back(Waiting { request, kind, items });
            }
            Event::Applied { proposal, index, decisions } => {
                let requests = self.proposed.remove(&proposal).unwrap_or_default();
                if self.leading {
                    self.applied.insert(index, Applied { requests, decisions });
                } else {
                    // Nothing would release it here.
                    self.give_up(requests, &mut effects);
                }
            }
            Event::ProposalFailed { proposal } => {
                let requests = self.proposed.remove(&proposal).unwrap_or_default();
                self.give_up(requests, &mut effects);
            }
            Event::Released(index) => self.released = index,
            Event::Leading(leading) => {
                self.leading = leading;
                self.released = 0;
                for (_, entry) in std::mem::take(&mut self.applied) {
                    self.give_up(entry.requests, &mut effects);
                }
            }
        }
        self.answer_released(&mut effects);
        self.propose(&mut effects);
        effects
    }

    /// The lowest index that waits for its release.
    pub fn waits_for(&self) -> Option<u64> {
        self.applied.first_key_value().map(|(index, _)| *index)
    }

    fn give_up(&mut self, requests: Vec<Waiting>, effects: &mut Vec<Effect>) {
        for waiting in requests {
            self.items -= waiting.items;
            effects.push(Effect::Unknown { request: waiting.request });
        }
    }

    fn answer_released(&mut self, effects: &mut Vec<Effect>) {
        while let Some(first) = self.applied.first_entry()
            && *first.key() <= self.released
        {
            let (index, entry) = first.remove_entry();
            let mut decisions = entry.decisions.into_iter();
            for waiting in entry.requests {
                self.items -= waiting.items;
                let decisions: Vec<Decision> = decisions.by_ref().take(waiting.items).collect();
                assert_eq!(decisions.len(), waiting.items, "apply makes one decision an item");
                effects.push(Effect::Answer { request: waiting.request, index, decisions });
            }
        }
    }

    fn propose(&mut self, effects: &mut Vec<Effect>) {
        while self.proposed.len() < PROPOSALS_IN_FLIGHT_MAX
            && let Some(first) = self.queue.pop_front()
        {
            let mut items = first.items;
            let mut requests = vec![first];
            while let Some(next) = self.queue.front()
                && next.kind == first.kind
                && items + next.items <= BATCH_TRADES_MAX
            {
                items += next.items;
                requests.extend(self.queue.pop_front());
            }
            let proposal = self.next_proposal;
            self.next_proposal += 1;
            let named = requests.iter().map(|waiting| waiting.request).collect();
            self.proposed.insert(proposal, requests);
            effects.push(Effect::Propose { proposal, kind: first.kind, requests: named });
        }
    }
}

#[cfg(test)]
mod tests {
    use bazaar_domain::order::Decision;

    use super::{Effect, Event, INTAKE_ITEMS_MAX, Intake, ItemKind, PROPOSALS_IN_FLIGHT_MAX};

    fn leading() -> Intake {
        let mut intake = Intake::default();
        intake.step(Event::Leading(true));
        intake
    }

    fn submit(request: u64, items: usize) -> Event {
        Event::Submit { request, kind: ItemKind::Trades, items }
    }

    fn applied(proposal: u64, index: u64, items: usize) -> Event {
        Event::Applied { proposal, index, decisions: vec![Decision::KeyReused; items] }
    }

    fn proposed(effects: &[Effect]) -> Vec<&[u64]> {
        effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Propose { requests, .. } => Some(&requests[..]),
                _ => None,
            })
            .collect()
    }

    fn answered(effects: &[Effect]) -> Vec<(u64, usize)> {
        effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Answer { request, decisions, .. } => Some((*request, decisions.len())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_request_is_proposed_at_once_when_nothing_is_on_its_way() {
        let mut intake = leading();
        assert_eq!(proposed(&intake.step(submit(1, 1))), [&[1][..]]);
    }

    #[test]
    fn what_arrives_while_the_pipeline_is_full_shares_the_next_entry() {
        let mut intake = leading();
        for request in 0..PROPOSALS_IN_FLIGHT_MAX as u64 {
            intake.step(submit(request, 1));
        }
        assert_eq!(intake.step(submit(100, 2)), []);
        assert_eq!(intake.step(submit(101, 3)), []);
        assert_eq!(proposed(&intake.step(applied(0, 10, 1))), [&[100, 101][..]]);
    }

    #[test]
    fn an_answer_waits_for_the_release_of_its_entry() {
        let mut intake = leading();
        intake.step(submit(1, 2));
        assert_eq!(answered(&intake.step(applied(0, 10, 2))), []);
        assert_eq!(intake.waits_for(), Some(10));
        assert_eq!(answered(&intake.step(Event::Released(9))), []);
        assert_eq!(answered(&intake.step(Event::Released(10))), [(1, 2)]);
    }

    #[test]
    fn a_shared_entry_is_divided_among_its_requests_in_order() {
        let mut intake = leading();
        for request in 0..PROPOSALS_IN_FLIGHT_MAX as u64 {
            intake.step(submit(request, 1));
        }
        intake.step(submit(100, 2));
        intake.step(submit(101, 3));
        intake.step(applied(0, 10, 1));
        intake.step(applied(PROPOSALS_IN_FLIGHT_MAX as u64, 20, 5));
        let effects = intake.step(Event::Released(20));
        assert_eq!(answered(&effects), [(0, 1), (100, 2), (101, 3)]);
    }

    #[test]
    fn a_lost_leadership_leaves_unreleased_answers_unknown() {
        let mut intake = leading();
        intake.step(submit(1, 1));
        intake.step(applied(0, 10, 1));
        assert_eq!(intake.step(Event::Leading(false)), [Effect::Unknown { request: 1 }]);
        assert_eq!(intake.step(Event::Released(u64::MAX)), []);
    }

    #[test]
    fn an_entry_applied_after_the_leadership_was_lost_is_unknown_at_once() {
        let mut intake = leading();
        intake.step(submit(1, 1));
        intake.step(Event::Leading(false));
        assert_eq!(intake.step(applied(0, 10, 1)), [Effect::Unknown { request: 1 }]);
    }

    #[test]
    fn a_failed_proposal_is_unknown_and_makes_room() {
        let mut intake = leading();
        intake.step(submit(1, INTAKE_ITEMS_MAX));
        assert_eq!(intake.step(submit(2, 1)), [Effect::Overloaded { request: 2 }]);
        assert_eq!(intake.step(Event::ProposalFailed { proposal: 0 }), [Effect::Unknown { request: 1 }]);
        assert_eq!(proposed(&intake.step(submit(3, 1))), [&[3][..]]);
    }

    #[test]
    fn trades_and_listing_changes_do_not_share_an_entry() {
        let mut intake = leading();
        for request in 0..PROPOSALS_IN_FLIGHT_MAX as u64 {
            intake.step(submit(request, 1));
        }
        intake.step(submit(100, 1));
        intake.step(Event::Submit { request: 101, kind: ItemKind::Listings, items: 1 });
        assert_eq!(proposed(&intake.step(applied(0, 10, 1))), [&[100][..]]);
    }
}
