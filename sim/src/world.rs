//! The world of a run: virtual time, the network, processes, and clients. One seed, one course of events.

use std::rc::Rc;

use bazaar_domain::config::LeaseConfig;
use bazaar_service::CallError;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::{
    catalog,
    clock::{Clock, MILLI, Micros, SECOND},
    faults::{Harm, Trouble},
    message::{CallId, Effect, Effects, Message, Process, Reply, Timer},
    plan::{Op, OpId, PROCESSES, Plan, Weather, listings},
    queue::Queue,
    raft::{Position, QUORUM, REPLICAS},
    replica::Disk,
    seen::{Seen, Tally},
    slot::{Left, Running, Setting, Slot},
    state::Applied,
    truth::{Before, Truth, Violation},
};

/// How late a repeated message is at most.
const REPEAT_AFTER_MAX: Micros = 3 * SECOND;
/// The same where everything is repeated for a while.
const REPEAT_SOON_MAX: Micros = SECOND;
/// A message takes at least this long.
const DELAY_MIN: Micros = 20;
/// A refused or broken connection is noticed within this time.
const NOTICE_MAX: Micros = 500;
/// A run of so many events stands still in circles.
const EVENTS_MAX: u64 = 5_000_000;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    Arrive { from: Process, to: Process, message: Box<Message>, is_copy: bool },
    Wake { process: Process, life: u64, timer: Timer },
    Ask(OpId),
    Begin(usize),
    Restart(Process),
}

/// A call that arrived and is not answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenCall {
    pub(crate) caller: Process,
    pub(crate) callee: Process,
    pub(crate) call: CallId,
}

/// Takes the story of a run, line by line.
pub struct Teller<'a> {
    /// Takes a line.
    pub line: &'a mut dyn FnMut(&str),
    /// Whether every message and every timer is told too.
    pub tells_all: bool,
}

/// See the module.
pub(crate) struct World<'a> {
    pub(crate) now: Micros,
    pub(crate) plan: &'a Plan,
    pub(crate) weather: Weather,
    pub(crate) rng: SmallRng,
    queue: Queue<Event>,
    /// By their places.
    pub(crate) slots: Vec<Slot>,
    pub(crate) troubles: Vec<Trouble>,
    /// Nothing starts the catalog now.
    pub(crate) catalog_stays_away: bool,
    pub(crate) open_calls: Vec<OpenCall>,
    /// The plan's operations, and those of the end.
    pub(crate) ops: Vec<Op>,
    pub(crate) before: Vec<Before>,
    pub(crate) replies: Vec<Option<Reply>>,
    pub(crate) truth: Truth,
    pub(crate) tally: Tally,
    leases: LeaseConfig,
    /// Kept for its allocation.
    effects: Effects,
    teller: Option<Teller<'a>>,
}

pub(crate) type Verdict = Result<(), Violation>;

/// Runs a plan to its end.
///
/// # Errors
/// The first promise that was broken.
pub fn run<'a>(plan: &'a Plan, teller: Option<Teller<'a>>) -> Result<Tally, Violation> {
    let mut world = World::new(plan, teller);
    world.run_until(plan.healed_at)?;
    world.end()?;
    Ok(world.tally)
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, teller: Option<Teller<'a>>) -> Self {
        let (stocks, note) = Applied::with_stocks(listings());
        let stocks = Rc::new(stocks);
        let slot = |(process, drift): (&Process, &i64)| {
            let left = match *process {
                Process::Replica(own) => Left::Replica(Box::new(Disk::founding(own, &stocks))),
                Process::Catalog => Left::Catalog(catalog::Disk::new()),
                Process::Frontend(_) => Left::Nothing,
            };
            Slot::new(Clock::drifting(*drift), left)
        };
        let mut world = Self {
            now: 0,
            plan,
            weather: plan.weather,
            rng: SmallRng::seed_from_u64(plan.seed ^ 0x5eed),
            queue: Queue::default(),
            slots: PROCESSES.iter().zip(&plan.drifts_ppm).map(slot).collect(),
            troubles: Vec::new(),
            catalog_stays_away: false,
            open_calls: Vec::new(),
            ops: plan.ops.clone(),
            before: vec![Before::default(); plan.ops.len()],
            replies: vec![None; plan.ops.len()],
            truth: Truth::new(note, plan.ops.iter()),
            tally: Tally::default(),
            leases: LeaseConfig::default(),
            effects: Effects::default(),
            teller,
        };
        for process in PROCESSES {
            world.start(process);
        }
        for (id, op) in plan.ops.iter().enumerate() {
            world.schedule(op.at, Event::Ask(id));
        }
        for (id, fault) in plan.faults.iter().enumerate() {
            world.schedule(fault.at, Event::Begin(id));
        }
        world
    }

    pub(crate) fn slot(&mut self, process: Process) -> &mut Slot {
        &mut self.slots[process.place()]
    }

    /// Tells what people want to know of a run.
    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) {
        if let Some(teller) = &mut self.teller {
            (teller.line)(&format!("{:>10.3} ms  {}", self.now as f64 / MILLI as f64, text()));
        }
    }

    /// Tells what happens between the lines.
    fn tell_detail(&mut self, text: impl FnOnce() -> String) {
        if self.teller.as_ref().is_some_and(|teller| teller.tells_all) {
            self.tell(text);
        }
    }

    pub(crate) fn schedule(&mut self, at: Micros, event: Event) {
        self.queue.schedule(at.max(self.now), event);
    }

    /// Lets happen what is due until then.
    pub(crate) fn run_until(&mut self, until: Micros) -> Verdict {
        while let Some((at, event)) = self.queue.next_until(until) {
            self.now = at;
            self.tally.count(Seen::Event);
            if self.tally.of(Seen::Event) > EVENTS_MAX {
                return Err(Violation(format!("{EVENTS_MAX} events, and no end")));
            }
            self.happen(event)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Verdict {
        let met = match &event {
            Event::Arrive { to, .. } => Some(*to),
            Event::Wake { process, .. } => Some(*process),
            Event::Ask(op) => Some(Process::Frontend(self.ops[*op].frontend)),
            Event::Begin(_) | Event::Restart(_) => None,
        };
        // What meets a process that stands still comes again when it goes on.
        let paused_until = met.map_or(0, |process| self.slot(process).paused_until);
        if paused_until > self.now {
            self.schedule(paused_until, event);
            return Ok(());
        }
        match event {
            Event::Arrive { from, to, message, is_copy } => self.arrive(from, to, message, is_copy),
            Event::Wake { process, life, timer } => self.wake(process, life, timer),
            Event::Ask(op) => self.ask(op),
            Event::Begin(fault) => {
                self.begin(self.plan.faults[fault]);
                Ok(())
            }
            Event::Restart(process) => {
                if process != Process::Catalog || !self.catalog_stays_away {
                    self.start(process);
                }
                Ok(())
            }
        }
    }

    fn arrive(&mut self, from: Process, to: Process, message: Box<Message>, is_copy: bool) -> Verdict {
        self.tell_detail(|| format!("{from} to {to}{}: {message:?}", if is_copy { ", again" } else { "" }));
        if self.slot(to).running.is_err() {
            self.tally.count(Seen::Lost);
            if let (Message::Call(call, _), false) = (&*message, is_copy) {
                self.break_call(OpenCall { caller: from, callee: to, call: *call }, CallError::Refused);
            }
            return Ok(());
        }
        if let Message::Call(call, _) = &*message {
            self.open_calls.push(OpenCall { caller: from, callee: to, call: *call });
        }
        self.act(to, |running, now, rng, out| running.receive(from, *message, now, rng, out))
    }

    fn wake(&mut self, process: Process, life: u64, timer: Timer) -> Verdict {
        let now = self.now;
        let slot = self.slot(process);
        if slot.life != life {
            return Ok(());
        }
        if timer == Timer::Tick && slot.next_tick.is_some_and(|at| at <= now) {
            slot.next_tick = None;
        }
        self.tell_detail(|| format!("{process} is woken: {timer:?}"));
        self.act(process, |running, now, rng, out| running.wake(timer, now, rng, out))
    }

    fn ask(&mut self, op: OpId) -> Verdict {
        let Op { frontend, action, .. } = self.ops[op].clone();
        let process = Process::Frontend(frontend);
        self.before[op] = self.truth.before(&action);
        self.tell(|| format!("a client asks {process}: {action} (operation {op})"));
        self.act(process, |running, now, _, out| match running {
            Running::Frontend(frontend) => frontend.asked(op, &action, now, out),
            _ => unreachable!("clients ask frontends"),
        })
    }

    /// Lets a process do something if it runs, and does what it wants done.
    fn act(
        &mut self,
        process: Process,
        act: impl FnOnce(&mut Running, bazaar_domain::Moment, &mut SmallRng, &mut Effects),
    ) -> Verdict {
        let slot = &mut self.slots[process.place()];
        let now = slot.clock.read(self.now);
        let Ok(running) = &mut slot.running else { return Ok(()) };
        act(running, now, &mut self.rng, &mut self.effects);
        self.carry_out(process)
    }

    /// Does what a process wants done.
    fn carry_out(&mut self, process: Process) -> Verdict {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.list.drain(..) {
            match effect {
                Effect::Send(to, message) => self.send(process, to, message),
                Effect::Wake(moment, timer) => {
                    let at = self.slot(process).clock.when(moment);
                    self.wake_at(process, at, timer);
                }
                Effect::WakeWithin(micros, timer) => {
                    let at = self.now + self.rng.random_range(1..=micros);
                    self.wake_at(process, at, timer);
                }
                Effect::Applied(note) => {
                    self.tell(|| format!("{process} applied {}: {} orders", note.position, note.orders));
                    self.truth.applied(*note)?;
                }
                Effect::Reply(op, reply) => self.reply(op, *reply)?,
                Effect::Saw(seen) => {
                    if seen == Seen::Election {
                        self.tell(|| format!("{process} has the votes"));
                    }
                    self.tally.count(seen);
                }
            }
        }
        self.effects = effects;
        Ok(())
    }

    fn wake_at(&mut self, process: Process, at: Micros, timer: Timer) {
        // A tick that found nothing to do would come again at the same time for ever.
        let at = at.max(self.now + u64::from(timer == Timer::Tick));
        let slot = self.slot(process);
        if timer == Timer::Tick {
            if slot.next_tick.is_some_and(|tick| tick <= at) {
                return;
            }
            slot.next_tick = Some(at);
        }
        let life = slot.life;
        self.schedule(at, Event::Wake { process, life, timer });
    }

    fn send(&mut self, from: Process, to: Process, message: Box<Message>) {
        if let Message::Answer(answered, _) = &*message {
            self.open_calls.retain(|open| open.call != *answered || open.callee != from);
        }
        let weather = self.weather;
        let meeting = |trouble: &&Trouble| trouble.until > self.now && trouble.meets(from, to, &message);
        let met = |harm: Harm| self.troubles.iter().filter(meeting).find(|trouble| trouble.harm == harm);
        let (is_cut, is_repeated) = (met(Harm::Lost).is_some(), met(Harm::Repeated).is_some());
        let held_until = met(Harm::Held).map_or(self.now, |trouble| trouble.until);
        let mut delay = held_until - self.now + self.rng.random_range(DELAY_MIN..=weather.delay_max);
        if self.chance(weather.late_ppm) {
            self.tally.count(Seen::Late);
            delay += self.rng.random_range(0..=weather.late_max);
        }
        if !is_cut && (is_repeated || self.chance(weather.repeated_ppm)) {
            self.tally.count(Seen::Repeated);
            let after_max = if is_repeated { REPEAT_SOON_MAX } else { REPEAT_AFTER_MAX };
            let later = self.now + delay + self.rng.random_range(1..=after_max);
            self.schedule(later, Event::Arrive { from, to, message: Box::new(message.repetition()), is_copy: true });
        }
        if is_cut || self.chance(weather.lost_ppm) {
            self.tally.count(Seen::Lost);
            self.tell_detail(|| format!("what {from} sends to {to} is lost: {message:?}"));
            return;
        }
        self.schedule(self.now + delay, Event::Arrive { from, to, message, is_copy: false });
    }

    fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.rng.random_ratio(ppm, 1_000_000)
    }

    fn reply(&mut self, op: OpId, reply: Reply) -> Verdict {
        let action = &self.ops[op].action;
        if let Some(teller) = &mut self.teller {
            let at = self.now as f64 / MILLI as f64;
            (teller.line)(&format!("{at:>10.3} ms  operation {op} ({action}) is answered: {reply:?}"));
        }
        let shown = self.truth.answered(action, self.before[op], &reply)?;
        if let Some(position) = shown {
            self.is_durable(position)?;
        }
        self.replies[op] = Some(reply);
        Ok(())
    }

    /// Whether a quorum has this entry on disk.
    fn is_durable(&self, position: Position) -> Verdict {
        let holders = self.slots.iter().filter(|slot| match &slot.running {
            Ok(Running::Replica(replica)) => replica.holds_durably(position),
            Err(Left::Replica(disk)) => disk.holds_durably(position),
            _ => false,
        });
        match holders.count() {
            QUORUM.. => Ok(()),
            count => Err(Violation(format!("{position} was answered while {count} of {REPLICAS} disks had it"))),
        }
    }

    /// Starts a process that does not run.
    pub(crate) fn start(&mut self, process: Process) {
        let slot = &mut self.slots[process.place()];
        if slot.running.is_ok() {
            return;
        }
        slot.life += 1;
        slot.next_tick = None;
        let setting = Setting { life: slot.life, leases: self.leases, now: slot.clock.read(self.now) };
        let left = std::mem::replace(&mut slot.running, Err(Left::Nothing)).expect_err("it does not run");
        let running = Running::start(process, left, self.plan.sync_max, setting, &mut self.rng, &mut self.effects);
        self.slot(process).running = Ok(running);
        self.tell(|| format!("{process} starts"));
        self.carry_out(process).expect("a start shows nothing");
    }

    /// The caller notices that its call came to nothing.
    pub(crate) fn break_call(&mut self, open: OpenCall, error: CallError) {
        let at = self.now + self.rng.random_range(1..=NOTICE_MAX);
        let message = Box::new(Message::Answer(open.call, Err(error)));
        self.schedule(at, Event::Arrive { from: open.callee, to: open.caller, message, is_copy: true });
    }
}
