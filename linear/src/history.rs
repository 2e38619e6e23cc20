//! Operations as clients saw them, and their calls and returns in the order of time.

use std::collections::HashSet;

/// One operation on one thing. Times are in any unit, of one clock for the whole history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// What was asked.
    pub input: I,
    /// When it was asked: before the first request left the client.
    pub called: u64,
    /// When the answer was there, and what it said. Without one the operation may take effect at any time after its
    /// call, or never.
    pub answer: Option<(u64, O)>,
}

/// A moment of an operation, which is named by its place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Call(usize),
    Return(usize),
}

/// All calls and returns, by time.
#[derive(Debug)]
pub(crate) struct Timeline {
    events: Vec<Event>,
    /// How many events there are up to and with the n-th return; none up to the zeroth.
    ends: Vec<usize>,
}

impl Timeline {
    pub(crate) fn new<I, O>(operations: &[Operation<I, O>]) -> Self {
        let mut moments = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            moments.push((operation.called, false, index));
            if let Some((returned, _)) = operation.answer {
                moments.push((returned, true, index));
            }
        }
        // Calls first at equal times: operations that touch overlap, since clocks have a grain.
        moments.sort_unstable();
        let event = |(_, returned, index)| if returned { Event::Return(index) } else { Event::Call(index) };
        let events: Vec<Event> = moments.into_iter().map(event).collect();
        let returns = events.iter().enumerate().filter(|(_, event)| matches!(event, Event::Return(_)));
        let ends = [0].into_iter().chain(returns.map(|(place, _)| place + 1)).collect();
        Self { events, ends }
    }

    /// How many operations were answered.
    pub(crate) fn returns(&self) -> usize {
        self.ends.len() - 1
    }

    /// What happened up to and with the n-th return. What has not returned by then has no answer in it.
    pub(crate) fn prefix(&self, returns: usize) -> &[Event] {
        &self.events[..self.ends[returns]]
    }

    /// The operation of the n-th return, and by their calls those that were called and not answered by then.
    pub(crate) fn end_of(&self, returns: usize) -> (usize, Vec<usize>) {
        let mut answered = HashSet::new();
        let mut under_way = Vec::new();
        let prefix = self.prefix(returns);
        let Some(Event::Return(last)) = prefix.last() else { unreachable!("a prefix with an answer ends with it") };
        // Backwards, so that each return is met before its call.
        for event in prefix.iter().rev() {
            match *event {
                Event::Return(operation) => _ = answered.insert(operation),
                Event::Call(operation) if answered.contains(&operation) => {}
                Event::Call(operation) => under_way.push(operation),
            }
        }
        under_way.reverse();
        (*last, under_way)
    }
}
