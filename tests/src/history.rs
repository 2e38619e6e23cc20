//! What clients saw and when, and whether anything in it went back in time.
//!
//! Every answer that shows a stock carries the stock's version, which only ever grows. So no long search is needed to
//! find a stale read: an operation must show at least the highest version that any answer had shown before the
//! operation began, and a trade must make a higher one. That is necessary and cheap, O(n log n) for a history of any
//! length. The numbers of orders and the log indices of listings grow in the same way and are checked as counters like
//! any stock.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The newest order that a complete page showed, or the number that a trade got.
pub const ORDERS: &str = "#orders";
/// The log index of a listing of all stocks.
pub const LISTING: &str = "#listing";

/// Something that was shown and cannot be if all keep the rules, unlike an error that a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl Error for Violation {}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an answer says about the version that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The operation made it: nobody can have seen it, or a later one, before.
    Made,
    /// It is current: nobody can have seen a later one before.
    Current,
    /// It exists, and no more.
    Exists,
}

/// One thing that one answer showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// A stock, [`ORDERS`] or [`LISTING`].
    pub of: String,
    /// Its version.
    pub version: u64,
    /// The quantity shown with it.
    pub quantity: Option<u64>,
    /// What the answer says about it.
    pub claim: Claim,
    /// When the operation began; its first request, if it was repeated.
    pub began: Duration,
    /// When its answer was there.
    pub ended: Duration,
    /// Who asked whom for what.
    pub by: Arc<str>,
}

impl Seen {
    /// Whether this cannot be, after an answer that was there before it was asked for.
    fn contradicts(&self, earlier: &Self) -> bool {
        match self.claim {
            Claim::Made => self.version <= earlier.version,
            Claim::Current => self.version < earlier.version,
            Claim::Exists => false,
        }
    }
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
        self.seen().extend(seen);
    }

    /// How many things were seen.
    pub fn len(&self) -> usize {
        self.seen().len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the whole history.
    ///
    /// # Errors
    /// If something went back in time, with the two answers that show it; or one version had two quantities.
    pub fn check(&self) -> Result<(), Violation> {
        let seen = self.seen();
        if let Some((earlier, later)) = first_contradiction(&seen) {
            return Err(Violation(format!("an answer went back in time\n  {earlier}\n  {later}")));
        }
        let mut quantities: HashMap<(&str, u64), u64> = HashMap::new();
        for seen in seen.iter() {
            let Some(quantity) = seen.quantity else { continue };
            let first = *quantities.entry((&seen.of, seen.version)).or_insert(quantity);
            if first != quantity {
                return Err(Violation(format!("two quantities of one version: {first} and {quantity}\n  {seen}")));
            }
        }
        Ok(())
    }

    /// All that was seen, a line each.
    pub fn lines(&self) -> String {
        self.seen().iter().map(|seen| format!("{seen}\n")).collect()
    }

    /// Every quantity that was shown, by stock and version.
    pub fn quantities(&self) -> HashMap<(String, u64), u64> {
        let shown = |seen: &Seen| Some(((seen.of.clone(), seen.version), seen.quantity?));
        self.seen().iter().filter_map(shown).collect()
    }
}

/// The first answer that contradicts one that was there before it was asked for, after that earlier one.
pub fn first_contradiction(history: &[Seen]) -> Option<(&Seen, &Seen)> {
    let mut by_end: Vec<&Seen> = history.iter().collect();
    by_end.sort_by_key(|seen| seen.ended);
    let mut by_begin: Vec<&Seen> = history.iter().collect();
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
        if let Some(known) = newest.get(seen.of.as_str()).filter(|known| seen.contradicts(known)) {
            return Some((known, seen));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Claim, History, Seen, first_contradiction};
    use crate::chaos::Draw;

    fn seen(version: u64, began: u64, ended: u64) -> Seen {
        let ([began, ended], claim) = ([began, ended].map(Duration::from_millis), Claim::Current);
        Seen { of: "A".into(), version, quantity: Some(100 - version), claim, began, ended, by: "a".into() }
    }

    fn made(version: u64, began: u64, ended: u64) -> Seen {
        Seen { claim: Claim::Made, ..seen(version, began, ended) }
    }

    fn exists(version: u64, began: u64, ended: u64) -> Seen {
        Seen { claim: Claim::Exists, ..seen(version, began, ended) }
    }

    #[test]
    fn overlapping_operations_may_show_either_version() {
        assert_eq!(first_contradiction(&[seen(2, 0, 10), seen(1, 5, 20), seen(2, 21, 22), made(2, 9, 21)]), None);
    }

    #[test]
    fn an_answer_older_than_one_that_was_there_before_is_found_with_both() {
        let history = [seen(1, 0, 1), seen(3, 2, 4), seen(2, 5, 6), seen(3, 7, 8)];
        assert_eq!(first_contradiction(&history), Some((&history[1], &history[2])));
    }

    #[test]
    fn a_trade_makes_a_version_that_nobody_has_seen_before() {
        for earlier in [seen(2, 0, 1), made(2, 0, 1), exists(2, 0, 1)] {
            assert!(first_contradiction(&[earlier.clone(), made(2, 2, 3)]).is_some(), "{earlier}");
            assert_eq!(first_contradiction(&[earlier.clone(), made(3, 2, 3)]), None, "{earlier}");
            assert_eq!(first_contradiction(&[earlier.clone(), seen(2, 2, 3)]), None, "{earlier}");
        }
    }

    #[test]
    fn stocks_are_apart_and_a_read_order_claims_nothing_about_now() {
        let other = Seen { of: "B".into(), ..seen(1, 5, 6) };
        assert_eq!(first_contradiction(&[seen(2, 0, 1), other, exists(1, 5, 6)]), None);
    }

    #[test]
    fn a_read_order_binds_the_lookups_after_it() {
        assert!(first_contradiction(&[exists(2, 0, 1), seen(1, 2, 3)]).is_some());
    }

    /// Compares every answer with every other one.
    fn by_brute_force(history: &[Seen]) -> bool {
        let wrong = |earlier: &Seen, later: &Seen| match later.claim {
            Claim::Made => earlier.version >= later.version,
            Claim::Current => earlier.version > later.version,
            Claim::Exists => false,
        };
        history.iter().any(|later| history.iter().any(|earlier| earlier.ended < later.began && wrong(earlier, later)))
    }

    #[test]
    fn the_sweep_agrees_with_brute_force() {
        let mut draw = Draw::new(7);
        let mut found = 0;
        for _ in 0..4_000 {
            let mut answer = |_| {
                let (version, began, lasts) = (draw.below(5), draw.below(30), draw.below(20));
                let claimed = *draw.one_of(&[seen, made, exists]);
                claimed(version, began, began + lasts)
            };
            let history: Vec<Seen> = (0..5).map(&mut answer).collect();
            let brute = by_brute_force(&history);
            assert_eq!(first_contradiction(&history).is_some(), brute, "{history:?}");
            found += usize::from(brute);
        }
        assert!((400..3_600).contains(&found), "both verdicts occur: {found}");
    }

    #[test]
    fn one_version_has_one_quantity() {
        let history = History::default();
        history.note([seen(1, 0, 1), Seen { quantity: Some(7), ..seen(1, 2, 3) }]);
        assert!(history.check().unwrap_err().to_string().contains("two quantities"));
    }
}
