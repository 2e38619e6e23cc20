//! Keys whose clients were told "outcome unknown": until such a key is decided, no later request under it may be told
//! that the trade did not happen, for the earlier one may still be in a log.

use std::collections::{HashMap, VecDeque};

use bazaar_domain::IdempotencyKey;

/// Keys remembered at most. The oldest is forgotten first; its outcome is then long decided or its log entry gone.
const UNCERTAIN_KEYS_MAX: usize = 65_536;

/// The remembered keys.
#[derive(Debug, Default)]
pub struct UncertainKeys {
    /// When each was remembered, as a count.
    known: HashMap<IdempotencyKey, u64>,
    /// In the order in which they were remembered. A key that was decided since, or remembered anew, leaves its old place
    /// behind: there its count is another one.
    order: VecDeque<(IdempotencyKey, u64)>,
    count: u64,
}

impl UncertainKeys {
    /// The outcome of this key is not known.
    pub fn remember(&mut self, key: &IdempotencyKey) {
        if self.known.contains_key(key) {
            return;
        }
        self.count += 1;
        self.known.insert(key.clone(), self.count);
        self.order.push_back((key.clone(), self.count));
        if self.order.len() > UNCERTAIN_KEYS_MAX
            && let Some((oldest, count)) = self.order.pop_front()
            && self.known.get(&oldest) == Some(&count)
        {
            self.known.remove(&oldest);
        }
    }

    /// The key was decided.
    pub fn forget(&mut self, key: &IdempotencyKey) {
        self.known.remove(key);
    }

    /// Whether the key's outcome is not known.
    pub fn contains(&self, key: &IdempotencyKey) -> bool {
        !self.known.is_empty() && self.known.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::{UNCERTAIN_KEYS_MAX, UncertainKeys};

    #[test]
    fn the_oldest_keys_make_room_and_decided_ones_are_forgotten() {
        let mut keys = UncertainKeys::default();
        let key = |number: usize| format!("k{number}").parse().unwrap();
        for number in 0..=UNCERTAIN_KEYS_MAX {
            keys.remember(&key(number));
        }
        assert!(!keys.contains(&key(0)));
        assert!(keys.contains(&key(1)) && keys.contains(&key(UNCERTAIN_KEYS_MAX)));
        keys.forget(&key(1));
        assert!(!keys.contains(&key(1)));
    }

    #[test]
    fn a_key_remembered_anew_outlives_its_old_place() {
        let mut keys = UncertainKeys::default();
        let key = |number: usize| format!("k{number}").parse().unwrap();
        keys.remember(&key(0));
        keys.forget(&key(0));
        keys.remember(&key(0));
        for number in 1..UNCERTAIN_KEYS_MAX {
            keys.remember(&key(number));
        }
        assert!(keys.contains(&key(0)));
    }
}
