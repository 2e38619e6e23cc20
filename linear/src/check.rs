//! The verdict on a history.

use std::time::Instant;

use crate::{
    history::{Operation, Timeline},
    prefix::Prefix,
    search::{Bounds, Explanation, Found, Search, Why},
    specification::Specification,
};

/// A prefix may be harder to search than the whole, since what was not answered by then could have had any answer. It is
/// given up if it takes so many entries more.
const PREFIX_ENTRIES_MORE_MAX: usize = 100_000;

/// Whether a history is linearizable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<State> {
    /// One order of the operations explains all answers.
    Ok,
    /// None does.
    Violation(Violation<State>),
    /// The search had to end before it knew. This is not a pass.
    Unknown(Unknown),
}

/// A prefix of a history that no order explains: the shortest, unless the search for that had to end early. Operations
/// are named by their places in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation<State> {
    /// How many answers it has.
    pub answers: usize,
    /// How many answers, the first ones, could be explained.
    pub explained: usize,
    /// The operation whose answer ends the prefix.
    pub last: usize,
    /// By their calls, the operations under way at that moment, among them all that never got an answer.
    pub under_way: Vec<usize>,
    /// An order that explains the first `explained` answers. What was under way is in it if it takes that to explain
    /// them, or if it changes nothing.
    pub order: Vec<usize>,
    /// The state in which that order ends. Other orders may end in other states.
    pub state: State,
}

impl<State> Violation<State> {
    /// Whether no shorter prefix is a violation.
    pub fn is_shortest(&self) -> bool {
        self.explained + 1 == self.answers
    }
}

/// How far a search came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    /// Why it ended.
    pub why: Why,
    /// The most answers, in the order in which they came, that an order explained.
    pub explained: usize,
    /// How many there are.
    pub answers: usize,
}

/// Searches for an order of `operations` that begins in the state `start` and explains every answer.
pub fn check<S: Specification>(
    start: &S::State,
    operations: &[Operation<S::Input, S::Output>],
    bounds: &Bounds,
) -> Verdict<S::State> {
    let history = History::<S> { start, operations, timeline: Timeline::new(operations), begun: Instant::now() };
    let answers = history.timeline.returns();
    match history.search(answers, bounds) {
        Found::Order(_) => Verdict::Ok,
        Found::Nothing(visited) => {
            let entries_max = bounds.entries_max.min(visited + PREFIX_ENTRIES_MORE_MAX);
            Verdict::Violation(history.shortest_violation(&Bounds { entries_max, ..*bounds }))
        }
        Found::Unknown(why, explained) => Verdict::Unknown(Unknown { why, explained, answers }),
    }
}

struct History<'a, S: Specification> {
    start: &'a S::State,
    operations: &'a [Operation<S::Input, S::Output>],
    timeline: Timeline,
    begun: Instant,
}

impl<S: Specification> History<'_, S> {
    fn search(&self, answers: usize, bounds: &Bounds) -> Found<S::State> {
        let prefix = Prefix::<S>::new(self.operations, self.timeline.prefix(answers));
        Search::new(prefix).run(self.start.clone(), self.begun, bounds)
    }

    /// A prefix of a violation may be explained, what goes on after a violation never can: so bisection finds the
    /// shortest. Where a prefix gives no verdict, longer ones are tried.
    fn shortest_violation(&self, bounds: &Bounds) -> Violation<S::State> {
        let (mut below, mut violating, mut explained) = (0, self.timeline.returns(), 0);
        let mut explanation = Explanation { order: Vec::new(), state: self.start.clone() };
        while below + 1 < violating {
            let middle = below.midpoint(violating);
            match self.search(middle, bounds) {
                Found::Order(found) => (below, explained, explanation) = (middle, middle, found),
                Found::Nothing(_) => violating = middle,
                Found::Unknown(Why::Entries, _) => below = middle,
                Found::Unknown(Why::Time, _) => break,
            }
        }
        let (last, under_way) = self.timeline.end_of(violating);
        let Explanation { order, state } = explanation;
        Violation { answers: violating, explained, last, under_way, order, state }
    }
}
