//! Draws plans: the weather, clients, and faults, some of them by chance alone and some in scenes (`scenes`).

use std::ops::Range;

use bazaar_domain::{Side, StockName, internal::OrderRead};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::{
    clock::{MILLI, Micros, SECOND},
    message::Process,
    plan::{
        Action, FRONTENDS, Fault, Length, Mishap, Op, Others, PROCESSES, Plan, STOCKS, Victim, Weather, key, name,
        trade,
    },
};

/// Clients begin then: there is a leader, mostly, and the catalog has ended its silence, or not quite.
pub(crate) const CLIENTS_FROM: Micros = 900 * MILLI;
/// Clocks run at most so wrong, in parts per million; two of them differ by less than the margin of the leases.
const DRIFT_PPM_MAX: i64 = 45_000;
/// A sync takes at most this long.
pub(crate) const SYNC_MAX: Micros = 1_500;
/// Of a slow disk.
const SLOW_SYNC_MAX: Micros = 30 * MILLI;
/// Different keys for each operation of a run: so few that some are used again.
const KEYS_PER_OP: f64 = 0.8;
/// Somebody looks what became of a trade within this time.
const LOOKED_AFTER_MAX: Micros = 300 * MILLI;
/// Orders that a read of several asks for.
const READ_ORDERS_MAX: usize = 5;
/// Most faults of a short run that are drawn one by one.
const FAULTS_MAX: usize = 5;
/// Most scenes of a short run.
const SCENES_MAX: usize = 2;
/// The longest scene.
const SCENE_MAX: Micros = 2 * SECOND;
/// Trades that a client sends at once, at most: enough for entries of several trades.
const BURST_MAX: usize = 6;

impl Plan {
    /// Draws a run.
    pub fn draw(seed: u64, length: Length) -> Self {
        let mut script = Script::new(seed, length);
        let drifts_ppm = PROCESSES.map(|_| script.rng.random_range(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX));
        let weather = script.weather();
        let sync_max = if script.rng.random_bool(0.3) { SLOW_SYNC_MAX } else { SYNC_MAX };
        let catalog_comes_last = script.rng.random_bool(0.1);
        let times = length.ops / Length::SHORT.ops;
        for _ in 0..script.rng.random_range(0..=SCENES_MAX * times) {
            let at = script.rng.random_range(CLIENTS_FROM..script.until - SCENE_MAX);
            script.scene(at);
        }
        for _ in 0..script.rng.random_range(0..=FAULTS_MAX * times) {
            script.any_fault();
        }
        while script.ops.len() < length.ops {
            let at = script.rng.random_range(CLIENTS_FROM..script.until);
            script.op(at);
        }
        let Script { mut ops, mut faults, until: healed_at, .. } = script;
        ops.sort_by_key(|op| op.at);
        faults.sort_by_key(|fault| fault.at);
        Self { seed, drifts_ppm, weather, sync_max, ops, faults, healed_at, catalog_comes_last }
    }
}

/// What is drawn of a plan so far.
pub(crate) struct Script {
    pub(crate) rng: SmallRng,
    ops: Vec<Op>,
    faults: Vec<Fault>,
    /// How many keys there are to draw from.
    keys: usize,
    /// Clients go on and faults begin until then.
    until: Micros,
}

impl Script {
    fn new(seed: u64, length: Length) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            ops: Vec::new(),
            faults: Vec::new(),
            keys: (length.ops as f64 * KEYS_PER_OP) as usize,
            until: CLIENTS_FROM + length.faulty,
        }
    }

    fn weather(&mut self) -> Weather {
        let rng = &mut self.rng;
        let weather = Weather { delay_max: rng.random_range(100..5_000), ..Weather::CALM };
        match rng.random_range(0..10) {
            0..3 => Weather::CALM,
            // Much is late, and little of it so late that nobody waits for it any more.
            3 => Weather {
                late_ppm: rng.random_range(100_000..400_000),
                late_max: rng.random_range(20 * MILLI..400 * MILLI),
                lost_ppm: rng.random_range(0..100_000),
                ..weather
            },
            // Much comes again.
            4 => Weather {
                repeated_ppm: rng.random_range(100_000..500_000),
                lost_ppm: rng.random_range(0..30_000),
                ..weather
            },
            _ => Weather {
                lost_ppm: rng.random_range(0..60_000),
                repeated_ppm: rng.random_range(0..60_000),
                late_ppm: rng.random_range(0..80_000),
                late_max: rng.random_range(10 * MILLI..2_500 * MILLI),
                ..weather
            },
        }
    }

    /// Adds a fault that lasts so many milliseconds; returns how long, in microseconds.
    pub(crate) fn fault(&mut self, at: Micros, millis: Range<u64>, mishap: Mishap) -> Micros {
        let lasts = self.rng.random_range(millis.start * MILLI..millis.end * MILLI);
        self.faults.push(Fault { at: at.min(self.until - 1), lasts, mishap });
        lasts
    }

    fn any_fault(&mut self) {
        let mishap = match self.rng.random_range(0..20) {
            0..6 => Mishap::Crash(self.victim()),
            6..11 => Mishap::Pause(self.victim()),
            11..15 => Mishap::CutOff(self.victim(), Others::All),
            15..17 => Mishap::OneWay(self.process(), self.process()),
            17 => Mishap::Hold(self.process(), self.process()),
            18 => Mishap::Repeat(self.process(), self.process()),
            _ => Mishap::PowerCut,
        };
        // Some are short, some outlast a lease.
        let millis = if self.rng.random_bool(0.5) { 1..200 } else { 200..2_000 };
        let at = self.rng.random_range(CLIENTS_FROM / 2..self.until);
        self.fault(at, millis, mishap);
    }

    fn process(&mut self) -> Process {
        PROCESSES[self.rng.random_range(0..PROCESSES.len())]
    }

    fn victim(&mut self) -> Victim {
        if self.rng.random_bool(0.5) { Victim::Leader } else { Victim::Process(self.process()) }
    }

    pub(crate) fn frontend(&mut self) -> usize {
        self.rng.random_range(0..FRONTENDS)
    }

    /// Adds so many operations, or some more, between these times.
    pub(crate) fn crowd(&mut self, times: Range<Micros>, ops: usize) {
        let wanted = self.ops.len() + ops;
        let times = times.start.max(CLIENTS_FROM).min(self.until - 1)..times.end.min(self.until);
        while self.ops.len() < wanted {
            let at = self.rng.random_range(times.clone());
            self.op(at);
        }
    }

    /// Adds so many order reads between these times.
    pub(crate) fn readers(&mut self, times: Range<Micros>, reads: usize) {
        for _ in 0..reads {
            let at = self.rng.random_range(times.clone());
            self.read(at);
        }
    }

    /// Adds an operation, or some that belong together.
    fn op(&mut self, at: Micros) {
        match self.rng.random_range(0..10) {
            0..5 => {
                let stock = self.stock();
                self.ask(at, Action::Lookup { stock });
            }
            5..9 => {
                let frontend = self.frontend();
                let burst = if self.rng.random_bool(0.1) { self.rng.random_range(2..=BURST_MAX) } else { 1 };
                for _ in 0..burst {
                    self.trade(at, frontend);
                }
            }
            _ => self.read(at),
        }
    }

    /// Adds an operation at any frontend.
    fn ask(&mut self, at: Micros, action: Action) {
        let frontend = self.frontend();
        self.ops.push(Op { at, frontend, action });
    }

    fn read(&mut self, at: Micros) {
        let orders = (self.keys / 4) as u64;
        let rng = &mut self.rng;
        let read = match rng.random_range(0..5) {
            0..2 => OrderRead::ByNumber(rng.random_range(1..=orders)),
            2 => OrderRead::ByKey(key(&format!("k{}", rng.random_range(0..self.keys)))),
            3 => OrderRead::After { after: rng.random_range(0..orders), limit: READ_ORDERS_MAX },
            _ => OrderRead::Newest,
        };
        self.ask(at, Action::Read(read));
    }

    /// Adds a trade, and perhaps somebody who looks what became of it.
    fn trade(&mut self, at: Micros, frontend: usize) {
        let number = self.rng.random_range(0..self.keys);
        // What a key stands for follows from its number, mostly: then it is a repetition and no other trade.
        let is_as_usual = self.rng.random_bool(0.95);
        let stock = if is_as_usual { name(STOCKS[number % 5 % STOCKS.len()]) } else { self.stock() };
        let side = if number % 5 < 3 { Side::Buy } else { Side::Sell };
        let trade = trade(&format!("k{number}"), stock, side, 1 + (number % 9) as u64);
        if self.rng.random_bool(0.3) {
            let later = self.rng.random_range(at..at + LOOKED_AFTER_MAX).min(self.until - 1);
            let is_lookup = self.rng.random_bool(0.6);
            let by_key = || Action::Read(OrderRead::ByKey(trade.key.clone()));
            self.ask(later, if is_lookup { Action::Lookup { stock } } else { by_key() });
        }
        self.ops.push(Op { at, frontend, action: Action::Trade(trade) });
    }

    /// One stock gets most of the traffic, so that lookups and trades meet.
    fn stock(&mut self) -> StockName {
        let which = if self.rng.random_bool(0.6) { 0 } else { self.rng.random_range(0..STOCKS.len()) };
        name(STOCKS[which])
    }
}
