//! A process, running or not, with its clock.

use bazaar_domain::{Moment, config::LeaseConfig};
use rand::rngs::SmallRng;

use crate::{
    catalog::{self, Catalog},
    clock::{Clock, Micros},
    frontend::Frontend,
    message::{Effects, Message, Process, Timer},
    replica::{Disk, Replica},
    seen::Tally,
};

/// What every process is told at its start.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// How often it has started, this time included.
    pub life: u64,
    /// How long leases last.
    pub leases: LeaseConfig,
    /// What its clock shows.
    pub now: Moment,
}

/// A process that runs.
#[derive(Debug)]
pub(crate) enum Running {
    Replica(Box<Replica>),
    Catalog(Box<Catalog>),
    Frontend(Box<Frontend>),
}

impl Running {
    /// Starts a process on what the last life left.
    pub(crate) fn start(
        process: Process,
        left: Left,
        sync_max: Micros,
        setting: Setting,
        rng: &mut SmallRng,
        out: &mut Effects,
    ) -> Self {
        match (process, left) {
            (Process::Replica(own), Left::Replica(disk)) => {
                out.wake(setting.now, Timer::Tick);
                Self::Replica(Box::new(Replica::start(own, *disk, sync_max, setting, rng)))
            }
            (Process::Catalog, Left::Catalog(disk)) => Self::Catalog(Box::new(Catalog::start(disk, setting, out))),
            (Process::Frontend(own), Left::Nothing) => Self::Frontend(Box::new(Frontend::start(own, setting, out))),
            (process, left) => unreachable!("{process} does not leave {left:?}"),
        }
    }

    /// What a crash leaves.
    pub(crate) fn crash(self, rng: &mut SmallRng, tally: &mut Tally) -> Left {
        match self {
            Self::Replica(replica) => Left::Replica(Box::new(replica.crash(rng, tally))),
            Self::Catalog(catalog) => Left::Catalog(catalog.crash(rng, tally)),
            Self::Frontend(_) => Left::Nothing,
        }
    }

    pub(crate) fn receive(
        &mut self,
        from: Process,
        message: Message,
        now: Moment,
        rng: &mut SmallRng,
        out: &mut Effects,
    ) {
        match self {
            Self::Replica(replica) => replica.receive(from, message, now, rng, out),
            Self::Catalog(catalog) => catalog.receive(from, message, now, out),
            Self::Frontend(frontend) => frontend.receive(from, message, now, out),
        }
    }

    pub(crate) fn wake(&mut self, timer: Timer, now: Moment, rng: &mut SmallRng, out: &mut Effects) {
        match self {
            Self::Replica(replica) => replica.wake(timer, now, rng, out),
            Self::Catalog(catalog) => catalog.wake(timer, now, out),
            Self::Frontend(frontend) => frontend.wake(timer, now, out),
        }
    }
}

/// What a process leaves when it dies.
#[derive(Debug)]
pub(crate) enum Left {
    Replica(Box<Disk>),
    Catalog(catalog::Disk),
    Nothing,
}

/// A process, running or not.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) clock: Clock,
    /// How often it has started.
    pub(crate) life: u64,
    pub(crate) running: Result<Running, Left>,
    /// It stands still until then.
    pub(crate) paused_until: Micros,
    /// The earliest tick that is on its way.
    pub(crate) next_tick: Option<Micros>,
}

impl Slot {
    /// A process that has not started yet.
    pub(crate) fn new(clock: Clock, left: Left) -> Self {
        Self { clock, life: 0, running: Err(left), paused_until: 0, next_tick: None }
    }

    pub(crate) fn replica(&self) -> Option<&Replica> {
        if let Ok(Running::Replica(replica)) = &self.running { Some(replica) } else { None }
    }

    pub(crate) fn catalog(&self) -> Option<&Catalog> {
        if let Ok(Running::Catalog(catalog)) = &self.running { Some(catalog) } else { None }
    }

    pub(crate) fn frontend(&self) -> Option<&Frontend> {
        if let Ok(Running::Frontend(frontend)) = &self.running { Some(frontend) } else { None }
    }
}
