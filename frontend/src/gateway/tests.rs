//! The state machine, driven by hand: each test plays the replicas and the clock.

mod deadlines;
mod sending;
mod sweeps;
mod tally;

use bazaar_domain::{
    ApiError, ErrorKind, IdempotencyKey, Moment, Outcome, Quantity, ReplicaId, Side, StockName, Trade, TradeFate,
    api::{Health, Role, ServiceAddress},
    internal::{OrderRead, OrderReadAnswer},
    order::Decision,
};
use bazaar_service::CallError;

use super::{
    machine::{Machine, Settings},
    words::{Answer, CallId, Effect, Event, ProbeId, Reply, Request, Work, WorkId},
};

const TRADE_DEADLINE_MS: u64 = 10_000;
const CHECK_EVERY_MS: u64 = 500;

/// The machine, its clock, and what it asked for and is not yet played back.
struct Bench {
    machine: Machine,
    now: u64,
    next_work: WorkId,
    probes: Vec<(ProbeId, ReplicaId)>,
    calls: Vec<(CallId, ReplicaId, Request)>,
    answers: Vec<(WorkId, Result<Answer, ApiError>)>,
}

impl Bench {
    /// Three replicas, and the first question of the first sweep is out.
    fn new() -> Self {
        let machine = Machine::new(Settings {
            replicas: vec![1, 2, 3],
            trade_deadline: std::time::Duration::from_millis(TRADE_DEADLINE_MS),
            health_check_interval: std::time::Duration::from_millis(CHECK_EVERY_MS),
        });
        let mut bench =
            Self { machine, now: 0, next_work: 0, probes: Vec::new(), calls: Vec::new(), answers: Vec::new() };
        bench.step(Event::Tick);
        bench
    }

    /// As [`Self::new`], with replica 3 confirmed as leader of term 5.
    fn with_leader() -> Self {
        let mut bench = Self::new();
        bench.probe_answers(3, leader(3, 5));
        assert_eq!(bench.machine.leader(), Some(3));
        bench
    }

    fn step(&mut self, event: Event) {
        for effect in self.machine.step(event, Moment::from_millis(self.now)) {
            match effect {
                Effect::Probe { probe, replica, .. } => self.probes.push((probe, replica)),
                Effect::Call { call, replica, request, .. } => self.calls.push((call, replica, request)),
                Effect::Answer { id, result } => self.answers.push((id, result)),
            }
        }
    }

    /// Lets the clock run to a moment, with a tick whenever the machine asked for one.
    fn run_to(&mut self, millis: u64) {
        while let Some(wake) = self.machine.next_wake().filter(|wake| *wake <= Moment::from_millis(millis)) {
            let wake = u64::try_from(wake.since_origin().as_millis()).unwrap();
            self.now = self.now.max(wake);
            self.step(Event::Tick);
        }
        self.now = millis;
    }

    /// As [`Self::run_to`], while every probe is refused or times out after 300 ms.
    fn run_to_with(&mut self, millis: u64, answer: impl Fn(ReplicaId) -> Result<Health, CallError>) {
        while self.now < millis {
            while let Some((probe, replica)) = self.probes.pop() {
                self.step(Event::ProbeDone { probe, result: answer(replica) });
            }
            self.run_to(self.now + 1);
        }
    }

    fn submit(&mut self, works: Vec<Work>) -> Vec<WorkId> {
        let works: Vec<(WorkId, Work)> = works.into_iter().zip(self.next_work..).map(|(work, id)| (id, work)).collect();
        let ids: Vec<WorkId> = works.iter().map(|(id, _)| *id).collect();
        self.next_work += ids.len() as u64;
        self.step(Event::Arrived(works));
        ids
    }

    fn trade(&mut self, key: &str) -> WorkId {
        self.submit(vec![Work::Trade(trade(key))])[0]
    }

    /// Plays the answer to the oldest open probe of a replica.
    fn probe_answers(&mut self, replica: ReplicaId, result: Result<Health, CallError>) {
        let position = self.probes.iter().position(|(_, asked)| *asked == replica).expect("it was asked");
        let (probe, _) = self.probes.remove(position);
        self.step(Event::ProbeDone { probe, result });
    }

    /// Plays the answer to the oldest open call: it is accepted, each trade under the next number.
    fn call_succeeds(&mut self) {
        let (call, _, request) = self.calls.remove(0);
        let reply = match request {
            Request::Trades(trades) => Reply::Decisions((1..).take(trades.len()).map(accepted).collect()),
            Request::Reads(reads) => Reply::Reads(reads.iter().map(|_| OrderReadAnswer::Order(None)).collect()),
        };
        self.step(Event::CallDone { call, result: Ok(reply) });
    }

    fn call_fails(&mut self, error: CallError) {
        let (call, ..) = self.calls.remove(0);
        self.step(Event::CallDone { call, result: Err(error) });
    }

    /// Whom the open probes ask, in the order in which they were sent.
    fn asked(&self) -> Vec<ReplicaId> {
        self.probes.iter().map(|(_, replica)| *replica).collect()
    }

    /// The keys of an open call.
    fn keys(&self, call: usize) -> Vec<String> {
        let Request::Trades(trades) = &self.calls[call].2 else { panic!("not a request of trades") };
        trades.iter().map(|trade| trade.key.to_string()).collect()
    }

    fn error_of(&self, id: WorkId) -> &ApiError {
        self.answer_of(id).as_ref().unwrap_err()
    }

    fn answer_of(&self, id: WorkId) -> &Result<Answer, ApiError> {
        &self.answers.iter().find(|(answered, _)| *answered == id).expect("it is answered").1
    }

    fn is_answered(&self, id: WorkId) -> bool {
        self.answers.iter().any(|(answered, _)| *answered == id)
    }
}

fn trade(key: &str) -> Trade {
    Trade {
        key: IdempotencyKey::new(key).unwrap(),
        name: StockName::new("GameStart").unwrap(),
        side: Side::Buy,
        quantity: Quantity::new(1).unwrap(),
    }
}

fn accepted(number: u64) -> Decision {
    Decision::Fresh(Outcome::Accepted { number, stock_version: number + 1 })
}

fn health(id: ReplicaId, role: Role, leads: Option<ReplicaId>, term: u64) -> Result<Health, CallError> {
    Ok(Health {
        id,
        role,
        leader: leads,
        term,
        ready: true,
        quorum_ack_age_ms: Some(12),
        last_log_index: Some(9),
        committed: Some(9),
        applied: Some(9),
        orders: 3,
        cluster_id: None,
        voters: Vec::new(),
    })
}

fn leader(id: ReplicaId, term: u64) -> Result<Health, CallError> {
    health(id, Role::Leader, Some(id), term)
}

fn follower(id: ReplicaId, leads: Option<ReplicaId>) -> Result<Health, CallError> {
    health(id, Role::Follower, leads, 5)
}

fn answered(kind: ErrorKind, fate: Option<TradeFate>, leads: Option<ReplicaId>) -> CallError {
    let mut error = ApiError::new(kind, kind.as_str()).with_leader(leads);
    error.outcome = fate;
    CallError::Answered(error)
}
