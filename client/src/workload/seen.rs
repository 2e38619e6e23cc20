//! What one client has seen of each stock: no later answer may be older.

use std::collections::BTreeMap;

use bazaar_domain::StockName;

/// The highest version of each stock that one client was shown.
///
/// Invariant: versions never go back here, whatever is answered.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<StockName, u64>);

impl Seen {
    /// Takes the version of a lookup; false if an earlier answer showed a higher one.
    pub fn lookup(&mut self, name: StockName, version: u64) -> bool {
        let highest = self.0.entry(name).or_default();
        let fresh = version >= *highest;
        *highest = version.max(*highest);
        fresh
    }

    /// Takes the version after an own trade; false unless it is above all that was shown before the trade was sent.
    /// That holds for a repeated trade too: the client sent nothing else and saw nothing else in between.
    pub fn trade(&mut self, name: StockName, version: u64) -> bool {
        let highest = self.0.entry(name).or_default();
        let fresh = version > *highest;
        *highest = version.max(*highest);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_below_what_was_shown_is_stale_for_this_stock_only() {
        let (one, other) = (StockName::new("A").unwrap(), StockName::new("B").unwrap());
        let mut seen = Seen::default();
        assert!(seen.lookup(one, 5));
        assert!(seen.lookup(one, 5));
        assert!(seen.lookup(other, 1));
        assert!(!seen.lookup(one, 4));
        assert!(!seen.lookup(one, 4), "the highest version stays known");
        assert!(seen.lookup(one, 6));
    }

    #[test]
    fn an_own_trade_is_above_all_earlier_answers_and_binds_later_lookups() {
        let name = StockName::new("A").unwrap();
        let mut seen = Seen::default();
        assert!(seen.lookup(name, 5));
        assert!(!seen.trade(name, 5));
        assert!(seen.trade(name, 7));
        assert!(!seen.lookup(name, 6));
    }
}
