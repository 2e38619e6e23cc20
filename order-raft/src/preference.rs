//! When a leader hands over to a replica with a higher number, if the configuration prefers that. Pure.

use std::time::{Duration, Instant};

use crate::raft_types::RaftId;

/// For so long the preferred replica must have been well, without a break.
const QUIET_MIN: Duration = Duration::from_secs(3);
/// After each attempt that failed the quiet time doubles, up to this.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// The leader's memory of the preferred replica.
#[derive(Debug)]
pub struct Preference {
    /// Who has been well, and since when.
    well: Option<(RaftId, Instant)>,
    quiet: Duration,
}

impl Default for Preference {
    fn default() -> Self {
        Self { well: None, quiet: QUIET_MIN }
    }
}

impl Preference {
    /// Takes a look at who would be preferred now: the voter with the highest number above the leader's own, if it is in
    /// step. Returns whom to hand over to now. A leader that is asked again has failed to.
    pub fn look(&mut self, preferred: Option<RaftId>, now: Instant) -> Option<RaftId> {
        let Some(preferred) = preferred else {
            self.well = None;
            return None;
        };
        let since = match self.well {
            Some((known, since)) if known == preferred => since,
            _ => {
                self.well = Some((preferred, now));
                now
            }
        };
        if now.saturating_duration_since(since) < self.quiet {
            return None;
        }
        self.well = None;
        self.quiet = (self.quiet * 2).min(QUIET_MAX);
        Some(preferred)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Preference;
    use crate::raft_types::RaftId;

    const THIRD: RaftId = RaftId { replica: 3, life: 0 };

    #[test]
    fn it_hands_over_only_after_a_quiet_time_without_a_break() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut preference = Preference::default();
        assert_eq!(preference.look(Some(THIRD), at(0)), None);
        assert_eq!(preference.look(None, at(2)), None, "a break");
        assert_eq!(preference.look(Some(THIRD), at(3)), None);
        assert_eq!(preference.look(Some(THIRD), at(5)), None);
        assert_eq!(preference.look(Some(THIRD), at(6)), Some(THIRD));
    }

    #[test]
    fn each_failure_makes_it_wait_twice_as_long() {
        let start = Instant::now();
        let mut preference = Preference::default();
        let mut attempts = Vec::new();
        for second in 0..200 {
            if preference.look(Some(THIRD), start + Duration::from_secs(second)).is_some() {
                attempts.push(second);
            }
        }
        assert_eq!(attempts, [3, 10, 23, 48, 97, 158]);
    }
}
