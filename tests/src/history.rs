//! What clients saw and when, and whether anything in it went back in time.
//!
//! Every answer that shows a stock carries the stock's version, which only ever grows. So no long search is needed to
//! find a stale read: an operation must show at least the highest version that any answer had shown before the
//! operation began. That is necessary and cheap, O(n log n) for a history of any length. The numbers of orders and the
//! log indices of listings grow in the same way and are checked as counters like any stock.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

/// The newest order that a complete page showed, or the number that a trade got.
pub const ORDERS: &str = "#orders";
/// The log index of a listing of all stocks.
pub const LISTING: &str = "#listing";

/// One thing that one answer showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// A stock, [`ORDERS`] or [`LISTING`].
    pub of: String,
    /// Its version.
    pub version: u64,
    /// The quantity shown with it.
    pub quantity: Option<u64>,
    /// Whether the answer claimed to be current. An order that was read shows that a version exists, and no more.
    pub current: bool,
    /// When the operation began; its first request, if it was repeated.
    pub began: Duration,
    /// When its answer was there.
    pub ended: Duration,
    /// Who asked whom for what.
    pub by: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, version, began, ended, by, .. } = self;
        write!(f, "{by}: version {version} of {of}, asked at {began:.6?}, answered at {ended:.6?}")
    }
}

/// A history that many clients write.
#[derive(Debug)]
pub struct History {
    zero: Instant,
    seen: Mutex<Vec<Seen>>,
}

impl Default for History {
    fn default() -> Self {
        Self { zero: Instant::now(), seen: Mutex::default() }
    }
}

impl History {
    /// The time, as the history counts it.
    pub fn now(&self) -> Duration {
        self.zero.elapsed()
    }

    /// Notes what an answer showed.
    pub fn note(&self, seen: impl IntoIterator<Item = Seen>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
    }

    /// How many things were seen.
    pub fn len(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks the whole history.
    ///
    /// # Errors
    /// If something went back in time, with the two answers that show it; or one version had two quantities.
    pub fn check(&self) -> Result<()> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((newer, older)) = first_older(&seen) {
            bail!("a read went back in time\n  {newer}\n  {older}");
        }
        let mut quantities: HashMap<(&str, u64), u64> = HashMap::new();
        for seen in seen.iter() {
            let Some(quantity) = seen.quantity else { continue };
            let first = *quantities.entry((&seen.of, seen.version)).or_insert(quantity);
            ensure!(first == quantity, "two quantities of one version: {first} and {quantity}\n  {seen}");
        }
        Ok(())
    }

    /// Every quantity that was shown, by stock and version.
    pub fn quantities(&self) -> HashMap<(String, u64), u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter_map(|seen| Some(((seen.of.clone(), seen.version), seen.quantity?))).collect()
    }
}

/// The first answer that showed less than one that was there before it was asked for, and that earlier one.
pub fn first_older(history: &[Seen]) -> Option<(&Seen, &Seen)> {
    let mut by_end: Vec<&Seen> = history.iter().collect();
    by_end.sort_by_key(|seen| seen.ended);
    let mut by_begin: Vec<&Seen> = history.iter().filter(|seen| seen.current).collect();
    by_begin.sort_by_key(|seen| seen.began);
    let mut newest: HashMap<&str, &Seen> = HashMap::new();
    let mut ended = by_end.into_iter().peekable();
    for seen in by_begin {
        while let Some(earlier) = ended.next_if(|earlier| earlier.ended < seen.began) {
            let known = newest.entry(&earlier.of).or_insert(earlier);
            if known.version < earlier.version {
                *known = earlier;
            }
        }
        if let Some(known) = newest.get(seen.of.as_str()).filter(|known| known.version > seen.version) {
            return Some((known, seen));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{History, Seen, first_older};

    fn seen(version: u64, began: u64, ended: u64) -> Seen {
        let [began, ended] = [began, ended].map(Duration::from_millis);
        Seen { of: "A".into(), version, quantity: Some(100 - version), current: true, began, ended, by: "a".into() }
    }

    #[test]
    fn overlapping_operations_may_show_either_version() {
        assert_eq!(first_older(&[seen(2, 0, 10), seen(1, 5, 20), seen(2, 21, 22)]), None);
    }

    #[test]
    fn an_answer_older_than_one_that_was_there_before_is_found_with_both() {
        let history = [seen(1, 0, 1), seen(3, 2, 4), seen(2, 5, 6), seen(3, 7, 8)];
        assert_eq!(first_older(&history), Some((&history[1], &history[2])));
    }

    #[test]
    fn stocks_are_apart_and_a_read_order_claims_nothing_about_now() {
        let other = Seen { of: "B".into(), ..seen(1, 5, 6) };
        let order = Seen { current: false, ..seen(1, 5, 6) };
        assert_eq!(first_older(&[seen(2, 0, 1), other, order]), None);
    }

    #[test]
    fn a_read_order_binds_the_lookups_after_it() {
        let order = Seen { current: false, ..seen(2, 0, 1) };
        assert!(first_older(&[order, seen(1, 2, 3)]).is_some());
    }

    /// The same verdict as comparing every answer with every other one.
    #[test]
    fn the_sweep_agrees_with_brute_force() {
        let mut state = 7_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut found = 0;
        for _ in 0..2_000 {
            let history: Vec<Seen> = (0..6)
                .map(|_| {
                    let began = next(20);
                    seen(next(4), began, began + next(10))
                })
                .collect();
            let brute = history
                .iter()
                .any(|older| history.iter().any(|newer| newer.ended < older.began && newer.version > older.version));
            assert_eq!(first_older(&history).is_some(), brute, "{history:?}");
            found += usize::from(brute);
        }
        assert!((200..1_800).contains(&found), "both verdicts occur: {found}");
    }

    #[test]
    fn one_version_has_one_quantity() {
        let history = History::default();
        history.note([seen(1, 0, 1), Seen { quantity: Some(7), ..seen(1, 2, 3) }]);
        assert!(history.check().unwrap_err().to_string().contains("two quantities"));
    }
}
