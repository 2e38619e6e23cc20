//! What the checker has to know of a thing that clients use.

use std::{hash::Hash, ops::RangeInclusive};

/// What a thing does that is used by one client at a time.
pub trait Specification {
    /// What is asked. Two unanswered operations with equal inputs are taken for interchangeable.
    type Input: Eq + Hash;
    /// What is answered.
    type Output;
    /// All that later answers depend on. It is cloned and hashed often.
    type State: Clone + Eq + Hash;

    /// The state after an operation, or nothing if it cannot take effect in this state with this output. Without an
    /// output, any output will do.
    fn step(state: &Self::State, input: &Self::Input, output: Option<&Self::Output>) -> Option<Self::State>;

    /// A number that each step leaves as it is or makes larger by one.
    fn progress(_state: &Self::State) -> u64 {
        0
    }

    /// The [`progress`](Self::progress) of all states in which `step` accepts this output; others may be in the range.
    /// It lets the search give up early.
    fn accepted_at(_input: &Self::Input, _output: &Self::Output) -> RangeInclusive<u64> {
        0..=u64::MAX
    }

    /// Whether an operation with this output (or without one, whatever it would be) changes nothing here, and nothing in
    /// any state that comes after this one. A lookup does not; a write of what is there already may change something
    /// later. Only asked where `step` accepts the output.
    fn is_idle(_state: &Self::State, _input: &Self::Input, _output: Option<&Self::Output>) -> bool {
        false
    }
}
