//! The newest log entries of all replicas, aligned by index. Pure.

use bazaar_domain::ReplicaId;

use super::model::{EntryLook, ReplicaLook};

/// Entries shown of each replica.
pub(crate) const LANE_ENTRIES: u64 = 30;

/// How far an entry got on its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// It is in the log, and may still be replaced.
    Logged,
    /// It is known to be committed.
    Committed,
    /// It is applied.
    Applied,
}

/// An entry in its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) entry: EntryLook,
    pub(crate) progress: Progress,
    /// The newest snapshot covers the log up to here.
    pub(crate) is_snapshot: bool,
    /// Its term is another one than that of the entry before.
    pub(crate) begins_term: bool,
}

/// The log of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) replica: ReplicaId,
    /// Whether it is as of now; otherwise as of the last time that the replica answered.
    pub(crate) is_current: bool,
    pub(crate) last: Option<u64>,
    pub(crate) committed: Option<u64>,
    pub(crate) applied: Option<u64>,
    pub(crate) snapshot: Option<u64>,
    /// One for each index of the window; none where the replica has no such entry.
    pub(crate) cells: Vec<Option<Cell>>,
}

/// The lanes, and the log indexes that they show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lanes {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) lanes: Vec<Lane>,
    /// The terms that are seen, in order.
    pub(crate) terms: Vec<u64>,
}

/// Aligns the logs by index: the window ends with the last entry that any replica has.
pub(crate) fn align(replicas: &[ReplicaLook]) -> Lanes {
    let last = replicas.iter().filter_map(last_index).max().unwrap_or(0);
    let first = (last + 1).saturating_sub(LANE_ENTRIES);
    let lanes: Vec<Lane> = replicas.iter().map(|replica| lane(replica, first, last)).collect();
    let cells = lanes.iter().flat_map(|lane| lane.cells.iter().flatten());
    let terms: std::collections::BTreeSet<u64> = cells.map(|cell| cell.entry.term).collect();
    Lanes { first, last, terms: terms.into_iter().collect(), lanes }
}

fn last_index(replica: &ReplicaLook) -> Option<u64> {
    replica.entries.keys().next_back().copied()
}

fn lane(replica: &ReplicaLook, first: u64, last: u64) -> Lane {
    let log = replica.inside.as_ref().map(|inside| &inside.log);
    let committed = log.and_then(|log| Some(log.committed?.index));
    let applied = log.and_then(|log| Some(log.applied?.index));
    let snapshot = replica.inside.as_ref().and_then(|inside| Some(inside.snapshot?.index));
    let cell = |index: u64| {
        let entry = replica.entries.get(&index)?.clone();
        let before = index.checked_sub(1).and_then(|before| replica.entries.get(&before));
        let reached = |mark: Option<u64>| mark.is_some_and(|mark| index <= mark);
        Some(Cell {
            progress: match (reached(applied), reached(committed)) {
                (true, _) => Progress::Applied,
                (_, true) => Progress::Committed,
                _ => Progress::Logged,
            },
            is_snapshot: snapshot == Some(index),
            begins_term: before.is_some_and(|before| before.term != entry.term),
            entry,
        })
    };
    Lane {
        replica: replica.id,
        is_current: replica.is_reachable(),
        last: last_index(replica).or(log.and_then(|log| log.last)),
        committed,
        applied,
        snapshot,
        cells: (first..=last).map(cell).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixtures::{entries, replica};

    #[test]
    fn lanes_are_aligned_by_index_and_a_lagging_one_ends_earlier() {
        let mut behind = replica(1);
        behind.entries = entries(1..=38, 7);
        let mut ahead = replica(3);
        ahead.entries = entries(1..=40, 7);
        let lanes = align(&[behind, ahead]);
        assert_eq!((lanes.first, lanes.last), (11, 40));
        assert!(lanes.lanes.iter().all(|lane| lane.cells.len() == 30));
        let indexes = |lane: usize| lanes.lanes[lane].cells.iter().flatten().map(|cell| cell.entry.index);
        assert_eq!((indexes(0).next(), indexes(0).next_back()), (Some(11), Some(38)));
        assert_eq!(indexes(1).next_back(), Some(40));
    }

    #[test]
    fn an_entry_shows_how_far_it_got_and_where_a_term_begins() {
        let mut look = replica(3);
        look.entries = entries(1..=4, 7);
        look.entries.extend(entries(5..=8, 9));
        let inside = look.inside.as_mut().unwrap();
        inside.log.applied = Some(super::super::model::Position { index: 5 });
        inside.log.committed = Some(super::super::model::Position { index: 6 });
        inside.snapshot = Some(super::super::model::Position { index: 2 });
        let lanes = align(&[look]);
        let cell = |index: usize| lanes.lanes[0].cells[index].clone().unwrap();
        assert_eq!(
            (cell(5).progress, cell(6).progress, cell(7).progress),
            (Progress::Applied, Progress::Committed, Progress::Logged)
        );
        assert!(cell(5).begins_term && !cell(6).begins_term && cell(2).is_snapshot);
        assert_eq!(lanes.terms, [7, 9]);
    }

    #[test]
    fn a_cluster_that_shows_no_log_has_an_empty_window() {
        let lanes = align(&[]);
        assert_eq!((lanes.first, lanes.last, lanes.lanes.len()), (0, 0, 0));
    }
}
