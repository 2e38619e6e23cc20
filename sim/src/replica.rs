//! An order replica: the real intake, books, publisher, release gate and standing, around an abstract Raft. What is
//! written here is what the tasks of the real one do (`node.rs`, `intake_task.rs`, `publish_task.rs`).

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bazaar_domain::{
    ApiError, Command, ErrorKind, Moment, Trade, TradeFate, api,
    internal::{ItemStatus, LeaseGrant, OrderRead, PublishBatch, PublishReply, Submitted},
    mutants::{Mutant, broken},
};
use bazaar_order_raft::{
    intake::{Effect as IntakeEffect, Event as IntakeEvent, Intake, ItemKind, ProposalKey, RequestKey},
    publish::{Effect as PublishEffect, Event as PublishEvent, Publisher, first_divergence},
    release::{Release, read_may_be_answered},
    standing::Standing,
    state_machine::recent::{RecentEntries, RecentEntry},
};
use bazaar_service::CallError;
use rand::{RngExt, rngs::SmallRng};

use crate::{
    clock::Micros,
    message::{CallId, CallNames, Effects, Message, Process, Request, Response, Timer},
    raft::{ELECTION_MIN_MICROS, ELECTION_SPREAD_MICROS, Outgoing, Position, Raft, Role},
    seen::{Seen, Tally},
    slot::Setting,
    state::{Applied, CLUSTER},
};

/// A leader that heard from no quorum for longer takes nothing, in milliseconds: the default of the configuration.
const QUORUM_ACK_AGE_MAX_MS: u64 = 600;
/// How long an order read may take at the leader.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Committed entries are applied within this time, in microseconds.
const APPLY_MICROS_MAX: u64 = 400;
/// Applied entries in the log before it is cut off behind a snapshot: few, so that short runs meet snapshots.
const KEPT_ENTRIES_MAX: u64 = 12;
/// Items published in one call.
const PUBLISH_ITEMS_MAX: usize = 32;

/// An instant for each moment: the standing counts in those.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn instant(moment: Moment) -> Instant {
    *ORIGIN + moment.since_origin()
}

/// What survives a crash.
#[derive(Debug)]
pub struct Disk {
    raft: Raft,
    /// What followers are sent that lack entries which are gone from the log.
    snapshot: Rc<Applied>,
    /// What is applied, as far as it was kept.
    state: Applied,
}

impl Disk {
    /// That of a replica which has only the stocks that every replica begins with.
    pub fn founding(own: usize, stocks: &Rc<Applied>) -> Self {
        Self { raft: Raft::new(own, stocks.last), snapshot: Rc::clone(stocks), state: Applied::clone(stocks) }
    }

    /// Whether this entry is on it.
    pub fn holds_durably(&self, position: Position) -> bool {
        self.raft.holds_durably(position)
    }
}

/// A request on its way into the log.
#[derive(Debug)]
struct Submission {
    trades: Vec<Trade>,
    from: Process,
    call: CallId,
}

/// An order read on its way.
#[derive(Debug)]
struct Reading {
    reads: Vec<OrderRead>,
    from: Process,
    call: CallId,
    read_index: u64,
    /// A message sent then or later must be answered by a quorum.
    confirmed_by: Moment,
    term: u64,
    give_up: Moment,
}

/// A running replica.
#[derive(Debug)]
pub struct Replica {
    own: usize,
    raft: Raft,
    snapshot: Rc<Applied>,
    state: Applied,
    recent: RecentEntries,
    release: Release,
    intake: Intake,
    submissions: BTreeMap<RequestKey, Submission>,
    next_request: RequestKey,
    /// Proposals by log index, with their term.
    proposals: BTreeMap<u64, (u64, ProposalKey)>,
    readings: Vec<Reading>,
    publisher: Publisher,
    publishing: Option<(CallId, Vec<Arc<RecentEntry>>)>,
    catalog_seen: u64,
    is_applying: bool,
    calls: CallNames,
    publish_timeout: Duration,
    sync_max: Micros,
}

impl Replica {
    /// Starts on a disk, whose syncs take at most so many microseconds.
    pub fn start(own: usize, disk: Disk, sync_max: Micros, setting: Setting, rng: &mut SmallRng) -> Self {
        let Disk { mut raft, snapshot, state } = disk;
        let Setting { life, leases, now } = setting;
        raft.wait_from(now, election_micros(rng));
        let recent = RecentEntries::starting_at(state.last.index);
        Self {
            own,
            raft,
            snapshot,
            state,
            recent,
            release: Release::new(leases),
            intake: Intake::default(),
            submissions: BTreeMap::new(),
            next_request: 0,
            proposals: BTreeMap::new(),
            readings: Vec::new(),
            publisher: Publisher::default(),
            publishing: None,
            catalog_seen: 0,
            is_applying: false,
            calls: CallNames::of(Process::Replica(own), life),
            publish_timeout: leases.granted(leases.ttl()) * 3,
            sync_max,
        }
    }

    /// What a crash leaves: of what was not synced any part from the front, in the log and in the state.
    pub fn crash(self, rng: &mut SmallRng, tally: &mut Tally) -> Disk {
        let unsynced = self.raft.unsynced();
        let kept = rng.random_range(0..=unsynced);
        let applied = rng.random_range(self.snapshot.last.index..=self.state.last.index);
        tally.add(Seen::EntriesLost, u64::from(kept < unsynced));
        tally.add(Seen::AppliedLost, u64::from(applied < self.state.last.index));
        let is_halved = broken(Mutant::ApplyInTwoWrites) && applied > self.snapshot.last.index && rng.random_bool(0.5);
        let mut state = self.state_at(applied - u64::from(is_halved));
        state.last = self.raft.position(applied).unwrap_or(state.last);
        let raft = self.raft.after_crash(kept, state.last);
        // The log begins behind what is applied, so nobody who lacks that can be helped with an older snapshot.
        let snapshot = if raft.purged == state.last { Rc::new(state.clone()) } else { self.snapshot };
        Disk { raft, snapshot, state }
    }

    /// The state as it was after an entry that is in the log behind the snapshot.
    fn state_at(&self, index: u64) -> Applied {
        let mut state = Applied::clone(&self.snapshot);
        for next in state.last.index + 1..=index {
            let entry = self.raft.entry(next);
            let position = Position { term: entry.term, index: next };
            state.apply(position, entry.command.as_deref(), &mut RecentEntries::starting_at(next - 1));
        }
        state
    }

    /// Whether it leads, and would take a trade.
    pub fn is_ready(&self, now: Moment) -> bool {
        self.admit(now).is_ok()
    }

    /// Whether it believes that it leads.
    pub fn leads(&self) -> bool {
        self.raft.role == Role::Leader
    }

    /// What it has applied.
    pub fn state(&self) -> &Applied {
        &self.state
    }

    /// Its term and the end of its log, for people.
    pub fn summary(&self) -> String {
        let last = self.raft.last();
        format!(
            "term {} log {} committed {} applied {}",
            self.raft.term, last.index, self.raft.committed, self.state.last.index
        )
    }

    /// Whether this entry is on its disk.
    pub fn holds_durably(&self, position: Position) -> bool {
        self.raft.holds_durably(position)
    }

    /// Takes a message.
    pub fn receive(&mut self, from: Process, message: Message, now: Moment, rng: &mut SmallRng, out: &mut Effects) {
        let mut outgoing = Vec::new();
        match (message, from) {
            (Message::Raft(message), Process::Replica(peer)) => {
                self.raft.receive(peer, message, now, election_micros(rng), &mut outgoing);
            }
            (Message::Snapshot { term, state }, Process::Replica(peer)) => {
                if self.raft.restored(peer, term, state.last, now, election_micros(rng)) {
                    self.state = Applied::clone(&state);
                    self.recent = RecentEntries::starting_at(state.last.index);
                    self.snapshot = state;
                    out.saw(Seen::SnapshotInstalled);
                    outgoing.push(Outgoing::Message(peer, self.raft.restored_answer(Moment::ZERO)));
                }
            }
            (Message::Call(call, request), from) => self.called(from, call, request, now, out),
            (Message::Answer(call, result), _) => self.answered(call, result, now, out),
            (message, from) => unreachable!("{from} does not send {message:?} to a replica"),
        }
        self.settle(outgoing, now, out);
    }

    /// Looks at the clock, or goes on with what was waited for.
    pub fn wake(&mut self, timer: Timer, now: Moment, rng: &mut SmallRng, out: &mut Effects) {
        let mut outgoing = Vec::new();
        match timer {
            Timer::Tick => {
                self.raft.tick(now, election_micros(rng), &mut outgoing);
                self.publish(PublishEvent::Tick, now, out);
            }
            Timer::Synced => self.raft.synced(&mut outgoing),
            Timer::Apply => self.apply(now, out),
            Timer::CallTimeout(call) => self.answered(call, Err(CallError::Timeout), now, out),
            timer => unreachable!("a replica does not ask for {timer:?}"),
        }
        self.settle(outgoing, now, out);
    }

    fn standing(&self) -> Standing {
        let leads = self.leads();
        Standing {
            role: match self.raft.role {
                Role::Leader => api::Role::Leader,
                Role::Follower => api::Role::Follower,
                Role::Candidate => api::Role::Candidate,
            },
            leader: self.raft.leader.map(id_of),
            term: self.raft.term,
            own_term_applied: leads && self.state.last.index >= self.raft.own_first,
            quorum_ack: self.raft.quorum_ack().map(instant),
            last_log_index: Some(self.raft.last().index),
            committed: None,
            applied: None,
            snapshot: None,
            voters: Vec::new(),
        }
    }

    fn admit(&self, now: Moment) -> Result<Standing, ApiError> {
        let standing = self.standing();
        standing.admit(QUORUM_ACK_AGE_MAX_MS, instant(now))?;
        Ok(standing)
    }

    fn called(&mut self, from: Process, call: CallId, request: Request, now: Moment, out: &mut Effects) {
        let result = match request {
            Request::Health => Ok(Response::Health(Box::new(self.health(now)))),
            Request::Lease(incarnation) => self.grant(incarnation, now, out).map(Response::Lease),
            Request::Trades(trades) => match self.admit(now) {
                Ok(_) => return self.submit(Submission { trades, from, call }, now, out),
                Err(error) => Err(error),
            },
            Request::Reads(reads) => match self.admit(now) {
                Ok(_) => return self.read(reads, from, call, now, out),
                Err(error) => Err(ApiError { outcome: None, ..error }),
            },
            request => unreachable!("nobody asks a replica for {request:?}"),
        };
        out.answer(from, call, result);
    }

    fn health(&self, now: Moment) -> api::Health {
        let standing = self.standing();
        let ready = match standing.role {
            api::Role::Leader => self.admit(now).is_ok(),
            api::Role::Follower => standing.leader.is_some(),
            _ => false,
        };
        api::Health {
            id: id_of(self.own),
            role: standing.role,
            leader: standing.leader,
            term: standing.term,
            ready,
            quorum_ack_age_ms: standing.quorum_ack_age_ms(instant(now)),
            last_log_index: standing.last_log_index,
            committed: Some(self.raft.committed),
            applied: Some(self.state.last.index),
            orders: self.state.totals().orders,
            cluster_id: Some(CLUSTER.into()),
            voters: Vec::new(),
        }
    }

    fn grant(&mut self, incarnation: u64, now: Moment, out: &mut Effects) -> Result<LeaseGrant, ApiError> {
        let standing = self.admit(now).map_err(|error| ApiError { outcome: None, ..error })?;
        if std::mem::replace(&mut self.catalog_seen, incarnation) != incarnation {
            self.publish(PublishEvent::CatalogSeen { incarnation }, now, out);
        }
        let refuse = || ApiError::new(ErrorKind::NoLeader, "no lease can be given now");
        let ack = self.raft.quorum_ack().ok_or_else(refuse)?;
        let floor = self.raft.committed.max(self.state.last.index);
        let granted = self.release.grant(ack, floor, now).ok_or_else(refuse)?;
        Ok(LeaseGrant {
            cluster_id: CLUSTER.into(),
            leader: id_of(self.own),
            term: standing.term,
            duration_micros: u64::try_from(granted.duration.as_micros()).unwrap_or(u64::MAX),
            floor: granted.floor,
            voters: Vec::new(),
        })
    }

    fn submit(&mut self, submission: Submission, now: Moment, out: &mut Effects) {
        let request = self.next_request;
        self.next_request += 1;
        let items = submission.trades.len();
        self.submissions.insert(request, submission);
        self.intake(IntakeEvent::Submit { request, kind: ItemKind::Trades, items }, now, out);
    }

    fn intake(&mut self, event: IntakeEvent, now: Moment, out: &mut Effects) {
        for effect in self.intake.step(event) {
            match effect {
                IntakeEffect::Propose { proposal, requests, .. } => {
                    let trades =
                        |request| std::mem::take(&mut self.submissions.get_mut(request).expect("it waits").trades);
                    let command = Command::Trades(requests.iter().flat_map(trades).collect());
                    self.propose(proposal, command, now, out);
                }
                IntakeEffect::Answer { request, index, decisions } => {
                    let submission = self.submissions.remove(&request).expect("each request is answered once");
                    let submitted = Response::Submitted(Submitted { log_index: index, decisions });
                    out.answer(submission.from, submission.call, Ok(submitted));
                }
                IntakeEffect::Unknown { request } => {
                    let error = ApiError::new(ErrorKind::OutcomeUnknown, "the leadership changed");
                    self.refuse(request, error.with_outcome(TradeFate::Unknown), out);
                }
                IntakeEffect::Overloaded { request } => {
                    let error = ApiError::new(ErrorKind::Overloaded, "too much to do");
                    self.refuse(request, error.with_outcome(TradeFate::NotApplied), out);
                }
            }
        }
    }

    fn refuse(&mut self, request: RequestKey, error: ApiError, out: &mut Effects) {
        let submission = self.submissions.remove(&request).expect("each request is answered once");
        out.answer(submission.from, submission.call, Err(error));
    }

    fn propose(&mut self, proposal: ProposalKey, command: Command, now: Moment, out: &mut Effects) {
        if self.raft.role != Role::Leader {
            return self.intake(IntakeEvent::ProposalFailed { proposal }, now, out);
        }
        let mut outgoing = Vec::new();
        let position = self.raft.propose(command, now, &mut outgoing);
        self.proposals.insert(position.index, (position.term, proposal));
        self.send(outgoing, out);
    }

    fn read(&mut self, reads: Vec<OrderRead>, from: Process, call: CallId, now: Moment, out: &mut Effects) {
        let skips = broken(Mutant::SkipReadIndex);
        let read_index = if skips { 0 } else { self.raft.committed.max(self.raft.own_first) };
        let (term, give_up) = (self.raft.term, now.plus(READ_TIMEOUT));
        // Only a message that is sent from now on proves that this replica still led when the read arrived.
        let confirmed_by = if skips { Moment::ZERO } else { now.plus(Duration::from_micros(1)) };
        self.readings.push(Reading { reads, from, call, read_index, confirmed_by, term, give_up });
        out.wake(confirmed_by, Timer::Tick);
        self.raft.heartbeat_now(confirmed_by);
    }

    /// Answers the reads that may be answered.
    fn answer_reads(&mut self, now: Moment, out: &mut Effects) {
        let released = self.released(now);
        for reading in std::mem::take(&mut self.readings) {
            if !self.leads() || self.raft.term != reading.term || now >= reading.give_up {
                let error = ApiError::new(ErrorKind::NoLeader, "the leadership changed while the read was confirmed");
                out.answer(reading.from, reading.call, Err(error));
                continue;
            }
            let is_confirmed = self.raft.quorum_ack().is_some_and(|ack| ack >= reading.confirmed_by);
            let is_applied = self.state.last.index >= reading.read_index;
            if is_confirmed && is_applied && read_may_be_answered(reading.read_index, released) {
                let (answers, shown): (Vec<_>, Vec<_>) = reading.reads.iter().map(|read| self.state.read(read)).unzip();
                // What it shows beyond the read index must be released too; if not, it is read again later.
                if shown.into_iter().all(|index| read_may_be_answered(index, released)) {
                    out.answer(reading.from, reading.call, Ok(Response::Reads(answers)));
                    continue;
                }
            }
            out.wake(reading.give_up, Timer::Tick);
            self.readings.push(reading);
        }
    }

    fn released(&self, now: Moment) -> u64 {
        self.release.released(now).min(self.state.last.index)
    }

    fn apply(&mut self, now: Moment, out: &mut Effects) {
        self.is_applying = false;
        while self.state.last.index < self.raft.committed {
            let index = self.state.last.index + 1;
            let entry = self.raft.entry(index);
            let position = Position { term: entry.term, index };
            let command = entry.command.clone();
            let (decisions, note) = self.state.apply(position, command.as_deref(), &mut self.recent);
            out.applied(note);
            if let Some((_, proposal)) = self.proposals.remove(&index).filter(|(term, _)| *term == position.term) {
                self.intake(IntakeEvent::Applied { proposal, index, decisions }, now, out);
            }
        }
        self.publish(PublishEvent::Applied(self.state.last.index), now, out);
        // A snapshot of what is not in the own log yet would be ahead of it after a crash.
        let is_long = self.state.last.index - self.raft.purged.index > KEPT_ENTRIES_MAX;
        if is_long && self.raft.holds_durably(self.state.last) {
            self.snapshot = Rc::new(self.state.clone());
            self.raft.purge(self.state.last.index - KEPT_ENTRIES_MAX / 2);
        }
    }

    fn publish(&mut self, event: PublishEvent, now: Moment, out: &mut Effects) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.publisher.step(event, now) {
                match effect {
                    PublishEffect::Exposed(index) => self.release.exposed(index),
                    PublishEffect::SendInventory { heals } => {
                        out.saw(Seen::InventorySent);
                        let request = Request::Inventory(Rc::new(self.state.inventory(heals)));
                        self.send_to_catalog(request, Vec::new(), now, out);
                    }
                    PublishEffect::SendAfter { previous } => {
                        let range = match previous {
                            None => None,
                            Some(previous) => match self.recent.after(previous, PUBLISH_ITEMS_MAX) {
                                Some(range) => Some(range),
                                None => {
                                    events.push(PublishEvent::Missing);
                                    continue;
                                }
                            },
                        };
                        let (through, sent) = range.map_or((0, Vec::new()), |range| (range.through, range.entries));
                        let batch = PublishBatch {
                            cluster_id: CLUSTER.into(),
                            previous: previous.unwrap_or(0),
                            through,
                            entries: sent.iter().map(|entry| entry.published.clone()).collect(),
                        };
                        self.send_to_catalog(Request::Publish(Rc::new(batch)), sent, now, out);
                    }
                }
            }
        }
    }

    fn send_to_catalog(&mut self, request: Request, sent: Vec<Arc<RecentEntry>>, now: Moment, out: &mut Effects) {
        let call = self.calls.draw();
        self.publishing = Some((call, sent));
        out.send(Process::Catalog, Message::Call(call, request));
        out.wake(now.plus(self.publish_timeout), Timer::CallTimeout(call));
    }

    fn answered(&mut self, call: CallId, result: Result<Response, CallError>, now: Moment, out: &mut Effects) {
        let Some((_, sent)) = self.publishing.take_if(|(publishing, _)| *publishing == call) else { return };
        let event = match result {
            Ok(Response::Published(reply)) => published(&sent, reply),
            _ => PublishEvent::Failed,
        };
        self.publish(event, now, out);
    }

    /// What follows from any event.
    fn settle(&mut self, mut outgoing: Vec<Outgoing>, now: Moment, out: &mut Effects) {
        self.follow_term(now, out);
        if self.raft.begins_sync() {
            out.wake_within(self.sync_max, Timer::Synced);
        }
        if !self.is_applying && self.raft.committed > self.state.last.index {
            self.is_applying = true;
            out.wake_within(APPLY_MICROS_MAX, Timer::Apply);
        }
        if self.intake.waits_for().is_some() {
            self.intake(IntakeEvent::Released(self.released(now)), now, out);
        }
        self.answer_reads(now, out);
        self.send(std::mem::take(&mut outgoing), out);
        let waits = self.intake.waits_for().is_some() || !self.readings.is_empty();
        let gate = if waits { self.release.next_change(now) } else { None };
        let wake = [Some(self.raft.wake_at()), gate, self.publisher.wake_at()].into_iter().flatten().min();
        if let Some(at) = wake {
            out.wake(at, Timer::Tick);
        }
    }

    /// Tells everybody whether this replica leads.
    fn follow_term(&mut self, now: Moment, out: &mut Effects) {
        let leads = self.leads().then_some(self.raft.term);
        if self.release.term() == leads {
            return;
        }
        match leads {
            Some(term) => {
                out.saw(Seen::Election);
                self.release.lead(term, now);
            }
            None => self.release.follow(),
        }
        for (_, (_, proposal)) in std::mem::take(&mut self.proposals) {
            self.intake(IntakeEvent::ProposalFailed { proposal }, now, out);
        }
        self.intake(IntakeEvent::Leading(leads.is_some()), now, out);
        self.publish(PublishEvent::Applied(self.state.last.index), now, out);
        self.publish(PublishEvent::Leading(leads.is_some()), now, out);
    }

    fn send(&self, outgoing: Vec<Outgoing>, out: &mut Effects) {
        for outgoing in outgoing {
            match outgoing {
                Outgoing::Message(to, message) => out.send(Process::Replica(to), Message::Raft(message)),
                Outgoing::Snapshot(to) => {
                    let state = Rc::new(self.snapshot.to_send());
                    let message = Message::Snapshot { term: self.raft.term, state };
                    out.send(Process::Replica(to), message);
                }
            }
        }
    }
}

fn published(sent: &[Arc<RecentEntry>], reply: PublishReply) -> PublishEvent {
    let ours: Vec<(u64, &[ItemStatus])> =
        sent.iter().map(|entry| (entry.published.index, &entry.statuses[..])).collect();
    let diverged = first_divergence(&ours, &reply.statuses).is_some();
    PublishEvent::Replied { reply, diverged }
}

/// The number that people know a replica by.
pub fn id_of(replica: usize) -> u64 {
    replica as u64 + 1
}

fn election_micros(rng: &mut SmallRng) -> u64 {
    ELECTION_MIN_MICROS + rng.random_range(0..ELECTION_SPREAD_MICROS)
}
