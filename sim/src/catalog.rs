//! The catalog: the real ledger and the real decisions, in the order in which `catalog.rs`, `push.rs` and `lease.rs` of the
//! real one call them.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use bazaar_catalog::{
    incoming::{Statuses, TakenBatch, replaced_by},
    ledger::{Advance, Change, InventoryCopy, Ledger, Next, SendInvalidation, Serving},
};
use bazaar_domain::{
    ApiError, ErrorKind, Moment,
    config::LeaseConfig,
    internal::{InventorySnapshot, PublishBatch},
};
use bazaar_service::CallError;
use rand::{RngExt, rngs::SmallRng};

use crate::{
    message::{CallId, CallNames, Effects, Message, Process, Request, Response, StockReply, Timer},
    raft::REPLICAS,
    seen::{Seen, Tally},
    slot::Setting,
};

/// Publishes taken at a time.
const PUBLISHES_MAX: usize = 8;
/// How long one attempt to push may take.
const PUSH_TIMEOUT: Duration = Duration::from_millis(300);
/// Pause after a failed one.
const PUSH_PAUSE: Duration = Duration::from_millis(25);
/// How long a replica may take to answer a lease request.
const LEASE_TIMEOUT: Duration = Duration::from_millis(300);
/// Pause before the lease is asked for again after nobody gave one.
const LEASE_PAUSE: Duration = Duration::from_millis(30);
/// Copies that a power cut may bring back, the newest included.
const COPIES_KEPT: usize = 3;

/// What survives a crash: the newest copies, of which a power cut leaves one.
pub type Disk = VecDeque<InventoryCopy>;

/// A publish that waits or is at work.
#[derive(Debug)]
struct Publish {
    from: Process,
    call: CallId,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Batch(Rc<PublishBatch>),
    Inventory(Rc<InventorySnapshot>),
}

/// The change that waits for acks.
#[derive(Debug)]
struct Exposing {
    from: Process,
    call: CallId,
    statuses: Statuses,
    pushes: BTreeMap<u128, SendInvalidation>,
}

/// A running catalog.
#[derive(Debug)]
pub struct Catalog {
    ledger: Ledger,
    leases: LeaseConfig,
    disk: Disk,
    waiting: VecDeque<Publish>,
    exposing: Option<Exposing>,
    /// The frontend, by its life, that each push went to.
    pushes: BTreeMap<CallId, u128>,
    /// Which process each frontend's life is.
    frontends: BTreeMap<u128, Process>,
    known_leader: Option<usize>,
    /// Lease requests under way, with when they were sent.
    asked: BTreeMap<CallId, (usize, Moment)>,
    calls: CallNames,
}

impl Catalog {
    /// Starts on a disk.
    pub fn start(disk: Disk, setting: Setting, out: &mut Effects) -> Self {
        let Setting { life, leases, now } = setting;
        let copy = disk.back().cloned().unwrap_or_default();
        out.wake(now, Timer::Renew);
        Self {
            ledger: Ledger::new(life, leases, copy, now),
            leases,
            disk,
            waiting: VecDeque::new(),
            exposing: None,
            pushes: BTreeMap::new(),
            frontends: BTreeMap::new(),
            known_leader: None,
            asked: BTreeMap::new(),
            calls: CallNames::of(Process::Catalog, life),
        }
    }

    /// What a crash leaves.
    pub fn crash(mut self, rng: &mut SmallRng, tally: &mut Tally) -> Disk {
        if !self.disk.is_empty() {
            let kept = rng.random_range(1..=self.disk.len());
            tally.add(Seen::CopyLost, u64::from(kept < self.disk.len()));
            self.disk.truncate(kept);
        }
        self.disk
    }

    /// The log index up to which it shows everything.
    pub fn exposed(&self) -> u64 {
        self.ledger.exposed()
    }

    /// Whether it answers lookups.
    pub fn is_ready(&self, now: Moment) -> bool {
        self.ledger.serving(now) == Serving::Yes
    }

    /// Takes a message.
    pub fn receive(&mut self, from: Process, message: Message, now: Moment, out: &mut Effects) {
        match message {
            Message::Call(call, request) => self.called(from, call, request, now, out),
            Message::Answer(call, result) => self.answered(call, result, now, out),
            message => unreachable!("{from} does not send {message:?} to the catalog"),
        }
        self.go_on(now, out);
    }

    /// Looks at the clock, or goes on with what was waited for.
    pub fn wake(&mut self, timer: Timer, now: Moment, out: &mut Effects) {
        match timer {
            Timer::Tick => {}
            Timer::Renew if self.asked.is_empty() => self.ask_lease(now, out),
            Timer::Renew => {}
            Timer::PushAgain(frontend) => self.push(frontend, now, out),
            Timer::CallTimeout(call) => self.answered(call, Err(CallError::Timeout), now, out),
            timer => unreachable!("the catalog does not ask for {timer:?}"),
        }
        self.go_on(now, out);
    }

    fn called(&mut self, from: Process, call: CallId, request: Request, now: Moment, out: &mut Effects) {
        let content = match request {
            Request::Stock(name) => {
                let reading = self.ledger.lookup(name, now);
                let reply = StockReply { stock: reading.value, index: reading.index, cacheable: reading.cacheable };
                let result = match reading.serving {
                    Serving::Yes => Ok(Response::Stock(reply)),
                    _ => Err(ApiError::new(ErrorKind::CatalogUnavailable, "no lease")),
                };
                return out.answer(from, call, result);
            }
            Request::Subscribe(request) => {
                self.frontends.insert(request.frontend, from);
                let reply = self.ledger.subscribe(&request, now);
                return out.answer(from, call, Ok(Response::Subscribed(reply)));
            }
            Request::Publish(batch) => Content::Batch(batch),
            Request::Inventory(snapshot) => Content::Inventory(snapshot),
            request => unreachable!("nobody asks the catalog for {request:?}"),
        };
        if self.waiting.len() >= PUBLISHES_MAX {
            return out.answer(from, call, Err(ApiError::new(ErrorKind::Overloaded, "too many publishes wait")));
        }
        self.waiting.push_back(Publish { from, call, content });
    }

    /// Exposes what may be exposed, and begins what waits.
    fn go_on(&mut self, now: Moment, out: &mut Effects) {
        loop {
            if let Some(exposing) = self.exposing.take() {
                match self.ledger.advance(now) {
                    Advance::Exposed(_) => {
                        let reply = self.ledger.reply(exposing.statuses, now);
                        out.answer(exposing.from, exposing.call, Ok(Response::Published(reply)));
                    }
                    Advance::Waits(at) => {
                        out.wake(at, Timer::Tick);
                        self.exposing = Some(exposing);
                        return;
                    }
                }
            }
            let Some(publish) = self.waiting.pop_front() else { return };
            self.begin(publish, now, out);
        }
    }

    fn begin(&mut self, publish: Publish, now: Moment, out: &mut Effects) {
        let Publish { from, call, content } = publish;
        let (change, statuses) = match self.decided(&content) {
            Err(error) => return out.answer(from, call, Err(error)),
            Ok(None) => {
                let reply = self.ledger.reply(Vec::new(), now);
                return out.answer(from, call, Ok(Response::Published(reply)));
            }
            Ok(Some(decided)) => decided,
        };
        self.write(&change, self.ledger.applied());
        let sends = self.ledger.begin(change, now);
        let pushes: BTreeMap<u128, SendInvalidation> = sends.into_iter().map(|send| (send.frontend, send)).collect();
        let told: Vec<u128> = pushes.keys().copied().collect();
        self.exposing = Some(Exposing { from, call, statuses, pushes });
        for frontend in told {
            self.push(frontend, now, out);
        }
    }

    /// What is sent as a change, if it is taken.
    fn decided(&self, content: &Content) -> Result<Option<(Change, Statuses)>, ApiError> {
        match content {
            Content::Batch(batch) => Ok(TakenBatch::of(&self.ledger, batch)?.map(TakenBatch::decide)),
            Content::Inventory(snapshot) => {
                let is_taken = self.ledger.takes_snapshot(snapshot)?;
                Ok(is_taken.then(|| (replaced_by(InventorySnapshot::clone(snapshot)), Vec::new())))
            }
        }
    }

    /// Writes a change to the disk, as the real store does: all of it or nothing.
    fn write(&mut self, change: &Change, applied: u64) {
        if matches!(change.next, Next::Changed(_)) && change.through <= applied {
            return;
        }
        let mut copy = self.disk.back().cloned().unwrap_or_default();
        copy.cluster_id = Some(change.cluster_id.clone());
        copy.applied = change.through;
        match &change.next {
            Next::Changed(stocks) => copy.stocks.extend(stocks.iter().map(|stock| (stock.name, *stock))),
            Next::Whole(stocks) => copy.stocks.clone_from(stocks),
        }
        self.disk.push_back(copy);
        if self.disk.len() > COPIES_KEPT {
            self.disk.pop_front();
        }
    }

    /// Sends an invalidation, again and again until its ack is not owed any more.
    fn push(&mut self, frontend: u128, now: Moment, out: &mut Effects) {
        let Some(send) = self.exposing.as_ref().and_then(|exposing| exposing.pushes.get(&frontend)) else { return };
        if !self.ledger.owes(send) {
            return;
        }
        let Some(to) = self.frontends.get(&frontend) else { return };
        let call = self.calls.draw();
        self.pushes.insert(call, frontend);
        out.send(*to, Message::Call(call, Request::Invalidate(Rc::new(send.batch.clone()))));
        out.wake(now.plus(PUSH_TIMEOUT), Timer::CallTimeout(call));
    }

    fn answered(&mut self, call: CallId, result: Result<Response, CallError>, now: Moment, out: &mut Effects) {
        if let Some((replica, asked_at)) = self.asked.remove(&call) {
            return self.lease_answered(replica, asked_at, result, now, out);
        }
        let counts = match result {
            // Also one that nobody waits for any more, or that came before: the ledger has to know.
            Ok(Response::Acknowledged(ack)) => self.ledger.acknowledge(ack, now),
            _ => false,
        };
        if let Some(frontend) = self.pushes.remove(&call).filter(|_| !counts) {
            out.wake(now.plus(PUSH_PAUSE), Timer::PushAgain(frontend));
        }
    }

    /// Asks the known leader for a lease, or all replicas if none is known.
    fn ask_lease(&mut self, now: Moment, out: &mut Effects) {
        let asked: Vec<usize> = match self.known_leader {
            Some(leader) => vec![leader],
            None => (0..REPLICAS).rev().collect(),
        };
        for replica in asked {
            let call = self.calls.draw();
            self.asked.insert(call, (replica, now));
            let request = Request::Lease(self.ledger.incarnation());
            out.send(Process::Replica(replica), Message::Call(call, request));
            out.wake(now.plus(LEASE_TIMEOUT), Timer::CallTimeout(call));
        }
    }

    fn lease_answered(
        &mut self,
        replica: usize,
        asked_at: Moment,
        result: Result<Response, CallError>,
        now: Moment,
        out: &mut Effects,
    ) {
        if let Ok(Response::Lease(grant)) = result {
            let duration = Duration::from_micros(grant.duration_micros);
            self.ledger.lease_granted(&grant.cluster_id, asked_at, duration, grant.floor, now);
            self.known_leader = Some(replica);
            // The others' answers are not waited for.
            self.asked.clear();
            out.wake(asked_at.plus(self.leases.renew_every()), Timer::Renew);
        } else if self.asked.is_empty() {
            let asks_others_at_once = self.known_leader.take().is_some();
            out.wake(if asks_others_at_once { now } else { now.plus(LEASE_PAUSE) }, Timer::Renew);
        }
    }
}
