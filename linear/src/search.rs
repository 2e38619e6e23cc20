//! The search for an order that explains one prefix of a history.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::{
    chain::Chain,
    prefix::{Prefix, Span, Unanswered},
    specification::Specification,
};

/// The clock is read once in so many steps.
const STEPS_PER_LOOK: usize = 64;

/// How much a check may take before it ends with "unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The longest time for one history.
    pub time_max: Duration,
    /// The most that one search remembers: visited points and those still to visit. One takes 100 to 200 bytes.
    pub entries_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { time_max: Duration::from_secs(60), entries_max: 5_000_000 }
    }
}

/// Why a search ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its time was over.
    Time,
    /// It would have had to remember more than it may.
    Entries,
}

/// An order of operations that explains every answer, and the state that it ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explanation<State> {
    pub(crate) order: Vec<usize>,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(crate) enum Found<State> {
    /// There is such an order.
    Order(Explanation<State>),
    /// There is none; so many points were visited to know it.
    Nothing(usize),
    /// Nobody knows; so many answers were explained in the longest order.
    Unknown(Why, usize),
}

/// A point of the search that is still to be visited.
struct Choice<State> {
    /// How long the order is before it.
    length: usize,
    /// What comes next in the order.
    operation: usize,
    /// The state after that.
    state: State,
}

/// What of the chain can come next.
struct Window {
    /// The first return of all operations that have no place yet.
    first_return: usize,
    /// How many answered ones were called before it.
    answered: usize,
    /// The highest progress at which each answered operation without a place can still get its answer.
    ceiling: u64,
}

/// Invariant: `order`, `placed`, `fingerprint` and `chain` always tell of the same operations.
pub(crate) struct Search<'a, S: Specification> {
    prefix: Prefix<'a, S>,
    /// Calls and returns of the answered operations that have no place in the order yet.
    chain: Chain,
    /// What has a place in the order.
    placed: Vec<bool>,
    order: Vec<usize>,
    /// Stands for the set of the placed operations.
    fingerprint: u128,
    visited: HashSet<(u128, S::State)>,
    choices: Vec<Choice<S::State>>,
    /// The furthest return that everything before had a place for.
    reached: usize,
    steps: usize,
}

impl<'a, S: Specification> Search<'a, S> {
    pub(crate) fn new(prefix: Prefix<'a, S>) -> Self {
        Self {
            chain: prefix.chain(),
            placed: vec![false; prefix.spans.len()],
            prefix,
            order: Vec::new(),
            fingerprint: 0,
            visited: HashSet::new(),
            choices: Vec::new(),
            reached: Chain::END,
            steps: 0,
        }
    }

    /// Searches depth first, so that an order is found soon if there are many.
    pub(crate) fn run(mut self, start: S::State, begun: Instant, bounds: &Bounds) -> Found<S::State> {
        let mut here = Some(start);
        while let Some(state) = here {
            self.place_what_is_idle(&state);
            if self.chain.next(Chain::END) == Chain::END {
                return Found::Order(Explanation { order: self.order, state });
            }
            self.collect_choices(&state);
            if let Some(why) = self.over(begun, bounds) {
                return Found::Unknown(why, self.prefix.returns_before(self.reached));
            }
            here = self.choose();
        }
        Found::Nothing(self.visited.len())
    }

    /// What is idle and fits here gets its place at once, without a choice: whoever finds an order in which it comes
    /// later, or not at all, can also have it here.
    fn place_what_is_idle(&mut self, state: &S::State) {
        let mut number = self.chain.next(Chain::END);
        while let Some(operation) = self.prefix.called(number) {
            if self.fits_idle(state, operation) {
                self.place(operation);
            }
            // What is taken out still knows what came after it.
            number = self.chain.next(number);
        }
        for Unanswered { operation, .. } in self.unanswered_before(number) {
            if self.fits_idle(state, operation) {
                self.place(operation);
            }
        }
    }

    fn fits_idle(&self, state: &S::State, operation: usize) -> bool {
        let (input, output) = self.prefix.asked(operation);
        S::is_idle(state, input, output) && S::step(state, input, output).is_some()
    }

    /// Notes what may come next: what was called before the first return of all that have no place yet. The last one
    /// noted is tried first.
    fn collect_choices(&mut self, state: &S::State) {
        let Window { first_return, answered, ceiling } = self.window();
        self.reached = self.reached.max(first_return);
        let unanswered = self.unanswered_before(first_return);
        // Each of these makes one step at most, the one that returns first the last of them.
        let highest = S::progress(state).saturating_add((answered + unanswered.len()) as u64 - 1);
        if S::progress(state) > ceiling || highest < self.prefix.needed_for(first_return) {
            return;
        }
        // Answered operations are better guesses than unanswered ones, which may have no effect at all.
        self.collect_unanswered(state, &unanswered, ceiling);
        let mut number = self.chain.previous(first_return);
        while let Some(operation) = self.prefix.called(number) {
            if let Some(after) = self.prefix.step(state, operation) {
                self.note(operation, after);
            }
            number = self.chain.previous(number);
        }
    }

    fn unanswered_before(&self, number: usize) -> Vec<Unanswered> {
        let called = self.prefix.unanswered.iter().take_while(|it| self.prefix.spans[it.operation].called < number);
        called.filter(|it| !self.placed[it.operation]).copied().collect()
    }

    fn collect_unanswered(&mut self, state: &S::State, unanswered: &[Unanswered], ceiling: u64) {
        let mut likely = Vec::new();
        for &Unanswered { operation, twin } in unanswered {
            // Of those that ask the same, the oldest goes first: which of them it was makes no difference to what follows.
            if twin.is_some_and(|twin| !self.placed[twin]) {
                continue;
            }
            // One without an effect can as well be left out.
            let after = self.prefix.step(state, operation).filter(|after| after != state);
            let Some(after) = after.filter(|after| S::progress(after) <= ceiling) else { continue };
            if self.prefix.is_likely(state, operation) {
                likely.push((operation, after));
            } else {
                self.note(operation, after);
            }
        }
        likely.into_iter().for_each(|(operation, after)| self.note(operation, after));
    }

    fn window(&self) -> Window {
        let (mut answered, mut ceiling) = (0, u64::MAX);
        let mut number = self.chain.next(Chain::END);
        while let Some(operation) = self.prefix.called(number) {
            answered += 1;
            ceiling = ceiling.min(*self.prefix.accepted_at[operation].end());
            number = self.chain.next(number);
        }
        // What was called after that return has no place either.
        Window { first_return: number, answered, ceiling: ceiling.min(self.prefix.latest_from[number]) }
    }

    /// Goes on with the newest choice that leads to a point not visited before.
    fn choose(&mut self) -> Option<S::State> {
        while let Some(Choice { length, operation, state }) = self.choices.pop() {
            self.cut_back_to(length);
            self.place(operation);
            if self.visited.insert((self.fingerprint, state.clone())) {
                return Some(state);
            }
        }
        None
    }

    fn note(&mut self, operation: usize, state: S::State) {
        self.choices.push(Choice { length: self.order.len(), operation, state });
    }

    fn place(&mut self, operation: usize) {
        let Span { called, returned } = self.prefix.spans[operation];
        if let Some(returned) = returned {
            self.chain.take_out(returned);
            self.chain.take_out(called);
        }
        self.placed[operation] = true;
        self.fingerprint ^= fingerprint(operation);
        self.order.push(operation);
    }

    fn cut_back_to(&mut self, length: usize) {
        while self.order.len() > length {
            let operation = self.order.pop().expect("it is longer than that");
            let Span { called, returned } = self.prefix.spans[operation];
            if let Some(returned) = returned {
                self.chain.put_back(called);
                self.chain.put_back(returned);
            }
            self.placed[operation] = false;
            self.fingerprint ^= fingerprint(operation);
        }
    }

    fn over(&mut self, begun: Instant, bounds: &Bounds) -> Option<Why> {
        self.steps += 1;
        if self.visited.len() + self.choices.len() > bounds.entries_max {
            return Some(Why::Entries);
        }
        let late = self.steps.is_multiple_of(STEPS_PER_LOOK) && begun.elapsed() >= bounds.time_max;
        late.then_some(Why::Time)
    }
}

/// Two numbers of 64 bits that look drawn by lot, for each operation. The set of placed operations is known by the sum
/// without carry of those of its members, so that it is updated at once and needs no memory. Two sets of one history
/// would be taken for one with odds of 2^-128: below 10^-24 for any pair of ten million.
fn fingerprint(operation: usize) -> u128 {
    let half = |salt: u64| u128::from(scattered((operation as u64).wrapping_mul(2).wrapping_add(salt)));
    half(0) << 64 | half(1)
}

/// The mixing step of SplitMix64, a bijection.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
