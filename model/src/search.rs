//! The search: every state within the bounds, each once.
//!
//! Of a visited state only its fingerprint is kept, and that of the state it was first reached from. States themselves
//! live only until they are expanded. A trace is found again by walking from the first state along the fingerprints.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    time::{Duration, Instant},
};

use crate::{
    action::Action,
    bounds::Bounds,
    goals::Goals,
    properties::{Record, Violation},
    state::State,
    trace::{Trace, TraceStep},
};

/// In which order states are expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Nearest first: the trace of a violation is as short as can be. The queue takes memory.
    #[default]
    Breadth,
    /// Newest first: for large searches that find nothing. Few states wait at a time.
    Depth,
}

/// What a search came to.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps from one state to another, or the same.
    pub steps: u64,
    /// Events on the longest way that was gone.
    pub depth: usize,
    /// Most states that waited at a time.
    pub waiting_max: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// What was seen to happen.
    pub goals: Goals,
    /// Whether everything within the bounds was seen.
    pub is_complete: bool,
    /// What went wrong, and how.
    pub violation: Option<(Violation, Trace)>,
}

/// A fingerprint is as good as random already.
#[derive(Debug, Clone, Copy, Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only fingerprints are keys");
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

/// Visited states, each with the one it was reached from.
type Visited = HashMap<u64, u64, BuildHasherDefault<Taken>>;

struct Waiting {
    state: State,
    fingerprint: u64,
    depth: usize,
}

/// Looks at every state within the bounds, at most `states_max`.
pub fn search(bounds: &Bounds, order: Order, states_max: usize) -> Report {
    let started = Instant::now();
    let initial = State::initial(bounds);
    let first = initial.fingerprint();
    let mut visited = Visited::default();
    visited.insert(first, first);
    let mut queue = VecDeque::from([Waiting { state: initial, fingerprint: first, depth: 0 }]);
    let mut report = Report {
        states: 1,
        steps: 0,
        depth: 0,
        waiting_max: 1,
        elapsed: Duration::ZERO,
        goals: Goals::default(),
        is_complete: true,
        violation: None,
    };
    while let Some(waiting) = next(&mut queue, order) {
        if let Some((violation, action)) = expand(&waiting, bounds, &mut visited, &mut queue, &mut report) {
            let trace = retrace(bounds, &visited, waiting.fingerprint, action);
            report.violation = Some((violation, trace));
            report.is_complete = false;
            break;
        }
        report.depth = report.depth.max(waiting.depth);
        report.waiting_max = report.waiting_max.max(queue.len());
        if visited.len() >= states_max && !queue.is_empty() {
            report.is_complete = false;
            break;
        }
    }
    report.states = visited.len();
    report.elapsed = started.elapsed();
    report
}

fn next(queue: &mut VecDeque<Waiting>, order: Order) -> Option<Waiting> {
    match order {
        Order::Breadth => queue.pop_front(),
        Order::Depth => queue.pop_back(),
    }
}

fn expand(
    waiting: &Waiting,
    bounds: &Bounds,
    visited: &mut Visited,
    queue: &mut VecDeque<Waiting>,
    report: &mut Report,
) -> Option<(Violation, Action)> {
    for action in Action::possible(&waiting.state, bounds) {
        let mut record = Record::default();
        let Some(state) = waiting.state.after(action, bounds, &mut record) else { continue };
        report.steps += 1;
        report.goals.add_all(record.goals);
        if let Some(violation) = record.violation {
            return Some((violation, action));
        }
        let fingerprint = state.fingerprint();
        if let std::collections::hash_map::Entry::Vacant(entry) = visited.entry(fingerprint) {
            entry.insert(waiting.fingerprint);
            queue.push_back(Waiting { state, fingerprint, depth: waiting.depth + 1 });
        }
    }
    None
}

/// The events that lead to a state, and one more.
fn retrace(bounds: &Bounds, visited: &Visited, last: u64, action: Action) -> Trace {
    let mut way = vec![last];
    while let Some(before) = visited.get(&way[way.len() - 1]).filter(|before| **before != way[way.len() - 1]) {
        way.push(*before);
    }
    let mut state = State::initial(bounds);
    let mut steps = Vec::new();
    for wanted in way.iter().rev().skip(1) {
        let (step, next) = step_to(&state, *wanted, bounds);
        steps.push(step);
        state = next;
    }
    let mut record = Record::in_words();
    let _ = state.after(action, bounds, &mut record);
    steps.push(TraceStep::new(&state, action, record));
    Trace { steps }
}

fn step_to(state: &State, wanted: u64, bounds: &Bounds) -> (TraceStep, State) {
    for action in Action::possible(state, bounds) {
        let mut record = Record::in_words();
        if let Some(next) = state.after(action, bounds, &mut record)
            && next.fingerprint() == wanted
        {
            return (TraceStep::new(state, action, record), next);
        }
    }
    unreachable!("every visited state was reached by an event");
}
