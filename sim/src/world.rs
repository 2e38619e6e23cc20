//! The world of a run: virtual time, the network, processes that start and die, and clients. One seed, one course of events.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    rc::Rc,
};

use bazaar_domain::config::LeaseConfig;
use bazaar_service::CallError;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::{
    catalog::{self, Catalog},
    clock::{Clock, MILLI, Micros, SECOND},
    frontend::Frontend,
    message::{CallId, Effect, Effects, Message, Process, Reply, Timer},
    plan::{Action, FRONTENDS, Fault, Mishap, Op, OpId, Plan, Victim, Weather, listings, stocks, trade},
    raft::{Position, QUORUM, REPLICAS},
    replica::{Disk, Replica},
    state::Applied,
    truth::{Before, Truth, Violation},
};

/// How late a repeated message is at most.
const REPEAT_AFTER_MAX: Micros = 3 * SECOND;
/// A refused or broken connection is noticed within this time.
const NOTICE_MAX: Micros = 500;
/// After the faults there is a leader within this time.
const LEADER_WITHIN: Micros = 5 * SECOND;
/// And each frontend takes a trade within this one.
const TRADE_WITHIN: Micros = 10 * SECOND;
/// Then all have the same within this one.
const AGREE_WITHIN: Micros = 5 * SECOND;
/// How often it is looked whether that is so.
const LOOK_EVERY: Micros = 50 * MILLI;
/// A run of so many events stands still in circles.
const EVENTS_MAX: u64 = 5_000_000;

/// A process that runs.
#[derive(Debug)]
enum Running {
    Replica(Box<Replica>),
    Catalog(Box<Catalog>),
    Frontend(Box<Frontend>),
}

/// What a process leaves when it dies.
#[derive(Debug)]
enum Left {
    Replica(Disk),
    Catalog(catalog::Disk),
    Nothing,
}

/// A process, running or not.
#[derive(Debug)]
struct Slot {
    clock: Clock,
    life: u64,
    running: Result<Running, Left>,
    /// It stands still until then.
    paused_until: Micros,
    /// The earliest tick that is on its way.
    next_tick: Option<Micros>,
}

/// Something that will happen.
#[derive(Debug)]
enum Event {
    Arrive { from: Process, to: Process, message: Message, is_copy: bool },
    Wake { process: Process, life: u64, timer: Timer },
    Ask(OpId),
    Begin(usize),
    Restart(Process),
}

#[derive(Debug)]
struct Scheduled {
    at: Micros,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Nothing that `from` sends reaches `to` until then. `None` stands for everybody.
#[derive(Debug)]
struct Cut {
    from: Option<Process>,
    to: Option<Process>,
    until: Micros,
}

/// What a run was like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub events: u64,
    /// Operations that were answered with what was asked for.
    pub answered: u64,
    /// Operations that were refused, or left open.
    pub unanswered: u64,
    /// Orders at the end.
    pub orders: u64,
    /// Faults that met somebody.
    pub faults: u64,
    /// Messages that were lost or met nobody.
    pub lost: u64,
    /// Messages that arrived again.
    pub repeated: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.answered += other.answered;
        self.unanswered += other.unanswered;
        self.orders += other.orders;
        self.faults += other.faults;
        self.lost += other.lost;
        self.repeated += other.repeated;
    }
}

/// Where a run is told, line by line.
pub type Teller<'a> = Option<&'a mut dyn FnMut(String)>;

/// See the module.
pub struct World<'a> {
    now: Micros,
    plan: &'a Plan,
    weather: Weather,
    rng: SmallRng,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    slots: BTreeMap<Process, Slot>,
    cuts: Vec<Cut>,
    /// Calls that arrived and are not answered: callee, caller, call.
    open_calls: Vec<(Process, Process, CallId)>,
    /// The plan's operations, and those of the end.
    ops: Vec<Op>,
    before: Vec<Before>,
    replies: Vec<Option<Reply>>,
    truth: Truth,
    tally: Tally,
    leases: LeaseConfig,
    teller: Teller<'a>,
}

type Verdict = Result<(), Violation>;

/// Runs a plan to its end.
///
/// # Errors
/// The first promise that was broken.
pub fn run<'a>(plan: &'a Plan, teller: Teller<'a>) -> Result<Tally, Violation> {
    let mut world = World::new(plan, teller);
    world.run_faults()?;
    world.heal();
    world.recovers()?;
    world.agrees()?;
    world.truth.refused_trades_did_not_happen(&world.ops, &world.replies)?;
    world.tally.orders = world.truth.orders();
    Ok(world.tally)
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, teller: Teller<'a>) -> Self {
        let (stocks, note) = Applied::with_stocks(listings());
        let stocks = Rc::new(stocks);
        let mut world = Self {
            now: 0,
            plan,
            weather: plan.weather,
            rng: SmallRng::seed_from_u64(plan.seed ^ 0x5eed),
            queue: BinaryHeap::new(),
            order: 0,
            slots: BTreeMap::new(),
            cuts: Vec::new(),
            open_calls: Vec::new(),
            ops: plan.ops.clone(),
            before: vec![Before::default(); plan.ops.len()],
            replies: vec![None; plan.ops.len()],
            truth: Truth::new(note, plan.ops.iter()),
            tally: Tally::default(),
            leases: LeaseConfig::default(),
            teller,
        };
        for (process, drift) in processes().zip(&plan.drifts_ppm) {
            let left = match process {
                Process::Replica(own) => Left::Replica(Disk::founding(own, &stocks)),
                Process::Catalog => Left::Catalog(catalog::Disk::new()),
                Process::Frontend(_) => Left::Nothing,
            };
            let clock = Clock::drifting(*drift);
            world.slots.insert(process, Slot { clock, life: 0, running: Err(left), paused_until: 0, next_tick: None });
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

    fn tell(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.teller.is_some() {
            let line = format!("{:>10.3} ms  {}", self.now as f64 / MILLI as f64, text(self));
            if let Some(teller) = &mut self.teller {
                teller(line);
            }
        }
    }

    fn schedule(&mut self, at: Micros, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), order: self.order, event }));
    }

    /// Lets happen what is due until then.
    fn run_until(&mut self, until: Micros) -> Verdict {
        while let Some(Reverse(next)) = self.queue.peek()
            && next.at <= until
        {
            let Reverse(Scheduled { at, event, .. }) = self.queue.pop().expect("it was there just now");
            self.now = at;
            self.tally.events += 1;
            if self.tally.events > EVENTS_MAX {
                return Err(Violation(format!("{EVENTS_MAX} events, and no end")));
            }
            self.happen(event)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Verdict {
        match event {
            Event::Arrive { from, to, message, is_copy } => self.arrive(from, to, message, is_copy),
            Event::Wake { process, life, timer } => self.wake(process, life, timer),
            Event::Ask(op) => self.ask(op),
            Event::Begin(fault) => {
                self.begin(self.plan.faults[fault]);
                Ok(())
            }
            Event::Restart(process) => {
                self.start(process);
                Ok(())
            }
        }
    }

    /// Whether the process stands still now; then the event comes again when it goes on.
    fn is_paused(&mut self, process: Process, event: impl FnOnce() -> Event) -> bool {
        let until = self.slots[&process].paused_until;
        let is_paused = until > self.now;
        if is_paused {
            self.schedule(until, event());
        }
        is_paused
    }

    fn arrive(&mut self, from: Process, to: Process, message: Message, is_copy: bool) -> Verdict {
        if self.slots[&to].running.is_err() {
            self.tally.lost += 1;
            if let (Message::Call(call, _), false) = (&message, is_copy) {
                self.break_call(from, to, *call, CallError::Refused);
            }
            return Ok(());
        }
        if self.slots[&to].paused_until > self.now {
            self.is_paused(to, || Event::Arrive { from, to, message, is_copy });
            return Ok(());
        }
        if let Message::Call(call, _) = &message {
            self.open_calls.push((to, from, *call));
        }
        self.act(to, |running, now, rng, out| match running {
            Running::Replica(replica) => replica.receive(from, message, now, rng, out),
            Running::Catalog(catalog) => catalog.receive(from, message, now, out),
            Running::Frontend(frontend) => frontend.receive(from, message, now, out),
        })
    }

    fn wake(&mut self, process: Process, life: u64, timer: Timer) -> Verdict {
        let slot = self.slots.get_mut(&process).expect("every process has a slot");
        if slot.life != life || slot.running.is_err() {
            return Ok(());
        }
        if timer == Timer::Tick && slot.next_tick.is_some_and(|at| at <= self.now) {
            slot.next_tick = None;
        }
        if self.is_paused(process, || Event::Wake { process, life, timer }) {
            return Ok(());
        }
        self.act(process, |running, now, rng, out| match running {
            Running::Replica(replica) => replica.wake(timer, now, rng, out),
            Running::Catalog(catalog) => catalog.wake(timer, now, out),
            Running::Frontend(frontend) => frontend.wake(timer, now, out),
        })
    }

    fn ask(&mut self, op: OpId) -> Verdict {
        let Op { frontend, action, .. } = self.ops[op].clone();
        let process = Process::Frontend(frontend);
        self.before[op] = self.truth.before(&action);
        self.tell(|_| format!("a client asks {process}: {action} (operation {op})"));
        if self.slots[&process].running.is_err() || self.is_paused(process, || Event::Ask(op)) {
            return Ok(());
        }
        self.act(process, |running, now, _, out| match running {
            Running::Frontend(frontend) => frontend.asked(op, &action, now, out),
            _ => unreachable!("clients ask frontends"),
        })
    }

    /// Lets a process do something, and does what it wants done.
    fn act(
        &mut self,
        process: Process,
        act: impl FnOnce(&mut Running, bazaar_domain::Moment, &mut SmallRng, &mut Effects),
    ) -> Verdict {
        let mut effects = Effects::default();
        let slot = self.slots.get_mut(&process).expect("every process has a slot");
        let now = slot.clock.read(self.now);
        if let Ok(running) = &mut slot.running {
            act(running, now, &mut self.rng, &mut effects);
        }
        self.carry_out(process, effects)
    }

    fn carry_out(&mut self, process: Process, effects: Effects) -> Verdict {
        for effect in effects.list {
            match effect {
                Effect::Send(to, message) => self.send(process, to, message),
                Effect::Wake(moment, timer) => {
                    let at = self.slots[&process].clock.when(moment);
                    self.wake_at(process, at, timer);
                }
                Effect::WakeWithin(micros, timer) => {
                    let at = self.now + self.rng.random_range(1..=micros);
                    self.wake_at(process, at, timer);
                }
                Effect::Applied(note) => {
                    self.tell(|_| format!("{process} applied {:?}, {} orders", note.position, note.orders));
                    self.truth.applied(note)?;
                }
                Effect::Reply(op, reply) => self.reply(op, reply)?,
            }
        }
        Ok(())
    }

    fn wake_at(&mut self, process: Process, at: Micros, timer: Timer) {
        let at = at.max(self.now + u64::from(timer == Timer::Tick));
        let slot = self.slots.get_mut(&process).expect("every process has a slot");
        if timer == Timer::Tick {
            if slot.next_tick.is_some_and(|tick| tick <= at) {
                return;
            }
            slot.next_tick = Some(at);
        }
        let life = slot.life;
        self.schedule(at, Event::Wake { process, life, timer });
    }

    fn send(&mut self, from: Process, to: Process, message: Message) {
        if let Message::Answer(call, _) = &message {
            let call = *call;
            self.open_calls.retain(|(callee, _, open)| *open != call || *callee != from);
        }
        let weather = self.weather;
        let now = self.now;
        let is_cut = self
            .cuts
            .iter()
            .any(|cut| cut.until > now && cut.from.is_none_or(|cut| cut == from) && cut.to.is_none_or(|cut| cut == to));
        let chance = |rng: &mut SmallRng, ppm: u32| ppm > 0 && rng.random_ratio(ppm, 1_000_000);
        let mut delay = self.rng.random_range(20..=weather.delay_max.max(20));
        if chance(&mut self.rng, weather.late_ppm) {
            delay += self.rng.random_range(0..=weather.late_max);
        }
        if !is_cut && chance(&mut self.rng, weather.repeated_ppm) {
            self.tally.repeated += 1;
            let later = now + delay + self.rng.random_range(1..=REPEAT_AFTER_MAX);
            self.schedule(later, Event::Arrive { from, to, message: message.clone(), is_copy: true });
        }
        if is_cut || chance(&mut self.rng, weather.lost_ppm) {
            self.tally.lost += 1;
            return;
        }
        self.schedule(now + delay, Event::Arrive { from, to, message, is_copy: false });
    }

    fn reply(&mut self, op: OpId, reply: Reply) -> Verdict {
        let action = self.ops[op].action.clone();
        self.tell(|_| format!("operation {op} ({action}) is answered: {reply:?}"));
        let shown = self.truth.answered(&action, self.before[op], &reply)?;
        if let Some(position) = shown {
            self.is_durable(position)?;
        }
        self.replies[op] = Some(reply);
        Ok(())
    }

    /// Whether a quorum has this entry on disk.
    fn is_durable(&self, position: Position) -> Verdict {
        let holders = self.slots.values().filter(|slot| match &slot.running {
            Ok(Running::Replica(replica)) => replica.holds_durably(position),
            Err(Left::Replica(disk)) => disk.holds_durably(position),
            _ => false,
        });
        match holders.count() {
            QUORUM.. => Ok(()),
            count => {
                Err(Violation(format!("entry {position:?} was answered while {count} of {REPLICAS} disks had it")))
            }
        }
    }

    fn start(&mut self, process: Process) {
        let slot = self.slots.get_mut(&process).expect("every process has a slot");
        if slot.running.is_ok() {
            return;
        }
        slot.life += 1;
        slot.next_tick = None;
        slot.paused_until = 0;
        let (life, now) = (slot.life, slot.clock.read(self.now));
        let left = std::mem::replace(&mut slot.running, Err(Left::Nothing)).expect_err("it does not run");
        let mut effects = Effects::default();
        slot.running = Ok(match (process, left) {
            (Process::Replica(own), Left::Replica(disk)) => {
                let replica = Replica::start(own, life, disk, self.leases, now, &mut self.rng);
                effects.wake(now, Timer::Tick);
                Running::Replica(Box::new(replica))
            }
            (Process::Catalog, Left::Catalog(disk)) => {
                Running::Catalog(Box::new(Catalog::start(life, disk, self.leases, now, &mut effects)))
            }
            (Process::Frontend(own), Left::Nothing) => {
                Running::Frontend(Box::new(Frontend::start(own, life, self.leases, now, &mut effects)))
            }
            (process, left) => unreachable!("{process} does not leave {left:?}"),
        });
        self.tell(|_| format!("{process} starts"));
        self.carry_out(process, effects).expect("a start shows nothing");
    }

    fn begin(&mut self, fault: Fault) {
        let until = self.now + fault.lasts;
        match fault.mishap {
            Mishap::Crash(victim) => {
                if let Some(process) = self.met(victim) {
                    self.kill(process, until);
                }
            }
            Mishap::PowerCut => {
                for process in processes().filter(|process| !matches!(process, Process::Frontend(_))) {
                    self.kill(process, until);
                }
            }
            Mishap::Pause(victim) => {
                if let Some(process) = self.met(victim) {
                    self.tell(|_| format!("{process} stands still for {} ms", fault.lasts / MILLI));
                    self.slots.get_mut(&process).expect("every process has a slot").paused_until = until;
                }
            }
            Mishap::CutOff(victim) => {
                if let Some(process) = self.met(victim) {
                    self.tell(|_| format!("{process} is cut off for {} ms", fault.lasts / MILLI));
                    self.cuts.push(Cut { from: Some(process), to: None, until });
                    self.cuts.push(Cut { from: None, to: Some(process), until });
                }
            }
            Mishap::OneWay(from, to) => {
                self.tally.faults += 1;
                self.tell(|_| format!("nothing from {from} reaches {to} for {} ms", fault.lasts / MILLI));
                self.cuts.push(Cut { from: Some(from), to: Some(to), until });
            }
        }
    }

    /// Whom a fault meets now.
    fn met(&mut self, victim: Victim) -> Option<Process> {
        let process = match victim {
            Victim::Process(process) => process,
            Victim::Leader => {
                let leads = |slot: &Slot| matches!(&slot.running, Ok(Running::Replica(replica)) if replica.leads());
                *self.slots.iter().find(|(_, slot)| leads(slot))?.0
            }
        };
        let runs = self.slots[&process].running.is_ok();
        self.tally.faults += u64::from(runs);
        runs.then_some(process)
    }

    fn kill(&mut self, process: Process, until: Micros) {
        let slot = self.slots.get_mut(&process).expect("every process has a slot");
        let running = match std::mem::replace(&mut slot.running, Err(Left::Nothing)) {
            Ok(running) => running,
            Err(left) => {
                slot.running = Err(left);
                return;
            }
        };
        slot.running = Err(match running {
            Running::Replica(replica) => Left::Replica(replica.crash(&mut self.rng)),
            Running::Catalog(catalog) => Left::Catalog(catalog.crash(&mut self.rng)),
            Running::Frontend(_) => Left::Nothing,
        });
        self.tell(|_| format!("{process} dies"));
        let (its, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open_calls).into_iter().partition(|(callee, _, _)| *callee == process);
        self.open_calls = others.into_iter().filter(|(_, caller, _)| *caller != process).collect();
        for (callee, caller, call) in its {
            self.break_call(caller, callee, call, CallError::Broken("the connection broke".into()));
        }
        self.schedule(until, Event::Restart(process));
    }

    /// The caller notices that its call came to nothing.
    fn break_call(&mut self, caller: Process, callee: Process, call: CallId, error: CallError) {
        let at = self.now + self.rng.random_range(1..=NOTICE_MAX);
        let message = Message::Answer(call, Err(error));
        self.schedule(at, Event::Arrive { from: callee, to: caller, message, is_copy: true });
    }

    fn run_faults(&mut self) -> Verdict {
        self.run_until(self.plan.healed_at)
    }

    /// Everything works again.
    fn heal(&mut self) {
        self.tell(|_| "all faults are over".into());
        self.weather = Weather::CALM;
        self.cuts.clear();
        for process in processes() {
            self.start(process);
            // What waits for the end of a pause is scheduled for then already: it is late, and nothing worse.
        }
    }

    /// Within bounds there is a leader, and each frontend takes a trade.
    fn recovers(&mut self) -> Verdict {
        let healed_at = self.now;
        self.wait_for(LEADER_WITHIN + self.pauses_end(), "no replica leads", |world| {
            world.slots.values().any(|slot| {
                let now = slot.clock.read(world.now);
                matches!(&slot.running, Ok(Running::Replica(replica)) if replica.is_ready(now))
            })
        })?;
        let until = healed_at + self.pauses_end() + TRADE_WITHIN;
        for frontend in 0..FRONTENDS {
            let stock = stocks().next().expect("there are stocks");
            let action = Action::Trade(trade(&format!("last-{frontend}"), stock, bazaar_domain::Side::Sell, 1));
            while !self.is_done(frontend, &action)? {
                if self.now >= until {
                    return Err(Violation(format!("frontend {} takes no trade after all faults", frontend + 1)));
                }
            }
        }
        Ok(())
    }

    /// When the last pause ends, from now.
    fn pauses_end(&self) -> Micros {
        self.slots.values().map(|slot| slot.paused_until.saturating_sub(self.now)).max().unwrap_or(0)
    }

    /// Has a client do something, and waits for its end. Returns whether it was done.
    fn is_done(&mut self, frontend: usize, action: &Action) -> Result<bool, Violation> {
        let op = Op { at: self.now, frontend, action: action.clone() };
        self.truth.expect(&op);
        let id = self.ops.len();
        self.ops.push(op);
        self.before.push(Before::default());
        self.replies.push(None);
        self.schedule(self.now, Event::Ask(id));
        self.wait_for(TRADE_WITHIN, "a client is never answered", |world| world.replies[id].is_some())?;
        Ok(!matches!(self.replies[id], Some(Reply::Failed(_))))
    }

    fn wait_for(&mut self, within: Micros, otherwise: &str, is_so: impl Fn(&Self) -> bool) -> Verdict {
        let until = self.now + within;
        while !is_so(self) {
            if self.now >= until {
                return Err(Violation(format!(
                    "{otherwise} {} ms after all faults\n{}",
                    within / MILLI,
                    self.summary()
                )));
            }
            self.run_until(self.now + LOOK_EVERY)?;
        }
        Ok(())
    }

    /// In the end all replicas and the catalog have the same, and frontends show the newest.
    fn agrees(&mut self) -> Verdict {
        self.wait_for(AGREE_WITHIN, "replicas and catalog differ", |world| {
            let mut applied = Vec::new();
            let mut exposed = 0;
            for slot in world.slots.values() {
                match &slot.running {
                    Ok(Running::Replica(replica)) => {
                        applied.push((replica.state().last.index, replica.state().totals()))
                    }
                    Ok(Running::Catalog(catalog)) => exposed = catalog.exposed(),
                    _ => {}
                }
            }
            applied.windows(2).all(|pair| pair[0] == pair[1]) && applied[0].0 == exposed
        })?;
        // A trade that was held on its way may still come and be taken.
        let newest: BTreeMap<_, u64> = stocks().map(|stock| (stock, self.truth.newest(stock))).collect();
        for frontend in 0..FRONTENDS {
            for stock in stocks() {
                if !self.is_done(frontend, &Action::Lookup { stock })? {
                    return Err(Violation(format!(
                        "frontend {} does not answer a lookup of {stock} in the end",
                        frontend + 1
                    )));
                }
                let Some(Some(Reply::Stock(Some(view)))) = self.replies.last() else { unreachable!("it was answered") };
                if view.version < newest[&stock] {
                    return Err(Violation(format!("in the end frontend {} shows {view:?}", frontend + 1)));
                }
            }
        }
        let is_answered =
            |reply: &&Option<Reply>| reply.as_ref().is_some_and(|reply| !matches!(reply, Reply::Failed(_)));
        self.tally.answered = self.replies.iter().filter(is_answered).count() as u64;
        self.tally.unanswered = self.replies.len() as u64 - self.tally.answered;
        Ok(())
    }

    fn summary(&self) -> String {
        let line = |(process, slot): (&Process, &Slot)| match &slot.running {
            Ok(Running::Replica(replica)) => format!("{process}: {}", replica.summary()),
            Ok(Running::Catalog(catalog)) => {
                let ready = catalog.is_ready(slot.clock.read(self.now));
                format!("{process}: exposed {}, {}", catalog.exposed(), if ready { "ready" } else { "not ready" })
            }
            Ok(Running::Frontend(_)) => format!("{process}: runs"),
            Err(_) => format!("{process}: dead"),
        };
        self.slots.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn processes() -> impl Iterator<Item = Process> {
    (0..REPLICAS).map(Process::Replica).chain([Process::Catalog]).chain((0..FRONTENDS).map(Process::Frontend))
}
