//! What a leader knows of how far each follower is behind: in milliseconds, and when one has caught up. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::raft_types::RaftId;

/// Samples of the log's end that are kept: with one every 50 ms, the last few minutes.
const SAMPLES_MAX: usize = 4_096;
/// A follower that lacks more log entries than this is behind, and it is worth an event when it has them again.
const BEHIND_ENTRIES: u64 = 1_000;
/// A follower that lacks no more than this has caught up: under load some entries are always on their way.
const CAUGHT_UP_ENTRIES: u64 = 50;

/// A follower has everything again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtUp {
    /// Who.
    pub id: RaftId,
    /// How many entries it had to take in.
    pub entries: u64,
    /// Since it began to.
    pub took: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    /// Where it stood when it was last seen standing still.
    from: u64,
    since: Instant,
    /// Where it stood at the last look.
    seen: u64,
}

/// The followers of one leader.
#[derive(Debug, Default)]
pub struct Followers {
    /// The end of the log at moments in the past, oldest first.
    ends: VecDeque<(u64, Instant)>,
    behind: BTreeMap<RaftId, Behind>,
}

impl Followers {
    /// Takes a look: the end of the leader's log, and up to where each follower is known to have it.
    pub fn look(&mut self, last: u64, matched: &[(RaftId, u64)], now: Instant) -> Vec<CaughtUp> {
        if self.ends.back().is_none_or(|(end, _)| *end < last) {
            if self.ends.len() == SAMPLES_MAX {
                self.ends.pop_front();
            }
            self.ends.push_back((last, now));
        }
        self.behind.retain(|id, _| matched.iter().any(|(known, _)| known == id));
        matched.iter().filter_map(|(id, matched)| self.look_at(*id, *matched, last, now)).collect()
    }

    fn look_at(&mut self, id: RaftId, matched: u64, last: u64, now: Instant) -> Option<CaughtUp> {
        let lag = last.saturating_sub(matched);
        match self.behind.get_mut(&id) {
            None if lag > BEHIND_ENTRIES => {
                self.behind.insert(id, Behind { from: matched, since: now, seen: matched });
                None
            }
            Some(behind) if lag <= CAUGHT_UP_ENTRIES => {
                let caught_up = CaughtUp { id, entries: matched - behind.from, took: now - behind.since };
                self.behind.remove(&id);
                Some(caught_up)
            }
            Some(behind) if behind.seen == matched => {
                // It stands still, because it is away or gets a snapshot: the time counts from when it moves again.
                if behind.from == matched {
                    behind.since = now;
                }
                None
            }
            Some(behind) => {
                behind.seen = matched;
                None
            }
            None => None,
        }
    }

    /// For how long the entry after `matched` has been in the leader's log; 0 if there is none. `None` if that was too
    /// long ago to know.
    pub fn lag_ms(&self, matched: u64, last: u64, now: Instant) -> Option<u64> {
        if matched >= last {
            return Some(0);
        }
        let next = self.ends.partition_point(|(end, _)| *end <= matched);
        // Before the first sample nothing is known; after the last one the entry is younger than a look.
        if next == 0 && self.ends.front().is_some() {
            return None;
        }
        let since = self.ends.get(next).map_or(now, |(_, at)| *at);
        u64::try_from(now.saturating_duration_since(since).as_millis()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{CaughtUp, Followers};
    use crate::raft_types::RaftId;

    const SECOND: RaftId = RaftId { replica: 2, life: 0 };

    #[test]
    fn the_lag_in_time_is_the_age_of_the_first_entry_that_is_missing() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut followers = Followers::default();
        for (last, millis) in [(10, 0), (20, 100), (20, 150), (30, 200)] {
            followers.look(last, &[], at(millis));
        }
        assert_eq!(followers.lag_ms(30, 30, at(400)), Some(0));
        assert_eq!(followers.lag_ms(20, 30, at(400)), Some(200), "entry 21 was first seen at 200");
        assert_eq!(followers.lag_ms(15, 30, at(400)), Some(300), "entry 16 was first seen at 100");
        assert_eq!(followers.lag_ms(5, 30, at(400)), None, "before the first look");
    }

    #[test]
    fn a_catch_up_is_told_once_and_counts_from_when_the_follower_moved() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut followers = Followers::default();
        let looks = [(5_000, 100, 0), (6_000, 100, 1_000), (6_000, 3_000, 1_100), (6_000, 3_000, 1_200)];
        for (last, matched, millis) in looks {
            assert_eq!(followers.look(last, &[(SECOND, matched)], at(millis)), []);
        }
        let caught_up = CaughtUp { id: SECOND, entries: 5_900, took: Duration::from_millis(500) };
        assert_eq!(followers.look(6_000, &[(SECOND, 6_000)], at(1_500)), [caught_up]);
        assert_eq!(followers.look(6_010, &[(SECOND, 6_000)], at(1_600)), []);
    }

    #[test]
    fn a_small_lag_is_no_event() {
        let now = Instant::now();
        let mut followers = Followers::default();
        followers.look(500, &[(SECOND, 0)], now);
        assert_eq!(followers.look(500, &[(SECOND, 500)], now), []);
    }
}
