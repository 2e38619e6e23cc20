//! What may happen next.

use crate::{
    bounds::Bounds,
    log::FIRST_INDEX,
    network::Message,
    state::{Owner, State},
};

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Time passes. `missed_by` does not notice.
    Tick {
        /// Whose clock stands still.
        missed_by: Option<Owner>,
    },
    /// The next trade is committed in the term of whoever has the votes, who need not know yet.
    Commit,
    /// A replica hears what is committed, and applies it.
    Apply(usize),
    /// A replica gets the votes of a new term. The one that had them before does not notice.
    Elect(usize),
    /// The catalog asks a replica for a lease, and that one grants it.
    Grant(usize),
    /// The catalog takes a published batch.
    Publish {
        /// The batch's end.
        through: u64,
        /// The catalog decides differently from the leader.
        diverges: bool,
    },
    /// The catalog takes a whole inventory.
    Inventory {
        /// The index at which it was taken.
        index: u64,
        /// It is sent because of a divergence.
        heals: bool,
    },
    /// The catalog exposes what is pending.
    Expose,
    /// The catalog crashes and starts again.
    Restart {
        /// The index of the older copy that it finds, if it is an older one.
        copy: Option<u64>,
    },
    /// A frontend asks for a lease.
    Ask(usize),
    /// A message arrives.
    Deliver {
        /// Its place among those under way.
        position: usize,
        /// A copy of it stays under way.
        stays: bool,
    },
    /// A client looks a stock up at a frontend that has to ask the catalog.
    Lookup {
        /// The frontend.
        frontend: usize,
        /// The stock.
        stock: usize,
    },
    /// The catalog answers a fetch.
    AnswerFetch {
        /// The frontend.
        frontend: usize,
        /// The fetch.
        flight: usize,
    },
    /// The answer to a fetch arrives.
    Land {
        /// The frontend.
        frontend: usize,
        /// The fetch.
        flight: usize,
    },
    /// A lookup that waited for another's fetch goes on.
    GoOn {
        /// The frontend.
        frontend: usize,
        /// The lookup.
        waiter: usize,
    },
}

impl Action {
    /// Everything that may happen in a state. Some of it may turn out to change nothing.
    pub fn possible(state: &State, bounds: &Bounds) -> Vec<Self> {
        let mut actions = Vec::with_capacity(32);
        add_time(state, bounds, &mut actions);
        add_raft(state, bounds, &mut actions);
        add_changes(state, bounds, &mut actions);
        add_messages(state, bounds, &mut actions);
        add_lookups(state, bounds, &mut actions);
        actions
    }
}

fn add_time(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    if state.spent.ticks >= bounds.ticks {
        return;
    }
    actions.push(Action::Tick { missed_by: None });
    if state.spent.missed_ticks < bounds.missed_ticks {
        let replicas = (0..state.replicas.len()).map(Owner::Replica);
        let frontends = (0..state.frontends.len()).map(Owner::Frontend);
        let owners = replicas.chain([Owner::Catalog]).chain(frontends);
        let may_be_slow = owners.filter(|owner| state.slow.is_none_or(|(slow, _)| slow == *owner));
        actions.extend(may_be_slow.map(|owner| Action::Tick { missed_by: Some(owner) }));
    }
}

fn add_raft(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    if state.log.trades() < bounds.trades.len() {
        actions.push(Action::Commit);
    }
    for (replica, known) in state.replicas.iter().enumerate() {
        if known.believes() {
            actions.extend([Action::Apply(replica), Action::Grant(replica)]);
        }
        if replica != state.votes && state.spent.elections < bounds.elections {
            actions.push(Action::Elect(replica));
        }
    }
}

fn add_changes(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    if state.spent.crashes < bounds.crashes {
        actions.push(Action::Restart { copy: None });
        if bounds.has_older_copies {
            actions.extend((FIRST_INDEX..state.catalog.disk.applied).map(|copy| Action::Restart { copy: Some(copy) }));
        }
    }
    if state.catalog.ledger.pending().is_some() {
        actions.push(Action::Expose);
        return;
    }
    let applied = state.catalog.ledger.applied();
    let newest = state.replicas.iter().map(|replica| replica.applied).max().unwrap_or(0);
    for through in applied + 1..=newest {
        actions.push(Action::Publish { through, diverges: false });
        if state.spent.divergences < bounds.divergences {
            actions.push(Action::Publish { through, diverges: true });
        }
    }
    if bounds.has_snapshots {
        actions.extend((FIRST_INDEX..=newest).map(|index| Action::Inventory { index, heals: false }));
    }
    if state.catalog.is_diverged {
        actions.extend((applied..=newest).map(|index| Action::Inventory { index, heals: true }));
    }
}

fn add_messages(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    let may_repeat = state.spent.repeats < bounds.repeats;
    for (position, message) in state.network.messages().iter().enumerate() {
        actions.push(Action::Deliver { position, stays: false });
        // The other kinds are answers of HTTP calls, which are taken once.
        let can_repeat = matches!(message, Message::Request { .. } | Message::Invalidation { .. } | Message::Ack(_));
        if may_repeat && can_repeat {
            actions.push(Action::Deliver { position, stays: true });
        }
    }
}

fn add_lookups(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    for (frontend, known) in state.frontends.iter().enumerate() {
        if state.network.requests(frontend) < bounds.requests {
            actions.push(Action::Ask(frontend));
        }
        actions.extend((0..bounds.stocks).map(|stock| Action::Lookup { frontend, stock }));
        for (flight, fetch) in known.flights.iter().enumerate() {
            actions.push(match fetch.answer {
                None => Action::AnswerFetch { frontend, flight },
                Some(_) => Action::Land { frontend, flight },
            });
        }
        let idle = known.waiters.iter().enumerate().filter(|(_, waiter)| !waiter.is_waiting);
        actions.extend(idle.map(|(waiter, _)| Action::GoOn { frontend, waiter }));
    }
}
