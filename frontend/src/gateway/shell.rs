//! The task around the gateway's state machine: it reads the clock, calls the replicas, and answers clients.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bazaar_domain::{
    ApiError, Moment, ReplicaId,
    api::{Data, Health, Role},
    config::ClusterConfig,
    internal::{OrderReadAnswer, SubmitTrades, Submitted},
};
use bazaar_service::{CallError, Caller, Clock, Origin, RequestId, remarks, traces::Span};
use metrics::{Counter, Histogram};
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
use crate::meters;

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
    fn of(service: &str, caller: &Caller) -> Self {
        let url = |path: &str| caller.url(service, path);
        Self { service: service.to_owned(), health: url("/health"), orders: url("/orders"), reads: url("/reads") }
    }
}

struct Pending {
    arrived: Instant,
    origin: Option<Origin>,
    /// The origin of the shared request that carried it last.
    shared: Option<Arc<Origin>>,
    /// How many requests have carried it: more than one if earlier ones failed.
    attempts: u32,
    reply: oneshot::Sender<Result<Answer, ApiError>>,
    _room: OwnedSemaphorePermit,
}

impl Pending {
    /// Says what became of a work that was slow, failed or is traced: the line that leads from a client's request to the
    /// shared ones, which are all that the leader and the catalog see.
    fn remark(&self, result: &Result<Answer, ApiError>) {
        let (Some(origin), took) = (&self.origin, self.arrived.elapsed()) else { return };
        if let Some(trace) = &origin.trace {
            let shared = self.shared.as_ref().and_then(|shared| shared.trace.as_ref());
            Span::note("gateway", trace, took, shared);
        }
        if self.attempts == 0 {
            // It went nowhere: the request's own line says all.
            return;
        }
        let failed = result.as_ref().err().filter(|error| error.code >= 500);
        if (failed.is_none() && !remarks::is_slow(took)) || !remarks::may_remark() {
            return;
        }
        tracing::warn!(
            request = origin.id.as_str(),
            travelled_as = self.shared.as_ref().map(|shared| shared.id.as_str()),
            attempts = self.attempts,
            kind = failed.map(|error| error.kind.as_str()),
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "work for the order leader was slow or failed"
        );
    }
}

/// Ends the span of a request to the leader, and says how the request ended if it failed.
fn end_call(span: Option<Span>, leader: ReplicaId, shared: Option<&Origin>, result: &Result<Reply, CallError>) {
    let failure = result.as_ref().err().map(ToString::to_string);
    if let Some(error) = failure.as_deref().filter(|_| remarks::may_remark()) {
        let request = shared.map(|origin| origin.id.as_str());
        tracing::info!(
            request,
            error,
            leader,
            "a request to the order leader failed; what has time left is sent again"
        );
    }
    let Some(mut span) = span else { return };
    span.set("bazaar.leader", leader.to_string());
    span.set("request.id", shared.map_or("", |origin| origin.id.as_str()).to_owned());
    if let Some(error) = failure {
        span.fail(error);
    }
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
        let addresses = addresses.map(|replica| (replica.id, Addresses::of(&replica.service.to_string(), &caller)));
        let addresses = addresses.collect();
        let meters = Meters {
            sent_trades: meters::GATEWAY_SENT_TRADES.counter(),
            sent_requests: meters::GATEWAY_SENT_REQUESTS.counter(),
            queue: meters::GATEWAY_QUEUE_SECONDS.histogram(),
            call: meters::GATEWAY_CALL_SECONDS.histogram(),
            failed_calls: meters::GATEWAY_FAILED_CALLS.counter(),
            new_leaders: meters::GATEWAY_NEW_LEADERS.counter(),
        };
        Self {
            machine: Machine::new(settings),
            caller,
            clock,
            addresses,
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
        for Submission { work, origin, reply, room } in arrivals.drain(..) {
            self.next_work += 1;
            let pending = Pending { arrived, origin, shared: None, attempts: 0, reply, _room: room };
            self.pending.insert(self.next_work, pending);
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
                let (shared, span) = self.share(&works);
                let result = self.call(replica, request, timeout, shared.as_ref().map(|origin| origin.id.clone()));
                self.tasks.spawn(async move {
                    let result = match &shared {
                        Some(origin) => origin.scope(result).await,
                        None => result.await,
                    };
                    end_call(span, replica, shared.as_deref(), &result);
                    Event::CallDone { call, result }
                });
            }
        }
    }

    /// The origin under which these works travel together, and the span of their request, if one of them is traced.
    fn share(&mut self, works: &[WorkId]) -> (Option<Arc<Origin>>, Option<Span>) {
        let origin_of = |work: &WorkId| self.pending.get(work).and_then(|pending| pending.origin.as_ref());
        let traces = works.iter().filter_map(origin_of).filter_map(|origin| origin.trace.clone());
        let span = Span::call("call the order leader", traces);
        let first = works.first().and_then(origin_of);
        let shared = first.map(|first| Arc::new(Origin::shared(first, works.len() - 1, span.as_ref())));
        if let Some(shared) = shared.as_ref().filter(|_| tracing::enabled!(tracing::Level::DEBUG)) {
            for id in works.iter().filter_map(origin_of).map(|origin| &origin.id) {
                tracing::debug!(request = id.as_str(), travels_as = shared.id.as_str(), "goes to the order leader");
            }
        }
        for work in works {
            if let Some(pending) = self.pending.get_mut(work) {
                pending.shared.clone_from(&shared);
                pending.attempts += 1;
            }
        }
        (shared, span)
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
            pending.remark(&result);
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
                self.addresses.insert(voter.id, Addresses::of(&voter.service, &self.caller));
            }
        }
    }

    fn note(&self, event: &Event) {
        if let Event::CallDone { result: Err(_), .. } = event {
            self.meters.failed_calls.increment(1);
        }
    }

    fn sight(&self, event: &Event) -> Sight {
        match event {
            // A late answer of an old leader, whose work was taken away from it, tells nothing of the one that leads now.
            Event::CallDone { call, .. } if !self.machine.waits_for(*call) => Sight::Nothing,
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
        meters::GATEWAY_LEADER_ID.gauge().set(leader.unwrap_or(0) as f64);
        self.leader = leader;
    }
}
