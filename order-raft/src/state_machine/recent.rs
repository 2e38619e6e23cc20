//! The newest applied entries, kept in memory for the catalog: a new leader can go on publishing where the old one
//! stopped, without reading its log back. What is older than this is replaced by an inventory snapshot.

use std::{collections::VecDeque, sync::Arc};

use bazaar_domain::internal::{ItemStatus, PublishedEntry};
use bazaar_service::Origin;

/// Items (trades and listing changes) kept at most.
const RECENT_ITEMS_MAX: usize = 131_072;

/// A published entry with our own results.
#[derive(Debug)]
pub struct RecentEntry {
    /// What the catalog gets.
    pub published: PublishedEntry,
    /// What our state machine made of it.
    pub statuses: Vec<ItemStatus>,
    /// Whose requests it carries, if this replica proposed it.
    pub origin: Option<Arc<Origin>>,
}

/// The newest applied entries that carry items.
#[derive(Debug)]
pub struct RecentEntries {
    entries: VecDeque<Arc<RecentEntry>>,
    items: usize,
    /// Invariant: every entry with items in `(covers_after, applied]` is in `entries`.
    covers_after: u64,
    applied: u64,
}

/// Everything in `(previous, through]`.
#[derive(Debug)]
pub struct RecentRange {
    /// The last log index that this covers.
    pub through: u64,
    /// The entries with items, by index.
    pub entries: Vec<Arc<RecentEntry>>,
}

impl RecentEntries {
    /// Starts at an applied position, with nothing before it.
    pub fn starting_at(applied: u64) -> Self {
        Self { entries: VecDeque::new(), items: 0, covers_after: applied, applied }
    }

    /// Takes the next entries, up to the applied index `applied`.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = RecentEntry>, applied: u64) {
        for entry in entries {
            if !entry.published.items.is_empty() {
                self.items += entry.published.items.len();
                self.entries.push_back(Arc::new(entry));
            }
        }
        self.applied = applied;
        while self.items > RECENT_ITEMS_MAX && self.entries.len() > 1 {
            let oldest = self.entries.pop_front().expect("there is more than one");
            self.items -= oldest.published.items.len();
            self.covers_after = oldest.published.index;
        }
    }

    /// Everything behind `previous`, up to about `items_max` items; `None` if part of it is no longer kept.
    pub fn after(&self, previous: u64, items_max: usize) -> Option<RecentRange> {
        if previous < self.covers_after {
            return None;
        }
        let first = self.entries.partition_point(|entry| entry.published.index <= previous);
        let mut range = RecentRange { through: self.applied.max(previous), entries: Vec::new() };
        let mut items = 0;
        for entry in self.entries.range(first..) {
            if items >= items_max {
                range.through = range.entries.last().map_or(previous, |last: &Arc<RecentEntry>| last.published.index);
                break;
            }
            items += entry.published.items.len();
            range.entries.push(Arc::clone(entry));
        }
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{
        Listing, ListingChange,
        internal::{PublishedEntry, PublishedItem},
    };

    use super::{RECENT_ITEMS_MAX, RecentEntries, RecentEntry};

    fn entry(index: u64, items: usize) -> RecentEntry {
        let listing = Listing {
            key: "k".parse().unwrap(),
            name: "S".parse().unwrap(),
            change: ListingChange::Restock { quantity: 1 },
        };
        let items = vec![PublishedItem::Listing(listing); items];
        RecentEntry { published: PublishedEntry { index, items }, statuses: Vec::new(), origin: None }
    }

    fn indexes(recent: &RecentEntries, previous: u64, items_max: usize) -> Option<(Vec<u64>, u64)> {
        let range = recent.after(previous, items_max)?;
        Some((range.entries.iter().map(|entry| entry.published.index).collect(), range.through))
    }

    #[test]
    fn a_range_covers_entries_without_items_too() {
        let mut recent = RecentEntries::starting_at(4);
        recent.extend([entry(5, 1), entry(6, 0), entry(7, 2)], 9);
        assert_eq!(indexes(&recent, 4, 100), Some((vec![5, 7], 9)));
        assert_eq!(indexes(&recent, 5, 100), Some((vec![7], 9)));
        assert_eq!(indexes(&recent, 9, 100), Some((vec![], 9)));
    }

    #[test]
    fn a_range_cut_by_size_ends_at_its_last_entry() {
        let mut recent = RecentEntries::starting_at(0);
        recent.extend([entry(1, 2), entry(2, 2), entry(3, 2)], 3);
        assert_eq!(indexes(&recent, 0, 3), Some((vec![1, 2], 2)));
    }

    #[test]
    fn what_is_no_longer_kept_is_refused_rather_than_skipped() {
        let mut recent = RecentEntries::starting_at(10);
        assert_eq!(indexes(&recent, 9, 100), None);
        recent.extend([entry(11, RECENT_ITEMS_MAX), entry(12, 1)], 12);
        assert_eq!(indexes(&recent, 10, 100), None);
        assert_eq!(indexes(&recent, 11, 100), Some((vec![12], 12)));
    }
}
