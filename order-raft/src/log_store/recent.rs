//! The newest entries of the log in memory, so that replication and apply do not read back what was just written.

use std::collections::VecDeque;

use crate::raft_types::Entry;

/// Most bytes of encoded entries that are kept.
const RECENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most entries that are kept.
const RECENT_ENTRIES_MAX: usize = 65_536;

/// A contiguous end of the log. Copies of entries share their payload's bytes.
#[derive(Debug)]
pub(super) struct RecentEntries {
    /// Entries with their encoded size in bytes. Invariant: their indexes follow each other without a gap.
    entries: VecDeque<(usize, Entry)>,
    bytes: usize,
    bytes_max: usize,
    entries_max: usize,
}

impl Default for RecentEntries {
    fn default() -> Self {
        Self::bounded(RECENT_BYTES_MAX, RECENT_ENTRIES_MAX)
    }
}

impl RecentEntries {
    fn bounded(bytes_max: usize, entries_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max, entries_max }
    }

    fn first(&self) -> Option<u64> {
        self.entries.front().map(|(_, entry)| entry.log_id.index)
    }

    fn last(&self) -> Option<u64> {
        self.entries.back().map(|(_, entry)| entry.log_id.index)
    }

    /// Adds the entry that was appended to the log, and lets go of the oldest ones past the bounds.
    pub(super) fn push(&mut self, entry: Entry, bytes: usize) {
        if self.last().is_some_and(|last| last + 1 != entry.log_id.index) {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.entries.push_back((bytes, entry));
        while self.bytes > self.bytes_max || self.entries.len() > self.entries_max {
            let (bytes, _) = self.entries.pop_front().expect("bounds are positive, so something is there");
            self.bytes -= bytes;
        }
    }

    /// Forgets the entries from `index` on.
    pub(super) fn truncate_from(&mut self, index: u64) {
        while self.last().is_some_and(|last| last >= index) {
            let (bytes, _) = self.entries.pop_back().expect("there is a last one");
            self.bytes -= bytes;
        }
    }

    /// Forgets the entries up to `index`, inclusive.
    pub(super) fn purge_through(&mut self, index: u64) {
        while self.first().is_some_and(|first| first <= index) {
            let (bytes, _) = self.entries.pop_front().expect("there is a first one");
            self.bytes -= bytes;
        }
    }

    /// The entries of `[start, end)`, as many as fit in `bytes_max` but at least one; `None` if not all of the range
    /// is in memory.
    pub(super) fn range(&self, start: u64, end: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let (first, last) = (self.first()?, self.last()?);
        if start < first || end > last + 1 || start >= end {
            return None;
        }
        let offset = |index: u64| usize::try_from(index - first).expect("an offset in memory");
        let mut bytes_left = bytes_max;
        let mut found = Vec::new();
        for (bytes, entry) in self.entries.range(offset(start)..offset(end)) {
            if *bytes > bytes_left && !found.is_empty() {
                break;
            }
            bytes_left = bytes_left.saturating_sub(*bytes);
            found.push(entry.clone());
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_store::test_entries::{blank, indexes};

    fn filled(range: std::ops::Range<u64>) -> RecentEntries {
        let mut recent = RecentEntries::bounded(1_000, 100);
        range.for_each(|index| recent.push(blank(1, index), 10));
        recent
    }

    #[test]
    fn a_range_is_served_only_if_all_of_it_is_there() {
        let recent = filled(5..10);
        assert_eq!(indexes(&recent.range(5, 10, usize::MAX).unwrap()), [5, 6, 7, 8, 9]);
        assert_eq!(indexes(&recent.range(6, 8, usize::MAX).unwrap()), [6, 7]);
        assert!(recent.range(4, 8, usize::MAX).is_none());
        assert!(recent.range(8, 11, usize::MAX).is_none());
        assert!(RecentEntries::default().range(0, 1, usize::MAX).is_none());
    }

    #[test]
    fn a_range_stops_at_the_byte_limit_but_holds_at_least_one_entry() {
        let recent = filled(0..10);
        assert_eq!(indexes(&recent.range(2, 9, 35).unwrap()), [2, 3, 4]);
        assert_eq!(indexes(&recent.range(2, 9, 1).unwrap()), [2]);
    }

    #[test]
    fn the_oldest_entries_go_when_the_bytes_or_the_count_are_exceeded() {
        let mut by_bytes = RecentEntries::bounded(25, 100);
        let mut by_count = RecentEntries::bounded(1_000, 3);
        for index in 0..10 {
            by_bytes.push(blank(1, index), 10);
            by_count.push(blank(1, index), 10);
        }
        assert_eq!((by_bytes.first(), by_bytes.last(), by_bytes.bytes), (Some(8), Some(9), 20));
        assert_eq!((by_count.first(), by_count.last(), by_count.bytes), (Some(7), Some(9), 30));
    }

    #[test]
    fn an_entry_larger_than_the_bound_is_not_kept() {
        let mut recent = RecentEntries::bounded(25, 100);
        recent.push(blank(1, 0), 26);
        assert_eq!((recent.first(), recent.bytes), (None, 0));
    }

    #[test]
    fn truncated_entries_are_replaced_by_those_appended_after() {
        let mut recent = filled(0..10);
        recent.truncate_from(6);
        assert!(recent.range(5, 7, usize::MAX).is_none());
        recent.push(blank(2, 6), 10);
        let found = recent.range(5, 7, usize::MAX).unwrap();
        assert_eq!(found, [blank(1, 5), blank(2, 6)]);
        assert_eq!(recent.bytes, 70);
    }

    #[test]
    fn purged_entries_are_gone_also_when_the_purge_reaches_past_the_end() {
        let mut recent = filled(0..10);
        recent.purge_through(3);
        assert_eq!((recent.first(), recent.bytes), (Some(4), 60));
        recent.purge_through(50);
        assert_eq!((recent.first(), recent.bytes), (None, 0));
    }

    #[test]
    fn a_gap_starts_the_cache_anew() {
        let mut recent = filled(0..10);
        recent.push(blank(1, 20), 10);
        assert_eq!((recent.first(), recent.last(), recent.bytes), (Some(20), Some(20), 10));
    }
}
