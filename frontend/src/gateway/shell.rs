//! The task around the gateway's state machine: it reads the clock, calls the replicas, and answers clients.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    time::{Duration, Instant},
};

use bazaar_domain::{
    ApiError, Moment, ReplicaId,
    api::{Data, Health, Role},
    config::ClusterConfig,
    internal::{OrderReadAnswer, SubmitTrades, Submitted},
};
use bazaar_service::{CallError, Caller, Clock, RequestId};
use metrics::{Counter, Histogram, counter, gauge, histogram};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinSet,
};

use super::{
    SharedSeen, Submission, locked,
    machine::{Machine, Settings},
    outages::{Outages, Sight},
    words::{Answer, Effect, Event, Reply, Request, WorkId},
};

/// Most submissions taken into the machine in one step.
const ARRIVALS_PER_STEP_MAX: usize = 1_024;
/// How long the task sleeps when the machine needs no tick; any event wakes it earlier.
const IDLE_SLEEP: Duration = Duration::from_secs(1);

struct Addresses {
    service: String,
    health: String,
    orders: String,
    reads: String,
}

impl Addresses {
    fn of(service: &str) -> Self {
        let url = |path: &str| format!("http://{service}/{path}");
        Self { service: service.to_owned(), health: url("health"), orders: url("orders"), reads: url("reads") }
    }
}

struct Pending {
    arrived: Instant,
    id: Option<RequestId>,
    reply: oneshot::Sender<Result<Answer, ApiError>>,
    _room: OwnedSemaphorePermit,
}

struct Meters {
    /// Trades sent, divided by requests sent, is the size of a shared request.
    sent_trades: Counter,
    sent_requests: Counter,
    /// How long the first trade of a request waited for it.
    queue: Histogram,
    call: Histogram,
    failed_calls: Counter,
    new_leaders: Counter,
}

/// Owns the machine.
pub(super) struct Shell {
    machine: Machine,
    caller: Caller,
    clock: Clock,
    addresses: BTreeMap<ReplicaId, Addresses>,
    /// Clients that wait. Bounded by the permits they hold.
    pending: HashMap<WorkId, Pending>,
    next_work: WorkId,
    /// Probes and calls under way. Bounded by the machine.
    tasks: JoinSet<Event>,
    leader: Option<ReplicaId>,
    outages: Outages,
    seen: SharedSeen,
    meters: Meters,
}

impl Shell {
    pub(super) fn new(config: &ClusterConfig, caller: Caller, clock: Clock, seen: SharedSeen) -> Self {
        let settings = Settings {
            replicas: config.replicas.iter().map(|replica| replica.id).collect(),
            trade_deadline: Duration::from_millis(config.frontend.trade_deadline_ms),
            health_check_interval: Duration::from_millis(config.frontend.health_check_interval_ms.max(1)),
        };
        let addresses = config.replicas.iter();
        let addresses = addresses.map(|replica| (replica.id, Addresses::of(&replica.service.to_string())));
        let meters = Meters {
            sent_trades: counter!("bazaar_frontend_gateway_sent_trades_total"),
            sent_requests: counter!("bazaar_frontend_gateway_sent_trade_requests_total"),
            queue: histogram!("bazaar_frontend_gateway_queue_seconds"),
            call: histogram!("bazaar_frontend_gateway_call_seconds"),
            failed_calls: counter!("bazaar_frontend_gateway_failed_calls_total"),
            new_leaders: counter!("bazaar_frontend_gateway_new_leaders_total"),
        };
        Self {
            machine: Machine::new(settings),
            caller,
            clock,
            addresses: addresses.collect(),
            pending: HashMap::new(),
            next_work: 0,
            tasks: JoinSet::new(),
            leader: None,
            outages: Outages::default(),
            seen,
            meters,
        }
    }

    /// Runs until the last handle is dropped.
    pub(super) async fn run(mut self, mut submissions: mpsc::Receiver<Submission>) {
        let mut arrivals = Vec::with_capacity(ARRIVALS_PER_STEP_MAX);
        loop {
            let now = self.clock.now();
            let wake = self.machine.next_wake().unwrap_or_else(|| now.plus(IDLE_SLEEP));
            let event = tokio::select! {
                taken = submissions.recv_many(&mut arrivals, ARRIVALS_PER_STEP_MAX) => {
                    if taken == 0 {
                        return;
                    }
                    self.take_in(&mut arrivals)
                }
                Some(done) = self.tasks.join_next() => match done {
                    Ok(event) => event,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = tokio::time::sleep_until(self.clock.instant(wake).into()) => Event::Tick,
            };
            self.note(&event);
            self.learn(&event);
            let sight = self.sight(&event);
            let now = self.clock.now();
            let effects = self.machine.step(event, now);
            for effect in effects {
                self.perform(effect);
            }
            self.note_leader();
            self.show(now, sight);
        }
    }

    fn take_in(&mut self, arrivals: &mut Vec<Submission>) -> Event {
        let mut works = Vec::with_capacity(arrivals.len());
        let arrived = Instant::now();
        for Submission { work, id, reply, room } in arrivals.drain(..) {
            self.next_work += 1;
            self.pending.insert(self.next_work, Pending { arrived, id, reply, _room: room });
            works.push((self.next_work, work));
        }
        Event::Arrived(works)
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { id, result } => self.answer(id, result),
            Effect::Probe { probe, replica, timeout } => {
                let (caller, url) = (self.caller.clone(), self.addresses[&replica].health.clone());
                self.tasks.spawn(async move {
                    let result = caller.get_json::<Data<Health>>(&url, timeout).await;
                    Event::ProbeDone { probe, result: result.map(|health| health.data) }
                });
            }
            Effect::Call { call, replica, request, timeout, works } => {
                if let (Request::Trades(_), Some(first)) = (&request, works.first().and_then(|id| self.pending.get(id)))
                {
                    self.meters.queue.record(first.arrived.elapsed());
                }
                let result = self.call(replica, request, timeout, self.shared_id(&works));
                self.tasks.spawn(async move { Event::CallDone { call, result: result.await } });
            }
        }
    }

    /// The id under which these works travel together: the first one's, and how many more there are.
    fn shared_id(&self, works: &[WorkId]) -> Option<RequestId> {
        let id_of = |work: &WorkId| self.pending.get(work).and_then(|pending| pending.id.as_ref());
        let shared = works.first().and_then(id_of)?.shared_with(works.len() - 1);
        if tracing::enabled!(tracing::Level::DEBUG) {
            for id in works.iter().filter_map(id_of) {
                tracing::debug!(request = id.as_str(), travels_as = shared.as_str(), "goes to the order leader");
            }
        }
        Some(shared)
    }

    fn call(
        &self,
        replica: ReplicaId,
        request: Request,
        timeout: Duration,
        id: Option<RequestId>,
    ) -> impl Future<Output = Result<Reply, CallError>> + use<> {
        let caller = self.caller.clone();
        let addresses = &self.addresses[&replica];
        let url = match &request {
            Request::Trades(trades) => {
                self.meters.sent_trades.increment(trades.len() as u64);
                self.meters.sent_requests.increment(1);
                addresses.orders.clone()
            }
            Request::Reads(_) => addresses.reads.clone(),
        };
        let call = self.meters.call.clone();
        async move {
            match request {
                Request::Trades(trades) => {
                    let started = Instant::now();
                    let submitted: Submitted =
                        caller.post(&url, &SubmitTrades { trades }, timeout, id.as_ref()).await?;
                    call.record(started.elapsed());
                    Ok(Reply::Decisions(submitted.decisions))
                }
                Request::Reads(reads) => {
                    let answers: Vec<OrderReadAnswer> = caller.post(&url, &reads, timeout, id.as_ref()).await?;
                    Ok(Reply::Reads(answers))
                }
            }
        }
    }

    fn answer(&mut self, id: WorkId, mut result: Result<Answer, ApiError>) {
        if let Ok(Answer::Leader(view)) = &mut result {
            view.address.clone_from(&self.addresses[&view.leader].service);
        }
        if let Some(pending) = self.pending.remove(&id) {
            // A client that went away takes no answer, which changes nothing.
            let _ = pending.reply.send(result);
        }
    }

    /// Learns where the voters are, before the machine hears of them.
    fn learn(&mut self, event: &Event) {
        let Event::ProbeDone { result: Ok(health), .. } = event else { return };
        for voter in &health.voters {
            // A follower's knowledge may be old: it can add an address, and only a leader can change one.
            let is_news = match self.addresses.get(&voter.id) {
                Some(known) => known.service != voter.service && health.role == Role::Leader && health.ready,
                None => true,
            };
            if is_news {
                tracing::info!(replica = voter.id, address = voter.service, "a voter is at this address");
                self.addresses.insert(voter.id, Addresses::of(&voter.service));
            }
        }
    }

    fn note(&self, event: &Event) {
        if let Event::CallDone { result: Err(error), .. } = event {
            self.meters.failed_calls.increment(1);
            tracing::debug!(%error, leader = self.leader, "a request to the order leader failed and is sent again");
        }
    }

    fn sight(&self, event: &Event) -> Sight {
        match event {
            Event::CallDone { result: Ok(Reply::Decisions(_)), .. } => Sight::Answer,
            Event::CallDone { result: Ok(Reply::Reads(_)), .. } => Sight::Contact,
            Event::ProbeDone { result: Ok(health), .. } if Some(health.id) == self.leader => Sight::Contact,
            _ => Sight::Nothing,
        }
    }

    /// Shows what is new about the way to the leader to those who look on.
    fn show(&mut self, now: Moment, sight: Sight) {
        let (leader, tally) = (self.machine.leader(), self.machine.tally());
        if self.outages.observe(now, sight, leader, || self.machine.waiting_since(), tally) {
            let mut seen = locked(&self.seen);
            seen.leader = leader;
            seen.outages = self.outages.all().copied().collect();
        }
    }

    fn note_leader(&mut self) {
        let leader = self.machine.leader();
        if leader == self.leader {
            return;
        }
        match leader {
            Some(replica) => {
                self.meters.new_leaders.increment(1);
                tracing::info!(replica, "requests go to this order leader");
            }
            None => tracing::info!(replica = self.leader, "this order leader is lost; looking for the next"),
        }
        gauge!("bazaar_frontend_gateway_leader_id").set(leader.unwrap_or(0) as f64);
        self.leader = leader;
    }
}
