//! One kind of work on its way to the leader: what waits, and what is in a request now.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bazaar_domain::{ApiError, ErrorKind, Moment, Outcome, ReplicaId, TradeFate, order::Decision};

use super::outages::Tally;
use super::uncertain::UncertainKeys;
use super::words::{Answer, CallId, Effect, Reply, Request, Work, WorkId};

/// Requests of one kind that are under way to the leader at a time.
pub const INTERNAL_REQUESTS_IN_FLIGHT_MAX: usize = 2;
/// Beside a request of so many works another one may be sent at any time.
pub const SMALL_CALL_UNITS_MAX: usize = 4;
/// How long the leader may take to answer one request.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A piece of work that is not answered yet.
#[derive(Debug)]
pub struct Unit {
    /// Whose it is.
    pub id: WorkId,
    /// What it is.
    pub work: Work,
    /// When it is answered with an error.
    pub deadline: Moment,
    /// Whether a request that carried it, or an earlier one under the same key, failed in a way that leaves open whether
    /// it was taken.
    pub maybe_applied: bool,
}

/// A request under way.
#[derive(Debug)]
struct Call {
    replica: ReplicaId,
    sent: Moment,
    units: Vec<Unit>,
    /// So many units from the front were answered already, at their deadline.
    expired: usize,
}

/// A lane. Invariant: the queue, and the units of each call, are in the order of their ids, which is also the order of
/// their deadlines.
#[derive(Debug)]
pub struct Lane {
    queue: VecDeque<Unit>,
    calls: BTreeMap<CallId, Call>,
    /// Keys that were answered as unknown and not decided since.
    uncertain: UncertainKeys,
    tally: Tally,
    /// Most trades or reads in one request.
    items_max: usize,
    /// Whether it carries order reads; otherwise trades.
    reads: bool,
}

impl Lane {
    /// A lane for trades.
    pub fn for_trades(items_max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            calls: BTreeMap::new(),
            uncertain: UncertainKeys::default(),
            tally: Tally::default(),
            items_max,
            reads: false,
        }
    }

    /// A lane for order reads.
    pub fn for_reads(items_max: usize) -> Self {
        Self { reads: true, ..Self::for_trades(items_max) }
    }

    /// Takes new work; its id is above, and its deadline not before, those of all that came earlier.
    pub fn push(&mut self, mut unit: Unit) {
        unit.maybe_applied |= unit.work.keys().any(|key| self.uncertain.contains(key));
        self.queue.push_back(unit);
    }

    /// Whether anything waits to be sent.
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether a request may be sent now.
    pub fn can_send(&self) -> bool {
        let may_share = self.calls.len() < INTERNAL_REQUESTS_IN_FLIGHT_MAX && self.has_as_much_waiting();
        self.is_waiting() && (self.calls.is_empty() || may_share)
    }

    /// Whether as many works wait as are under way, or few are. Under load this keeps the shared requests few and large;
    /// while there is little to do, nothing waits for company.
    fn has_as_much_waiting(&self) -> bool {
        let open = |call: &Call| call.units.len() - call.expired;
        self.calls.values().map(open).all(|units| units <= SMALL_CALL_UNITS_MAX || self.queue.len() >= units)
    }

    /// Sends what waits, as far as it fits into one request.
    pub fn send(&mut self, call: CallId, replica: ReplicaId, now: Moment) -> Effect {
        let mut units = Vec::new();
        let mut items = 0;
        while let Some(unit) = self.queue.front() {
            items += unit.work.items();
            // The first one always goes: a client's batch is never larger than a request.
            if items > self.items_max && !units.is_empty() {
                break;
            }
            units.extend(self.queue.pop_front());
        }
        let request = if self.reads { reads_of(&units) } else { trades_of(&units) };
        let last_deadline = units.last().map_or(now, |unit| unit.deadline);
        let timeout = CALL_TIMEOUT.min(last_deadline.since(now));
        let works = units.iter().map(|unit| unit.id).collect();
        self.calls.insert(call, Call { replica, sent: now, units, expired: 0 });
        Effect::Call { call, replica, request, timeout, works }
    }

    /// When the oldest request was sent that is under way.
    pub fn oldest_call(&self) -> Option<Moment> {
        self.calls.values().map(|call| call.sent).min()
    }

    /// Whether a call is one of this lane's.
    pub fn has(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// Answers the units of a call. Returns false, and changes nothing, if the reply does not fit the request.
    pub fn succeed(&mut self, id: CallId, reply: Reply, effects: &mut Vec<Effect>) -> bool {
        let Some(call) = self.calls.get(&id) else { return false };
        let items: usize = call.units.iter().map(|unit| unit.work.items()).sum();
        let fits = match &reply {
            Reply::Decisions(decisions) => !self.reads && decisions.len() == items,
            Reply::Reads(reads) => self.reads && reads.len() == call.units.len(),
        };
        let Some(call) = fits.then(|| self.calls.remove(&id)).flatten() else { return false };
        for key in call.units.iter().flat_map(|unit| unit.work.keys()) {
            self.uncertain.forget(key);
        }
        if let Reply::Decisions(decisions) = &reply {
            self.count(&call.units, decisions);
        }
        let answers = split(&call.units, reply);
        for (unit, answer) in call.units.iter().zip(answers).skip(call.expired) {
            effects.push(Effect::Answer { id: unit.id, result: Ok(answer) });
        }
        true
    }

    /// Puts the units of a failed call back to the front, and returns where it was sent, or none if there is no such
    /// call. `certain` says that the leader did not take the units.
    pub fn fail(&mut self, id: CallId, certain: bool) -> Option<ReplicaId> {
        let call = self.calls.remove(&id)?;
        for mut unit in call.units.into_iter().skip(call.expired) {
            unit.maybe_applied |= !certain;
            self.tally.resent += unit.work.items() as u64;
            self.queue.push_back(unit);
        }
        // Two calls may fail in either order; sorting restores the order of arrival, which puts these to the front.
        self.queue.make_contiguous().sort_by_key(|unit| unit.id);
        Some(call.replica)
    }

    /// Takes back what is under way to any other replica than the new leader: nothing good will come from there, and
    /// the keys make it safe to send it again.
    pub fn abandon_calls_elsewhere(&mut self, leader: ReplicaId) {
        let elsewhere: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.replica != leader).map(|(id, _)| *id).collect();
        for id in elsewhere {
            self.fail(id, false);
        }
    }

    /// Answers what has reached its deadline.
    pub fn expire(&mut self, now: Moment, unavailable: impl Fn() -> ApiError, effects: &mut Vec<Effect>) {
        while let Some(unit) = self.queue.pop_front_if(|unit| unit.deadline <= now) {
            self.tally.expired += unit.work.items() as u64;
            let error = if unit.maybe_applied && !self.reads {
                unit.work.keys().for_each(|key| self.uncertain.remember(key));
                outcome_unknown()
            } else {
                self.with_fate(unavailable())
            };
            effects.push(Effect::Answer { id: unit.id, result: Err(error) });
        }
        for call in self.calls.values_mut() {
            while let Some(unit) = call.units.get(call.expired).filter(|unit| unit.deadline <= now) {
                call.expired += 1;
                self.tally.expired += unit.work.items() as u64;
                unit.work.keys().for_each(|key| self.uncertain.remember(key));
                let error = if self.reads { unavailable() } else { outcome_unknown() };
                effects.push(Effect::Answer { id: unit.id, result: Err(error) });
            }
        }
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Moment> {
        let waiting = self.queue.front().map(|unit| unit.deadline);
        let sent = self.calls.values().filter_map(|call| call.units.get(call.expired)).map(|unit| unit.deadline);
        sent.chain(waiting).min()
    }

    /// What happened to its work so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn count(&mut self, units: &[Unit], decisions: &[Decision]) {
        let newest = decisions.iter().rev().find_map(|decision| match decision {
            Decision::Fresh(Outcome::Accepted { number, .. }) => Some(*number),
            _ => None,
        });
        self.tally.newest_order = self.tally.newest_order.max(newest.unwrap_or(0));
        let mut rest = decisions;
        for unit in units {
            let (own, others) = rest.split_at(unit.work.items());
            rest = others;
            if unit.maybe_applied {
                self.tally.replayed +=
                    own.iter().filter(|decision| matches!(decision, Decision::Replayed(_))).count() as u64;
            }
        }
    }

    fn with_fate(&self, error: ApiError) -> ApiError {
        if self.reads { error } else { error.with_outcome(TradeFate::NotApplied) }
    }
}

fn outcome_unknown() -> ApiError {
    ApiError::new(
        ErrorKind::OutcomeUnknown,
        "it is not known whether the trade happened; send it again with the same idempotency key",
    )
    .with_outcome(TradeFate::Unknown)
}

fn trades_of(units: &[Unit]) -> Request {
    let mut trades = Vec::with_capacity(units.iter().map(|unit| unit.work.items()).sum());
    for unit in units {
        match &unit.work {
            Work::Trade(trade) => trades.push(trade.clone()),
            Work::Batch(batch) => trades.extend_from_slice(batch),
            Work::Read(_) | Work::Leader => unreachable!("the lane of trades carries trades"),
        }
    }
    Request::Trades(trades)
}

fn reads_of(units: &[Unit]) -> Request {
    let read = |unit: &Unit| match &unit.work {
        Work::Read(read) => read.clone(),
        Work::Trade(_) | Work::Batch(_) | Work::Leader => unreachable!("the lane of reads carries reads"),
    };
    Request::Reads(units.iter().map(read).collect())
}

/// Gives each unit its part of a reply that was checked to have one item for each of theirs.
fn split(units: &[Unit], reply: Reply) -> Vec<Answer> {
    match reply {
        Reply::Reads(reads) => reads.into_iter().map(Answer::Read).collect(),
        Reply::Decisions(decisions) => {
            let mut rest = decisions.as_slice();
            let mut take = |unit: &Unit| {
                let (own, others) = rest.split_at(unit.work.items());
                rest = others;
                if let Work::Batch(_) = unit.work { Answer::Batch(own.to_vec()) } else { Answer::Trade(own[0]) }
            };
            units.iter().map(&mut take).collect()
        }
    }
}
