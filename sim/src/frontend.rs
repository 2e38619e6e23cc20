//! A frontend: the real gateway and the real cache, with what `shell.rs`, `lookup.rs` and `lease.rs` of the real one do
//! around them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bazaar_domain::{
    ApiError, ErrorKind, Moment, StockName, api::StockView, config::LeaseConfig, internal::SubscribeRequest,
};
use bazaar_frontend::{
    cache::{Cache, Lookup, Sharing, StockAnswer, Ticket},
    gateway::{
        machine::{Machine, Settings},
        words::{self, Answer, Effect as GatewayEffect, Event, Work, WorkId},
    },
};
use bazaar_service::CallError;

use crate::{
    message::{CallId, CallNames, Effects, Message, Process, Reply, Request, Response, StockReply, Timer},
    plan::{Action, OpId},
    raft::REPLICAS,
    replica::id_of,
    seen::Seen,
    slot::Setting,
};

/// Stocks in the cache: fewer than there are, so that entries are evicted.
const CACHE_SIZE: usize = 2;
/// How long a trade is held and retried.
const TRADE_DEADLINE: Duration = Duration::from_secs(3);
/// How often the leader is checked.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long the catalog may take to answer a lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a lookup waits for the catalog's lease.
const LOOKUP_HELD_MAX: Duration = Duration::from_secs(3);
/// Pause before the catalog is asked again.
const LOOKUP_PAUSE: Duration = Duration::from_millis(25);

/// What a call that is under way is for.
#[derive(Debug)]
enum Purpose {
    Probe(words::ProbeId),
    Work(words::CallId),
    Fetch(OpId),
    Lease { session: u64 },
}

/// A lookup that asks the catalog.
#[derive(Debug)]
struct Fetch {
    name: StockName,
    /// None if it goes past the cache.
    ticket: Option<Ticket>,
    give_up: Moment,
}

/// A lookup that waits for the fetch of another one.
#[derive(Debug, Clone, Copy)]
struct Waiter {
    op: OpId,
    sharing: Sharing,
}

/// The fetch under way of a stock, and who waits for it.
#[derive(Debug)]
struct Flight {
    waiters: Vec<Waiter>,
}

/// A running frontend.
#[derive(Debug)]
pub struct Frontend {
    life: u128,
    leases: LeaseConfig,
    cache: Cache,
    fetches: BTreeMap<OpId, Fetch>,
    flights: BTreeMap<StockName, Flight>,
    gateway: Machine,
    calls: CallNames,
    purposes: BTreeMap<CallId, Purpose>,
    /// When each lease was asked for, also those whose answer is not waited for any more.
    lease_calls: BTreeMap<CallId, Moment>,
}

impl Frontend {
    /// Starts with an empty cache.
    pub fn start(own: usize, setting: Setting, out: &mut Effects) -> Self {
        let Setting { life, leases, now } = setting;
        out.wake(now, Timer::Renew);
        let settings = Settings {
            replicas: (0..REPLICAS).map(id_of).collect(),
            trade_deadline: TRADE_DEADLINE,
            health_check_interval: HEALTH_CHECK_INTERVAL,
        };
        Self {
            life: (u128::from(life) << 8) | own as u128,
            leases,
            cache: Cache::new(CACHE_SIZE),
            fetches: BTreeMap::new(),
            flights: BTreeMap::new(),
            gateway: Machine::new(settings),
            calls: CallNames::of(Process::Frontend(own), life),
            purposes: BTreeMap::new(),
            lease_calls: BTreeMap::new(),
        }
    }

    /// How often its lease has lapsed.
    pub fn lapses(&self) -> u64 {
        self.cache.counts().lapses
    }

    /// A client wants something.
    pub fn asked(&mut self, op: OpId, action: &Action, now: Moment, out: &mut Effects) {
        let work = match action {
            Action::Lookup { stock } => return self.look_up(op, *stock, Sharing::default(), now, out),
            Action::Trade(trade) => Work::Trade(trade.clone()),
            Action::Read(read) => Work::Read(read.clone()),
        };
        self.gateway(Event::Arrived(vec![(op as WorkId, work)]), now, out);
    }

    /// Takes a message.
    pub fn receive(&mut self, from: Process, message: Message, now: Moment, out: &mut Effects) {
        match message {
            Message::Call(call, Request::Invalidate(batch)) => {
                let ack = self.cache.invalidate(self.life, &batch, now);
                out.answer(from, call, Ok(Response::Acknowledged(ack)));
            }
            Message::Answer(call, result) => self.answered(call, result, now, out),
            message => unreachable!("{from} does not send {message:?} to a frontend"),
        }
    }

    /// Looks at the clock, or goes on with what was waited for.
    pub fn wake(&mut self, timer: Timer, now: Moment, out: &mut Effects) {
        match timer {
            Timer::Tick => self.gateway(Event::Tick, now, out),
            Timer::CallTimeout(call) => self.answered(call, Err(CallError::Timeout), now, out),
            Timer::Renew => self.ask_lease(now, out),
            Timer::LookAgain(op) => self.fetch(op, now, out),
            timer => unreachable!("a frontend does not ask for {timer:?}"),
        }
    }

    fn call(
        &mut self,
        to: Process,
        request: Request,
        timeout: Duration,
        purpose: Purpose,
        now: Moment,
        out: &mut Effects,
    ) -> CallId {
        let call = self.calls.draw();
        self.purposes.insert(call, purpose);
        out.send(to, Message::Call(call, request));
        out.wake(now.plus(timeout), Timer::CallTimeout(call));
        call
    }

    fn answered(&mut self, call: CallId, result: Result<Response, CallError>, now: Moment, out: &mut Effects) {
        if let (Ok(Response::Subscribed(reply)), Some(asked_at)) = (&result, self.lease_calls.get(&call)) {
            // Also one that is late, or came before: the cache has to know.
            self.cache.lease_answer(reply, *asked_at, now);
        }
        match self.purposes.remove(&call) {
            Some(Purpose::Probe(probe)) => {
                let result = result.map(|response| match response {
                    Response::Health(health) => *health,
                    response => unreachable!("{response:?} is no health"),
                });
                self.gateway(Event::ProbeDone { probe, result }, now, out);
            }
            Some(Purpose::Work(call)) => {
                let result = result.map(|response| match response {
                    Response::Submitted(submitted) => words::Reply::Decisions(submitted.decisions),
                    Response::Reads(reads) => words::Reply::Reads(reads),
                    response => unreachable!("{response:?} answers no work"),
                });
                self.gateway(Event::CallDone { call, result }, now, out);
            }
            Some(Purpose::Fetch(op)) => self.fetched(op, result, now, out),
            Some(Purpose::Lease { session }) => self.lease_asked(call, session, now, out),
            None => {}
        }
    }

    fn gateway(&mut self, event: Event, now: Moment, out: &mut Effects) {
        for effect in self.gateway.step(event, now) {
            match effect {
                GatewayEffect::Probe { probe, replica, timeout } => {
                    self.call(replica_of(replica), Request::Health, timeout, Purpose::Probe(probe), now, out);
                }
                GatewayEffect::Call { call, replica, request, timeout, .. } => {
                    let request = match request {
                        words::Request::Trades(trades) => Request::Trades(trades),
                        words::Request::Reads(reads) => Request::Reads(reads),
                    };
                    self.call(replica_of(replica), request, timeout, Purpose::Work(call), now, out);
                }
                GatewayEffect::Answer { id, result } => {
                    let reply = match result {
                        Ok(Answer::Trade(decision)) => Reply::Decided(decision),
                        Ok(Answer::Read(answer)) => Reply::Read(answer),
                        Ok(answer) => unreachable!("nobody asked for {answer:?}"),
                        Err(error) => Reply::Failed(error),
                    };
                    out.reply(id as OpId, reply);
                }
            }
        }
        if let Some(at) = self.gateway.next_wake() {
            out.wake(at, Timer::Tick);
        }
    }

    fn look_up(&mut self, op: OpId, name: StockName, sharing: Sharing, now: Moment, out: &mut Effects) {
        let give_up = now.plus(LOOKUP_HELD_MAX);
        let ticket = match self.cache.lookup(&name, now) {
            Lookup::Hit(answer) => {
                out.saw(Seen::Hit);
                return out.reply(op, Reply::Stock(Some(answer.stock.clone())));
            }
            Lookup::Bypass(_) => None,
            Lookup::Miss(ticket) => {
                if let Some(flight) = self.flights.get_mut(&name) {
                    flight.waiters.push(Waiter { op, sharing });
                    return;
                }
                self.flights.insert(name, Flight { waiters: Vec::new() });
                Some(ticket)
            }
        };
        self.fetches.insert(op, Fetch { name, ticket, give_up });
        self.fetch(op, now, out);
    }

    fn fetch(&mut self, op: OpId, now: Moment, out: &mut Effects) {
        let Some(fetch) = self.fetches.get(&op) else { return };
        let request = Request::Stock(fetch.name);
        self.call(Process::Catalog, request, LOOKUP_TIMEOUT, Purpose::Fetch(op), now, out);
    }

    fn fetched(&mut self, op: OpId, result: Result<Response, CallError>, now: Moment, out: &mut Effects) {
        let Some(fetch) = self.fetches.get(&op) else { return };
        let reply = match result {
            Ok(Response::Stock(reply)) => Ok(reply),
            Err(CallError::Answered(_)) if now < fetch.give_up => {
                return out.wake(now.plus(LOOKUP_PAUSE), Timer::LookAgain(op));
            }
            _ => Err(ApiError::new(ErrorKind::CatalogUnavailable, "the catalog cannot be asked")),
        };
        let fetch = self.fetches.remove(&op).expect("it was there just now");
        let answer = reply.map(|StockReply { stock, index, cacheable }| {
            let answer = stock.map(|stock| Arc::new(StockAnswer::new(StockView::from(&stock), index)));
            if let (Some(answer), Some(ticket)) = (&answer, fetch.ticket) {
                self.cache.fill(ticket, answer, cacheable, now);
            }
            answer.map(|answer| answer.stock.clone())
        });
        let told = |answer: &Result<Option<StockView>, ApiError>| match answer {
            Ok(stock) => Reply::Stock(stock.clone()),
            Err(error) => Reply::Failed(error.clone()),
        };
        out.reply(op, told(&answer));
        let flight = if fetch.ticket.is_some() { self.flights.remove(&fetch.name) } else { None };
        for mut waiter in flight.into_iter().flat_map(|flight| flight.waiters) {
            if waiter.sharing.is_allowed() {
                out.reply(waiter.op, told(&answer));
            } else {
                waiter.sharing.waited();
                self.look_up(waiter.op, fetch.name, waiter.sharing, now, out);
            }
        }
    }

    fn ask_lease(&mut self, now: Moment, out: &mut Effects) {
        if self.purposes.values().any(|purpose| matches!(purpose, Purpose::Lease { .. })) {
            return;
        }
        let session = self.cache.lease_request(now);
        let request = SubscribeRequest { frontend: self.life, session, internal_address: String::new() };
        let timeout = self.leases.ttl() / 2;
        let call =
            self.call(Process::Catalog, Request::Subscribe(request), timeout, Purpose::Lease { session }, now, out);
        self.lease_calls.insert(call, now);
    }

    /// The lease was asked for: when to ask again.
    fn lease_asked(&mut self, call: CallId, session: u64, now: Moment, out: &mut Effects) {
        let renew_at = self.lease_calls[&call].plus(self.leases.renew_every());
        let at = if self.cache.lease_request(now) == session { renew_at } else { now };
        out.wake(self.cache.leased_until(now).map_or(at, |end| end.min(at)).max(now), Timer::Renew);
    }
}

fn replica_of(id: u64) -> Process {
    Process::Replica(usize::try_from(id - 1).expect("ids are small"))
}
