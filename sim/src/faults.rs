//! What goes wrong in a run, and how it is made well again.

use bazaar_service::CallError;

use crate::{
    clock::{MILLI, Micros, SECOND},
    message::{Message, Process, Request},
    plan::{Fault, Mishap, Others, PROCESSES, Victim, Weather},
    raft::REPLICAS,
    replica::Replica,
    seen::Seen,
    slot::{Left, Slot},
    world::{Event, World},
};

/// The longest lease by any clock: what lasts longer than this outlasts every lease.
const LEASE_MAX: Micros = SECOND + SECOND / 10;

/// Some messages do not arrive as they should until then.
#[derive(Debug)]
pub(crate) struct Trouble {
    way: Way,
    pub(crate) harm: Harm,
    pub(crate) until: Micros,
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It does not arrive.
    Lost,
    /// It arrives when the trouble is over.
    Held,
    /// It arrives a second time.
    Repeated,
}

/// Which messages.
#[derive(Debug)]
enum Way {
    /// From the first to the second.
    One(Process, Process),
    /// Between the process and these others, both ways.
    Both(Process, Others),
    /// Requests of this frontend for a lease.
    LeaseRequests(Process),
}

impl Trouble {
    /// Whether it meets this message.
    pub(crate) fn meets(&self, from: Process, to: Process, message: &Message) -> bool {
        match self.way {
            Way::One(first, second) => (first, second) == (from, to),
            Way::Both(process, others) => {
                (from == process && others.contain(to)) || (to == process && others.contain(from))
            }
            Way::LeaseRequests(frontend) => {
                from == frontend && matches!(message, Message::Call(_, Request::Subscribe(_)))
            }
        }
    }
}

impl World<'_> {
    /// Lets a fault begin.
    pub(crate) fn begin(&mut self, fault: Fault) {
        let until = self.now + fault.lasts;
        let millis = fault.lasts / MILLI;
        match fault.mishap {
            Mishap::PowerCut => {
                self.tally.count(Seen::PowerCut);
                for process in PROCESSES.into_iter().filter(|process| !matches!(process, Process::Frontend(_))) {
                    self.kill(process, until);
                }
            }
            Mishap::Split => {
                let Some(leader) = self.met(Victim::Leader) else { return };
                self.tally.count(Seen::Split);
                self.tell(|| format!("the other replicas are cut off from {leader} and the catalog for {millis} ms"));
                for other in (0..REPLICAS).map(Process::Replica).filter(|other| *other != leader) {
                    self.trouble(Way::Both(other, Others::Catalog), Harm::Lost, until);
                }
                self.trouble(Way::Both(leader, Others::Replicas), Harm::Lost, until);
            }
            Mishap::OneWay(from, to) => {
                self.tally.count(Seen::CutOneWay);
                self.tell(|| format!("{} for {millis} ms", fault.mishap));
                self.trouble(Way::One(from, to), Harm::Lost, until);
            }
            Mishap::Hold(from, to) => {
                self.tally.count(Seen::Held);
                self.tell(|| format!("{} for {millis} ms", fault.mishap));
                self.trouble(Way::One(from, to), Harm::Held, until);
            }
            Mishap::HoldLeaseRequests(frontend) => {
                self.tally.count(Seen::LeaseRequestsHeld);
                self.tell(|| format!("{} for {millis} ms", fault.mishap));
                self.trouble(Way::LeaseRequests(frontend), Harm::Held, until);
            }
            Mishap::Repeat(from, to) => {
                self.tally.count(Seen::RepeatedAll);
                self.tell(|| format!("{} for {millis} ms", fault.mishap));
                self.trouble(Way::One(from, to), Harm::Repeated, until);
            }
            Mishap::Crash(victim) => {
                let Some(process) = self.met(victim) else { return };
                self.kill(process, until);
            }
            Mishap::Pause(victim) => {
                let Some(process) = self.met(victim) else { return };
                self.tally.count(match process {
                    Process::Replica(_) => Seen::ReplicaPaused,
                    Process::Catalog => Seen::CatalogPaused,
                    Process::Frontend(_) => Seen::FrontendPaused,
                });
                self.tally.add(Seen::LongPause, u64::from(fault.lasts > LEASE_MAX));
                self.tell(|| format!("{process} stands still for {millis} ms"));
                self.slot(process).paused_until = until;
            }
            Mishap::CutOff(victim, others) => {
                let Some(process) = self.met(victim) else { return };
                self.tally.count(match others {
                    Others::All => Seen::CutOff,
                    Others::Replicas => Seen::Deposed,
                    Others::Catalog => Seen::CutFromCatalog,
                });
                self.tell(|| format!("{} for {millis} ms", Mishap::CutOff(Victim::Process(process), others)));
                self.trouble(Way::Both(process, others), Harm::Lost, until);
            }
        }
    }

    fn trouble(&mut self, way: Way, harm: Harm, until: Micros) {
        self.troubles.push(Trouble { way, harm, until });
    }

    /// Whom a fault meets now: nobody that is dead.
    fn met(&mut self, victim: Victim) -> Option<Process> {
        let of_role = |leads: bool| {
            let is_wanted = |slot: &Slot| slot.replica().is_some_and(|replica: &Replica| replica.leads() == leads);
            PROCESSES.into_iter().zip(&self.slots).find(|(_, slot)| is_wanted(slot)).map(|(process, _)| process)
        };
        let process = match victim {
            Victim::Process(process) => process,
            Victim::Leader => of_role(true)?,
            Victim::Follower => of_role(false)?,
        };
        self.slot(process).running.is_ok().then_some(process)
    }

    /// Kills a process that runs, and starts it again then.
    pub(crate) fn kill(&mut self, process: Process, until: Micros) {
        let slot = &mut self.slots[process.place()];
        slot.running = match std::mem::replace(&mut slot.running, Err(Left::Nothing)) {
            Ok(running) => Err(running.crash(&mut self.rng, &mut self.tally)),
            Err(left) => {
                slot.running = Err(left);
                return;
            }
        };
        slot.paused_until = 0;
        self.tally.count(match process {
            Process::Replica(_) => Seen::ReplicaDied,
            Process::Catalog => Seen::CatalogDied,
            Process::Frontend(_) => Seen::FrontendDied,
        });
        self.tell(|| format!("{process} dies"));
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open_calls).into_iter().partition(|open| open.callee == process);
        self.open_calls = others.into_iter().filter(|open| open.caller != process).collect();
        for open in own {
            self.break_call(open, CallError::Broken("the connection broke".into()));
        }
        self.schedule(until, Event::Restart(process));
    }

    /// Everything works again, except for the catalog if it comes last. What stands still goes on at its time.
    pub(crate) fn heal(&mut self) {
        self.tell(|| "all faults are over".into());
        self.weather = Weather::CALM;
        self.troubles.clear();
        self.catalog_stays_away = self.plan.catalog_comes_last;
        if self.catalog_stays_away {
            self.kill(Process::Catalog, self.now);
        }
        for process in PROCESSES.into_iter().filter(|process| *process != Process::Catalog) {
            self.start(process);
        }
        if !self.catalog_stays_away {
            self.start(Process::Catalog);
        }
    }
}
