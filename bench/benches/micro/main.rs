//! Micro-benchmarks of what a trade and a lookup pass through, each on one thread and without a network.
//!
//! `scripts/bench --micro` runs them. They say where the CPU of a trade goes, and find a part that became slower; what
//! users notice is measured by `scripts/bench` alone.

mod apply;
mod cache;
mod codecs;
mod rule;
mod samples;

use std::time::Duration;

use criterion::Criterion;

/// Long enough for steady figures, short enough for all of them together in about a minute.
const WARM_UP_MS: u64 = 500;
const MEASURED_MS: u64 = 2_500;

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(WARM_UP_MS))
        .measurement_time(Duration::from_millis(MEASURED_MS))
        .configure_from_args();
    rule::measure(&mut criterion);
    codecs::measure(&mut criterion);
    apply::measure(&mut criterion);
    cache::measure(&mut criterion);
    criterion.final_summary();
}
