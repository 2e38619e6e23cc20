//! The order gateway as a pure state machine: it finds the leader, shares requests among concurrent work, sends again
//! with the same keys after a failure, and answers at the deadline what could not be answered before.

use std::time::Duration;

use bazaar_domain::{
    ApiError, ErrorKind, Moment, ReplicaId, TradeFate,
    limits::{BATCH_TRADES_MAX, READS_ORDERS_MAX},
};
use bazaar_service::CallError;

use super::{
    lane::{Lane, Unit},
    outages::Tally,
    scout::Scout,
    words::{Answer, CallId, Effect, Event, Reply, Work, WorkId},
};

/// Most order reads in one request.
pub const BATCH_READS_MAX: usize = READS_ORDERS_MAX;
/// How long an order read is held and retried.
pub const READ_DEADLINE: Duration = Duration::from_secs(10);
/// A leader that has not answered a request after this time is suspected to be halted or cut off.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(150);
/// Pause before sending again to a leader that refused twice in a row, or has too much to do.
pub const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The settings of a [`Machine`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The order replicas.
    pub replicas: Vec<ReplicaId>,
    /// How long a trade is held and retried.
    pub trade_deadline: Duration,
    /// How often the leader is checked.
    pub health_check_interval: Duration,
}

/// The gateway's state.
#[derive(Debug)]
pub struct Machine {
    scout: Scout,
    trades: Lane,
    reads: Lane,
    /// Clients that asked for the leader while there is none.
    leader_askers: Vec<WorkId>,
    trade_deadline: Duration,
    next_call: CallId,
    /// The newest call that had been sent when a call failed; none after a success.
    failed_through: Option<CallId>,
    /// Nothing is sent before.
    resume_at: Moment,
}

impl Machine {
    /// A gateway that knows no leader yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            scout: Scout::new(settings.replicas, settings.health_check_interval),
            trades: Lane::for_trades(BATCH_TRADES_MAX),
            reads: Lane::for_reads(BATCH_READS_MAX),
            leader_askers: Vec::new(),
            trade_deadline: settings.trade_deadline,
            next_call: 0,
            failed_through: None,
            resume_at: Moment::ZERO,
        }
    }

    /// Takes an event, and says what is to be done.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Arrived(works) => self.arrived(works, now, &mut effects),
            Event::ProbeDone { probe, result } => self.scout.probe_done(probe, result, now, &mut effects),
            Event::CallDone { call, result } => self.call_done(call, result, now, &mut effects),
            Event::Tick => {}
        }
        self.settle(now, &mut effects);
        effects
    }

    /// When a `Tick` is needed at the latest.
    pub fn next_wake(&self) -> Option<Moment> {
        let can_send = self.scout.route().is_some() && (self.trades.can_send() || self.reads.can_send());
        [
            self.scout.next_wake(self.work_waits()),
            self.trades.next_deadline(),
            self.reads.next_deadline(),
            can_send.then_some(self.resume_at),
            self.suspect_at().and_then(|at| Some(at.max(self.scout.next_look_around()?))),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The replica that work goes to.
    pub fn leader(&self) -> Option<ReplicaId> {
        self.scout.route().map(|route| route.replica)
    }

    /// Whether the answer to a call would be taken; none is to one whose work was given to another leader.
    pub fn waits_for(&self, call: CallId) -> bool {
        self.trades.has(call) || self.reads.has(call)
    }

    /// What happened to trades so far.
    pub fn tally(&self) -> Tally {
        self.trades.tally()
    }

    /// Since when the oldest trade has waited that is not answered.
    pub fn waiting_since(&self) -> Option<Moment> {
        let deadline = self.trades.next_deadline()?;
        Some(Moment::from_origin(deadline.since_origin().saturating_sub(self.trade_deadline)))
    }

    fn arrived(&mut self, works: Vec<(WorkId, Work)>, now: Moment, effects: &mut Vec<Effect>) {
        for (id, work) in works {
            let unit = |work, span| Unit { id, work, deadline: now.plus(span), maybe_applied: false };
            match work {
                Work::Leader => {
                    self.leader_askers.push(id);
                    self.scout.start_sweep(None, now, effects);
                }
                Work::Read(_) => self.reads.push(unit(work, READ_DEADLINE)),
                Work::Trade(_) | Work::Batch(_) => self.trades.push(unit(work, self.trade_deadline)),
            }
        }
    }

    fn call_done(&mut self, call: CallId, result: Result<Reply, CallError>, now: Moment, effects: &mut Vec<Effect>) {
        let lane = if self.reads.has(call) { &mut self.reads } else { &mut self.trades };
        let error = match result {
            Err(error) => error,
            Ok(reply) => {
                if lane.succeed(call, reply, effects) {
                    self.failed_through = None;
                    return;
                }
                CallError::Broken("an answer that does not fit the request".into())
            }
        };
        // A call that was abandoned before is not found any more: its units are on their way again already.
        if let Some(replica) = lane.fail(call, is_certainly_not_taken(&error)) {
            self.after_failure(call, replica, &error, now, effects);
        }
    }

    fn after_failure(
        &mut self,
        call: CallId,
        replica: ReplicaId,
        error: &CallError,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let answered = if let CallError::Answered(error) = error { Some(error) } else { None };
        let is_busy = answered.is_some_and(|error| error.kind == ErrorKind::Overloaded);
        // One leader's end fails all requests under way at once. Only a request sent after that shows that sending
        // again at once does not help.
        let is_repeated = self.failed_through.is_some_and(|newest| call > newest);
        if is_busy || is_repeated {
            self.resume_at = now.plus(RETRY_PAUSE);
        }
        self.failed_through = Some(self.next_call);
        if !is_busy {
            self.scout.drop_route(replica, answered.and_then(|error| error.leader), now, effects);
        }
    }

    /// What follows from any event: deadlines, questions that are due, and requests that can be sent.
    fn settle(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let scout = &self.scout;
        self.trades.expire(now, || scout.unavailable(), effects);
        self.reads.expire(now, || scout.unavailable(), effects);
        self.answer_leader_askers(effects);
        self.scout.on_time(self.work_waits(), now, effects);
        if self.suspect_at().is_some_and(|at| now >= at) {
            self.scout.look_around(now, effects);
        }
        self.send(now, effects);
    }

    fn send(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(leader) = self.leader() else { return };
        for lane in [&mut self.trades, &mut self.reads] {
            lane.abandon_calls_elsewhere(leader);
            while now >= self.resume_at && lane.can_send() {
                self.next_call += 1;
                effects.push(lane.send(self.next_call, leader, now));
            }
        }
    }

    fn answer_leader_askers(&mut self, effects: &mut Vec<Effect>) {
        if self.leader_askers.is_empty() || self.scout.is_sweeping() {
            return;
        }
        let result = match self.scout.route() {
            Some(route) => Ok(Answer::Leader(route.view())),
            None => Err(self.scout.unavailable()),
        };
        for id in self.leader_askers.drain(..) {
            effects.push(Effect::Answer { id, result: result.clone() });
        }
    }

    /// When the leader is suspected, if it does not answer before.
    fn suspect_at(&self) -> Option<Moment> {
        let sent = [self.trades.oldest_call(), self.reads.oldest_call()];
        sent.into_iter().flatten().min().map(|sent| sent.plus(SUSPECT_AFTER))
    }

    fn work_waits(&self) -> bool {
        self.trades.is_waiting() || self.reads.is_waiting()
    }
}

/// Whether a failed call certainly left no trace: it never reached the leader, or the leader said so.
fn is_certainly_not_taken(error: &CallError) -> bool {
    match error {
        CallError::Refused | CallError::Untrusted(_) => true,
        CallError::Answered(ApiError { outcome, .. }) => *outcome == Some(TradeFate::NotApplied),
        CallError::Timeout | CallError::Broken(_) => false,
    }
}
