//! Log lines that a misbehaving peer could cause many of.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Time between two such lines.
const WARN_INTERVAL: Duration = Duration::from_secs(5);

/// Lets one line through per interval and counts the others.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl State {
    /// The number of lines that were left out before this one, or `None` if this one is left out too.
    fn step(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < WARN_INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl RateLimit {
    /// Whether to write a line now; if so, how many were left out before it.
    pub(super) fn allows(&self) -> Option<u64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).step(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_interval_passes_and_tells_how_many_did_not() {
        let (mut state, start) = (State::default(), Instant::now());
        assert_eq!(state.step(start), Some(0));
        assert_eq!(state.step(start + WARN_INTERVAL / 2), None);
        assert_eq!(state.step(start + WARN_INTERVAL / 2), None);
        assert_eq!(state.step(start + WARN_INTERVAL), Some(2));
        assert_eq!(state.step(start + 2 * WARN_INTERVAL), Some(0));
    }
}
