//! Makes a failing run small: leaves out what is not needed for it to fail.

use crate::{
    plan::{Plan, Weather},
    script::SYNC_MAX,
    truth::Violation,
    world,
};

/// Runs that are tried at most.
const TRIES_MAX: usize = 4_000;

/// What is tried before operations and faults are left out.
const SIMPLER: [fn(&mut Plan); 7] = [
    |plan| plan.weather = Weather::CALM,
    |plan| plan.drifts_ppm = Default::default(),
    |plan| plan.sync_max = plan.sync_max.min(SYNC_MAX),
    |plan| plan.catalog_comes_last = false,
    |plan| plan.weather.lost_ppm = 0,
    |plan| plan.weather.repeated_ppm = 0,
    |plan| plan.weather.late_ppm = 0,
];

/// A plan that fails, of which no single operation or fault can be left out, as far as was tried.
pub fn shrink(plan: &Plan) -> Option<(Plan, Violation)> {
    let mut violation = world::run(plan, None).err()?;
    let mut smallest = plan.clone();
    let mut tries = 0;
    let mut attempt = |candidate: Plan, smallest: &mut Plan| {
        tries += 1;
        let failed = (tries <= TRIES_MAX).then(|| world::run(&candidate, None).err()).flatten();
        let is_failing = failed.is_some();
        if let Some(failed) = failed {
            violation = failed;
            *smallest = candidate;
        }
        is_failing
    };
    for simplify in SIMPLER {
        let mut candidate = smallest.clone();
        simplify(&mut candidate);
        attempt(candidate, &mut smallest);
    }
    loop {
        let mut is_smaller = false;
        // Halves first, then smaller parts (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input").
        let mut part = smallest.ops.len().max(smallest.faults.len()).max(1);
        while part >= 1 {
            let mut from = 0;
            while from < smallest.ops.len() {
                let mut candidate = smallest.clone();
                candidate.ops.drain(from..(from + part).min(smallest.ops.len()));
                if attempt(candidate, &mut smallest) { is_smaller = true } else { from += part }
            }
            let mut from = 0;
            while from < smallest.faults.len() {
                let mut candidate = smallest.clone();
                candidate.faults.drain(from..(from + part).min(smallest.faults.len()));
                if attempt(candidate, &mut smallest) { is_smaller = true } else { from += part }
            }
            part /= 2;
        }
        if !is_smaller {
            return Some((smallest, violation));
        }
    }
}
