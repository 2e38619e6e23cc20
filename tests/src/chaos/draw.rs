//! What is drawn from a seed.

use std::time::Duration;

/// A small generator: the same seed gives the same draws (Knuth's MMIX constants).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// Draws from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.place(all.len())]
    }

    /// True in one of so many draws.
    pub fn one_in(&mut self, draws: u64) -> bool {
        self.below(draws) == 0
    }

    /// A time between these.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from((most - least).as_millis()).expect("faults are short");
        least + Duration::from_millis(self.below(span + 1))
    }

    /// Brings these into another order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.place(last + 1));
        }
    }

    fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a length")
    }
}
