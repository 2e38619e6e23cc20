//! Faults that belong together, with clients that look closely: each makes something likely that chance alone hardly
//! ever brings about, and that a rule of `docs/leases.md` is about.

use rand::RngExt;

use crate::{
    clock::{MILLI, Micros, SECOND},
    message::Process,
    plan::{Mishap, Others, Victim},
    raft::REPLICAS,
    script::Script,
};

const SCENES: [fn(&mut Script, Micros); 14] = [
    leader_without_catalog,
    leader_that_is_replaced,
    frontend_that_sleeps,
    catalog_that_sleeps,
    catalog_that_starts_anew,
    frontend_that_hears_nothing,
    follower_that_is_left_behind,
    leader_with_catalog,
    last_word,
    replicas_without_memory,
    held_answers,
    held_lease_requests,
    repeated_acks,
    death_at_work,
];

const CATALOG: Victim = Victim::Process(Process::Catalog);

impl Script {
    /// Adds any scene.
    pub(crate) fn scene(&mut self, at: Micros) {
        SCENES[self.rng.random_range(0..SCENES.len())](self, at);
    }

    /// A way to lose the leader. Most leave it running: that is harder.
    fn loss_of_leader(&mut self) -> Mishap {
        match self.rng.random_range(0..5) {
            0 => Mishap::Crash(Victim::Leader),
            1 => Mishap::Pause(Victim::Leader),
            2 => Mishap::CutOff(Victim::Leader, Others::All),
            _ => Mishap::CutOff(Victim::Leader, Others::Replicas),
        }
    }
}

/// Trades are answered without the catalog. Then the leader is lost, and the next one has to know.
fn leader_without_catalog(script: &mut Script, at: Micros) {
    let lasts = script.fault(at, 1_300..2_200, Mishap::CutOff(Victim::Leader, Others::Catalog));
    let end = at + lasts * script.rng.random_range(80..120) / 100;
    let lost = script.loss_of_leader();
    script.fault(end, 300..1_500, lost);
    script.crowd(end - 300 * MILLI..end + SECOND, 20);
}

/// A leader is replaced and does not know it.
fn leader_that_is_replaced(script: &mut Script, at: Micros) {
    let lost = script.loss_of_leader();
    let lasts = script.fault(at, 400..1_500, lost);
    script.crowd(at + 300 * MILLI..at + lasts + 100 * MILLI, 16);
    script.readers(at + 300 * MILLI..at + 650 * MILLI, 8);
}

/// A frontend sleeps through the end of its lease, or nearly.
fn frontend_that_sleeps(script: &mut Script, at: Micros) {
    let frontend = Process::Frontend(script.frontend());
    let lasts = script.fault(at, 600..1_500, Mishap::Pause(Victim::Process(frontend)));
    script.crowd(at - 50 * MILLI..at + lasts, 10);
    script.crowd(at + lasts..at + lasts + 20 * MILLI, 8);
}

/// The catalog sleeps through the end of its lease, or nearly.
fn catalog_that_sleeps(script: &mut Script, at: Micros) {
    let lasts = script.fault(at, 600..1_500, Mishap::Pause(CATALOG));
    script.crowd(at - 50 * MILLI..at + lasts, 10);
    script.crowd(at + lasts..at + lasts + 20 * MILLI, 8);
}

/// The catalog is gone for a moment only: shorter than the leases that it gave.
fn catalog_that_starts_anew(script: &mut Script, at: Micros) {
    let lasts = script.fault(at, 1..150, Mishap::Crash(CATALOG));
    script.crowd(at - 20 * MILLI..at + lasts + 300 * MILLI, 20);
}

/// A frontend hears of no change, or its acks do not arrive.
fn frontend_that_hears_nothing(script: &mut Script, at: Micros) {
    let frontend = Process::Frontend(script.frontend());
    let is_deaf = script.rng.random_bool(0.5);
    let (from, to) = if is_deaf { (Process::Catalog, frontend) } else { (frontend, Process::Catalog) };
    let lasts = script.fault(at, 300..1_400, Mishap::OneWay(from, to));
    script.crowd(at..at + lasts + 200 * MILLI, 20);
}

/// A follower misses so much that it is sent the state, and then perhaps has to lead.
fn follower_that_is_left_behind(script: &mut Script, at: Micros) {
    let lasts = script.fault(at, 300..900, Mishap::CutOff(Victim::Follower, Others::All));
    script.crowd(at..at + lasts, 20);
    let lost = script.loss_of_leader();
    script.fault(at + lasts + 300 * MILLI, 300..900, lost);
    script.crowd(at + lasts..at + lasts + SECOND, 10);
}

/// A leader that the others replace goes on giving leases to the catalog.
fn leader_with_catalog(script: &mut Script, at: Micros) {
    let lasts = script.fault(at, 1_500..2_200, Mishap::Split);
    script.crowd(at + 300 * MILLI..at + 1_300 * MILLI, 6);
    script.crowd(at + 1_300 * MILLI..at + lasts, 20);
}

/// The last trade is answered without the catalog, and only the leader knows that it is committed. It is lost, and the
/// next leader hears first from a follower that lacks the trade.
fn last_word(script: &mut Script, at: Micros) {
    let lasts = script.fault(at, 1_600..2_200, Mishap::CutOff(Victim::Leader, Others::Catalog));
    let late = at + 1_200 * MILLI;
    script.fault(late, 100..300, Mishap::CutOff(Victim::Follower, Others::All));
    script.crowd(late..late + 150 * MILLI, 8);
    let lost = script.loss_of_leader();
    script.fault(late + 150 * MILLI, 500..1_500, lost);
    script.crowd(late + 400 * MILLI..at + lasts + 100 * MILLI, 16);
}

/// No replica remembers what the catalog lacks, so that it is sent the inventory, while caches hold leases.
fn replicas_without_memory(script: &mut Script, at: Micros) {
    script.crowd(at - 150 * MILLI..at, 8);
    // It ends before there is a leader again, whose first call would be lost otherwise.
    script.fault(at, 200..400, Mishap::CutOff(CATALOG, Others::Replicas));
    script.crowd(at..at + 40 * MILLI, 8);
    for replica in 0..REPLICAS {
        script.fault(at + 40 * MILLI, 5..30, Mishap::Crash(Victim::Process(Process::Replica(replica))));
    }
    script.crowd(at + 300 * MILLI..at + 900 * MILLI, 14);
}

/// What the catalog answers a frontend comes when its lease is over.
fn held_answers(script: &mut Script, at: Micros) {
    let frontend = Process::Frontend(script.frontend());
    let held = script.fault(at, 950..1_250, Mishap::Hold(Process::Catalog, frontend));
    script.crowd(at + 100 * MILLI..at + held, 16);
    script.crowd(at + held..at + held + 100 * MILLI, 8);
}

/// A lease request is answered when the lease is over, and the next one is late too.
fn held_lease_requests(script: &mut Script, at: Micros) {
    let frontend = Process::Frontend(script.frontend());
    let first = script.fault(at, 800..1_200, Mishap::HoldLeaseRequests(frontend));
    let second = script.fault(at + first, 50..400, Mishap::HoldLeaseRequests(frontend));
    script.crowd(at + first - 50 * MILLI..at + first + second, 12);
    script.crowd(at + first + second..at + first + second + 200 * MILLI, 8);
}

/// The acks of a frontend come again when it does not hear of the next change.
fn repeated_acks(script: &mut Script, at: Micros) {
    let frontend = Process::Frontend(script.frontend());
    let repeated = script.fault(at, 200..500, Mishap::Repeat(frontend, Process::Catalog));
    script.crowd(at..at + repeated, 12);
    let deaf = script.fault(at + repeated, 300..900, Mishap::OneWay(Process::Catalog, frontend));
    script.crowd(at + repeated..at + repeated + deaf, 12);
}

/// Death in the middle of work.
fn death_at_work(script: &mut Script, at: Micros) {
    script.crowd(at..at + 10 * MILLI, 20);
    let death = script.rng.random_range(at..at + 10 * MILLI);
    let mishap = if script.rng.random_bool(0.5) { Mishap::PowerCut } else { Mishap::Crash(Victim::Leader) };
    script.fault(death, 1..500, mishap);
}
