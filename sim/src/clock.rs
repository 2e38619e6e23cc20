//! Time: one true time, which nobody can read, and a clock for each process, which may run fast or slow.

use std::time::Duration;

use bazaar_domain::Moment;

/// The true time, in microseconds since the run began.
pub type Micros = u64;

/// A second.
pub const SECOND: Micros = 1_000_000;
/// A millisecond.
pub const MILLI: Micros = 1_000;

/// Parts per million, as clocks count them.
const MILLION: u64 = 1_000_000;
/// Every clock shows this at least: some decisions ask what was a lease ago.
const ORIGIN: Micros = 100 * SECOND;

/// The monotonic clock of one process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Microseconds that it counts in a true second.
    micros_per_second: u64,
}

impl Clock {
    /// A clock that runs fast by so many parts in a million, or slow if it is below 0.
    pub fn drifting(parts_per_million: i64) -> Self {
        Self { micros_per_second: MILLION.saturating_add_signed(parts_per_million) }
    }

    /// What it shows.
    pub fn read(self, at: Micros) -> Moment {
        Moment::from_origin(Duration::from_micros(ORIGIN + at * self.micros_per_second / MILLION))
    }

    /// The first true time at which it shows `moment` or more.
    pub fn when(self, moment: Moment) -> Micros {
        let shown = u64::try_from(moment.since_origin().as_micros()).unwrap_or(u64::MAX / MILLION);
        (shown.saturating_sub(ORIGIN) * MILLION).div_ceil(self.micros_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_has_reached_a_moment_when_it_says_so_and_not_before() {
        for drift in [-40_000, -1, 0, 7, 40_000] {
            let clock = Clock::drifting(drift);
            for at in [0, 1, 999, 123_456, 9 * SECOND] {
                let moment = clock.read(at);
                let when = clock.when(moment);
                assert!(clock.read(when) >= moment && when <= at, "{drift} {at}");
            }
        }
    }
}
