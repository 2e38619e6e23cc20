//! Finds the leader: replicas are asked highest id first, and only one that confirms that it leads gets work.

use std::{collections::BTreeMap, time::Duration};

use bazaar_domain::{
    ApiError, ErrorKind, Moment, ReplicaId,
    api::{Health, LeaderView, Role},
};
use bazaar_service::CallError;

use super::words::{Effect, ProbeId};

/// A replica that has not answered after this time is not waited for: the next one is asked as well.
pub const HEDGE_AFTER: Duration = Duration::from_millis(30);
/// A probe that took longer has failed.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(300);
/// While work waits, a sweep that found no leader is followed by the next one after this time: an election after a crash
/// takes a few milliseconds.
pub const SWEEP_PAUSE_MIN: Duration = Duration::from_millis(5);
/// Each further pause is twice as long, up to this.
pub const SWEEP_PAUSE_MAX: Duration = Duration::from_millis(50);
/// When the leader is slow, the others are asked this often whether one of them leads by now.
pub const LOOK_AROUND_EVERY: Duration = Duration::from_millis(25);

/// A confirmed leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The replica.
    pub replica: ReplicaId,
    /// The term in which it leads.
    pub term: u64,
    /// As it said when it was last asked.
    pub quorum_ack_age_ms: Option<u64>,
}

impl Route {
    /// What clients are told of it. The address is the shell's to fill in.
    pub fn view(&self) -> LeaderView {
        LeaderView {
            leader: self.replica,
            address: String::new(),
            term: self.term,
            ready: true,
            quorum_ack_age_ms: self.quorum_ack_age_ms,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Part of the sweep with this number.
    Sweep(u64),
    /// The regular check of the leader that work goes to.
    Check,
    /// The leader is slow: perhaps another one leads by now.
    LookAround,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    replica: ReplicaId,
    started: Moment,
    purpose: Purpose,
}

impl Probe {
    fn is_of_a_sweep(&self) -> bool {
        matches!(self.purpose, Purpose::Sweep(_))
    }
}

/// One round of questions.
#[derive(Debug)]
struct Sweep {
    number: u64,
    /// Not yet asked, the next one first.
    unasked: Vec<ReplicaId>,
}

/// What the scout knows.
#[derive(Debug)]
pub struct Scout {
    /// Highest id first.
    replicas: Vec<ReplicaId>,
    check_every: Duration,
    /// Invariant: there is a route, or a sweep, or neither; never both.
    route: Option<Route>,
    sweep: Option<Sweep>,
    /// Bounded: at most one check, and of each replica one probe of a sweep and one of a look around, each for `PROBE_TIMEOUT`.
    probes: BTreeMap<ProbeId, Probe>,
    next_check: Moment,
    last_sweep_end: Option<Moment>,
    /// Sweeps since the last one that found a leader.
    vain_sweeps: u32,
    next_look_around: Moment,
    /// The term of the newest leader that was confirmed.
    known_term: u64,
    /// How each replica's last probe ended: with its role, if it told that.
    sights: BTreeMap<ReplicaId, Result<Option<Role>, String>>,
    next_probe: ProbeId,
    sweeps: u64,
}

impl Scout {
    /// A scout that knows no leader yet; `check_every` is the time between two checks of the leader.
    pub fn new(mut replicas: Vec<ReplicaId>, check_every: Duration) -> Self {
        replicas.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            replicas,
            check_every,
            route: None,
            sweep: None,
            probes: BTreeMap::new(),
            next_check: Moment::ZERO,
            last_sweep_end: None,
            vain_sweeps: 0,
            next_look_around: Moment::ZERO,
            known_term: 0,
            sights: BTreeMap::new(),
            next_probe: 0,
            sweeps: 0,
        }
    }

    /// The confirmed leader.
    pub fn route(&self) -> Option<Route> {
        self.route
    }

    /// Whether replicas are being asked.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Starts a sweep, unless one is under way or there is a route; a replica that was named as leader is asked first.
    pub fn start_sweep(&mut self, hint: Option<ReplicaId>, now: Moment, effects: &mut Vec<Effect>) {
        if self.route.is_some() || self.sweep.is_some() {
            return;
        }
        self.sweeps += 1;
        // One that still owes an answer to an earlier sweep is not asked once more.
        let owes = |id: &ReplicaId| self.probes.values().any(|probe| probe.replica == *id && probe.is_of_a_sweep());
        let mut unasked: Vec<ReplicaId> = self.replicas.iter().copied().filter(|id| !owes(id)).collect();
        put_first(&mut unasked, hint);
        self.sweep = Some(Sweep { number: self.sweeps, unasked });
        self.ask_next(now, effects);
    }

    /// A call to this replica failed: if work goes there, it does no longer, and a sweep starts at once.
    pub fn drop_route(&mut self, replica: ReplicaId, hint: Option<ReplicaId>, now: Moment, effects: &mut Vec<Effect>) {
        if self.route.is_some_and(|route| route.replica == replica) {
            self.route = None;
            self.start_sweep(hint, now, effects);
        }
    }

    /// Asks the other replicas whether one of them leads by now, because the leader is slow. A leader that is halted or
    /// cut off breaks no connection, and so nothing else would tell before its requests time out.
    pub fn look_around(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(route) = self.route.filter(|_| now >= self.next_look_around) else { return };
        self.next_look_around = now.plus(LOOK_AROUND_EVERY);
        let asked = |id: &ReplicaId| self.probes.values().any(|probe| probe.replica == *id);
        let others = self.replicas.iter().copied().filter(|id| *id != route.replica && !asked(id));
        for replica in others.collect::<Vec<_>>() {
            self.ask(replica, Purpose::LookAround, now, effects);
        }
    }

    /// When [`Self::look_around`] asks again.
    pub fn next_look_around(&self) -> Option<Moment> {
        self.route.map(|_| self.next_look_around)
    }

    /// Takes the end of a probe.
    pub fn probe_done(
        &mut self,
        id: ProbeId,
        result: Result<Health, CallError>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(probe) = self.probes.remove(&id) else { return };
        let result = match result {
            Ok(health) if health.id != probe.replica => Err(format!("replica {} answers in its place", health.id)),
            Ok(health) => Ok(health),
            // An error is an answer too: the replica can be reached.
            Err(CallError::Answered(error)) => {
                self.sights.insert(probe.replica, Ok(None));
                return self.is_no_leader(probe, error.leader, now, effects);
            }
            Err(error) => Err(error.to_string()),
        };
        self.sights.insert(probe.replica, result.as_ref().map(|health| Some(health.role)).map_err(Clone::clone));
        match result {
            Ok(health) if health.role == Role::Leader && health.ready => self.is_leader(probe, &health, now),
            Ok(health) => {
                self.hear_of_leader(&health);
                self.is_no_leader(probe, health.leader, now, effects);
            }
            Err(_) => self.is_no_leader(probe, None, now, effects),
        }
    }

    /// Does what is due: the next question of a sweep, a new sweep, the check of the leader. `work_waits` makes sweeps
    /// follow each other quickly.
    pub fn on_time(&mut self, work_waits: bool, now: Moment, effects: &mut Vec<Effect>) {
        if self.hedge_at().is_some_and(|at| now >= at) {
            self.ask_next(now, effects);
        }
        self.end_sweep_if_done(now);
        if self.sweep_at(work_waits).is_some_and(|at| now >= at) {
            self.start_sweep(None, now, effects);
        }
        if let Some(route) = self.route.filter(|_| self.check_at().is_some_and(|at| now >= at)) {
            self.next_check = now.plus(self.check_every);
            self.ask(route.replica, Purpose::Check, now, effects);
        }
    }

    /// When `on_time` has something to do next.
    pub fn next_wake(&self, work_waits: bool) -> Option<Moment> {
        [self.hedge_at(), self.sweep_end_at(), self.sweep_at(work_waits), self.check_at()].into_iter().flatten().min()
    }

    /// Why there is no leader to send to, in words.
    pub fn unavailable(&self) -> ApiError {
        if let Some(route) = self.route {
            // The other replicas were perhaps not asked for long: counting them would say nothing.
            let message = format!("no_leader: replica {} leads but took no request in time, try again", route.replica);
            return ApiError::new(ErrorKind::NoLeader, message);
        }
        let all = self.replicas.len();
        let need = all / 2 + 1;
        let reachable = self.sights.values().filter(|sight| sight.is_ok()).count();
        let failures: Vec<String> = self
            .sights
            .iter()
            .filter_map(|(id, sight)| sight.as_ref().err().map(|why| format!("{id}: {why}")))
            .collect();
        let joining = self.sights.values().filter(|sight| **sight == Ok(Some(Role::Joining))).count();
        let (kind, found) = if reachable < need {
            (ErrorKind::NoQuorum, format!("need {need}"))
        } else if joining == all {
            // A retry would wait for ever.
            (ErrorKind::NoLeader, "no cluster is founded yet: found one with 'bazaar init'".to_owned())
        } else {
            (ErrorKind::NoLeader, "none takes requests yet, try again".to_owned())
        };
        let mut message = format!("{}: {reachable} of {all} replicas reachable, {found}", kind.as_str());
        if !failures.is_empty() {
            message = format!("{message}; {}", failures.join(", "));
        }
        ApiError::new(kind, message)
    }

    fn is_leader(&mut self, probe: Probe, health: &Health, now: Moment) {
        let current = match probe.purpose {
            Purpose::Sweep(number) => self.sweep.as_ref().is_some_and(|sweep| sweep.number == number),
            Purpose::Check => self.route.is_some_and(|route| route.replica == probe.replica),
            Purpose::LookAround => false,
        };
        // A probe of an earlier sweep proves nothing about a replica that failed since, but it can still show that the
        // leader work went to was replaced.
        if current || health.term > self.known_term {
            self.known_term = health.term;
            self.route =
                Some(Route { replica: probe.replica, term: health.term, quorum_ack_age_ms: health.quorum_ack_age_ms });
            self.sweep = None;
            self.vain_sweeps = 0;
            self.next_check = now.plus(self.check_every);
            self.learn(health);
        }
    }

    /// The leader knows the membership; the configuration may be older.
    fn learn(&mut self, health: &Health) {
        if health.voters.is_empty() {
            return;
        }
        self.replicas = health.voters.iter().map(|voter| voter.id).collect();
        self.replicas.sort_unstable_by(|a, b| b.cmp(a));
        self.sights.retain(|id, _| self.replicas.contains(id));
    }

    /// A follower names a leader that joined the cluster after the configuration was written: it is asked too.
    fn hear_of_leader(&mut self, health: &Health) {
        let named = health.leader.filter(|leader| !self.replicas.contains(leader));
        if let Some(leader) = named.filter(|leader| health.voters.iter().any(|voter| voter.id == *leader)) {
            self.replicas.push(leader);
            self.replicas.sort_unstable_by(|a, b| b.cmp(a));
            if let Some(sweep) = &mut self.sweep {
                sweep.unasked.push(leader);
            }
        }
    }

    fn is_no_leader(&mut self, probe: Probe, hint: Option<ReplicaId>, now: Moment, effects: &mut Vec<Effect>) {
        match (probe.purpose, &mut self.sweep) {
            (Purpose::Check, _) => self.drop_route(probe.replica, hint, now, effects),
            (Purpose::Sweep(number), Some(sweep)) if sweep.number == number => {
                let hinted = put_first(&mut sweep.unasked, hint);
                if hinted || self.fresh_probe().is_none_or(|started| now >= started.plus(HEDGE_AFTER)) {
                    self.ask_next(now, effects);
                }
                self.end_sweep_if_done(now);
            }
            (Purpose::Sweep(_) | Purpose::LookAround, _) => {}
        }
    }

    /// A sweep is over once all were asked and the last one has had its time: a replica that is halted would hold it up
    /// for as long as a probe may take.
    fn end_sweep_if_done(&mut self, now: Moment) {
        if self.sweep_end_at().is_some_and(|at| now >= at) {
            self.sweep = None;
            self.vain_sweeps = self.vain_sweeps.saturating_add(1);
            self.last_sweep_end = Some(now);
        }
    }

    fn ask_next(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if let Some(sweep) = self.sweep.as_mut().filter(|sweep| !sweep.unasked.is_empty()) {
            let replica = sweep.unasked.remove(0);
            let purpose = Purpose::Sweep(sweep.number);
            self.ask(replica, purpose, now, effects);
        }
    }

    fn ask(&mut self, replica: ReplicaId, purpose: Purpose, now: Moment, effects: &mut Vec<Effect>) {
        self.next_probe += 1;
        self.probes.insert(self.next_probe, Probe { replica, started: now, purpose });
        effects.push(Effect::Probe { probe: self.next_probe, replica, timeout: PROBE_TIMEOUT });
    }

    /// When the newest probe of the present sweep that is still out was sent.
    fn fresh_probe(&self) -> Option<Moment> {
        let number = self.sweep.as_ref()?.number;
        let of_sweep = self.probes.values().filter(|probe| probe.purpose == Purpose::Sweep(number));
        of_sweep.map(|probe| probe.started).max()
    }

    fn sweep_end_at(&self) -> Option<Moment> {
        self.sweep.as_ref().filter(|sweep| sweep.unasked.is_empty())?;
        Some(self.fresh_probe().map_or(Moment::ZERO, |started| started.plus(HEDGE_AFTER)))
    }

    fn hedge_at(&self) -> Option<Moment> {
        let sweep = self.sweep.as_ref().filter(|sweep| !sweep.unasked.is_empty());
        sweep.and_then(|_| self.fresh_probe()).map(|started| started.plus(HEDGE_AFTER))
    }

    fn sweep_at(&self, work_waits: bool) -> Option<Moment> {
        if self.route.is_some() || self.sweep.is_some() {
            return None;
        }
        let doublings = self.vain_sweeps.saturating_sub(1).min(8);
        let pause =
            if work_waits { (SWEEP_PAUSE_MIN * (1 << doublings)).min(SWEEP_PAUSE_MAX) } else { self.check_every };
        Some(self.last_sweep_end.map_or(Moment::ZERO, |end| end.plus(pause)))
    }

    fn check_at(&self) -> Option<Moment> {
        let checking = self.probes.values().any(|probe| probe.purpose == Purpose::Check);
        (self.route.is_some() && !checking).then_some(self.next_check)
    }
}

/// Moves a replica to the front, if it is in the list. Returns whether it was.
fn put_first(unasked: &mut [ReplicaId], hint: Option<ReplicaId>) -> bool {
    let position = hint.and_then(|hint| unasked.iter().position(|id| *id == hint));
    if let Some(position) = position {
        unasked[..=position].rotate_right(1);
    }
    position.is_some()
}
