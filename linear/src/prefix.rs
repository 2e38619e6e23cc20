//! One prefix of a history, as the search looks at it.

use std::{collections::HashMap, ops::RangeInclusive};

use crate::{
    chain::Chain,
    history::{Event, Operation},
    specification::Specification,
};

/// When an operation was called and returned: numbers of events, from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) called: usize,
    /// Nothing if that was not within the prefix.
    pub(crate) returned: Option<usize>,
}

/// An operation without an answer within the prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unanswered {
    pub(crate) operation: usize,
    /// The one called before it that asks the same.
    pub(crate) twin: Option<usize>,
}

/// What does not change while an order is searched for.
pub(crate) struct Prefix<'a, S: Specification> {
    operations: &'a [Operation<S::Input, S::Output>],
    events: &'a [Event],
    /// Of each operation; nobody looks at those that were called after the prefix.
    pub(crate) spans: Vec<Span>,
    /// The progress at which each operation can get its answer.
    pub(crate) accepted_at: Vec<RangeInclusive<u64>>,
    /// The highest progress at which all operations that were called at this event or later can get theirs.
    pub(crate) latest_from: Vec<u64>,
    /// By their calls.
    pub(crate) unanswered: Vec<Unanswered>,
}

impl<'a, S: Specification> Prefix<'a, S> {
    pub(crate) fn new(operations: &'a [Operation<S::Input, S::Output>], events: &'a [Event]) -> Self {
        let spans = spans(operations.len(), events);
        let (accepted_at, latest_from, unanswered) = Default::default();
        let mut prefix = Self { operations, events, spans, accepted_at, latest_from, unanswered };
        prefix.accepted_at = (0..operations.len()).map(|operation| prefix.accepted_at(operation)).collect();
        prefix.latest_from = prefix.latest_from();
        prefix.unanswered = prefix.unanswered();
        prefix
    }

    fn accepted_at(&self, operation: usize) -> RangeInclusive<u64> {
        let (input, output) = self.asked(operation);
        output.map_or(0..=u64::MAX, |output| S::accepted_at(input, output))
    }

    fn latest_from(&self) -> Vec<u64> {
        let mut latest_from = vec![u64::MAX; self.events.len() + 2];
        for number in (1..=self.events.len()).rev() {
            let here = self.called(number).map_or(u64::MAX, |operation| *self.accepted_at[operation].end());
            latest_from[number] = here.min(latest_from[number + 1]);
        }
        latest_from
    }

    fn unanswered(&self) -> Vec<Unanswered> {
        let mut newest = HashMap::new();
        let called = (1..=self.events.len()).filter_map(|number| self.called(number));
        let unanswered = called.filter(|operation| self.spans[*operation].returned.is_none());
        unanswered
            .map(|operation| {
                let twin = newest.insert(&self.operations[operation].input, operation);
                Unanswered { operation, twin }
            })
            .collect()
    }

    /// Calls and returns of all that was answered.
    pub(crate) fn chain(&self) -> Chain {
        let answered = |number: &usize| match self.called(*number) {
            Some(operation) => self.spans[operation].returned.is_some(),
            None => true,
        };
        Chain::new((1..=self.events.len()).filter(answered), self.events.len() + 1)
    }

    /// The operation that was called at this event, if it is a call.
    pub(crate) fn called(&self, number: usize) -> Option<usize> {
        match *self.events.get(number.checked_sub(1)?)? {
            Event::Call(operation) => Some(operation),
            Event::Return(_) => None,
        }
    }

    /// The lowest progress at which the answer that came with this event can be given.
    pub(crate) fn needed_for(&self, number: usize) -> u64 {
        let (Event::Call(operation) | Event::Return(operation)) = self.events[number - 1];
        *self.accepted_at[operation].start()
    }

    /// How many answers came before this event.
    pub(crate) fn returns_before(&self, number: usize) -> usize {
        (1..number).filter(|number| self.called(*number).is_none()).count()
    }

    /// What was asked, and what was answered if that was within the prefix.
    pub(crate) fn asked(&self, operation: usize) -> (&'a S::Input, Option<&'a S::Output>) {
        let Operation { input, answer, .. } = &self.operations[operation];
        let answered = self.spans[operation].returned.is_some();
        (input, answer.as_ref().filter(|_| answered).map(|(_, output)| output))
    }

    pub(crate) fn step(&self, state: &S::State, operation: usize) -> Option<S::State> {
        let (input, output) = self.asked(operation);
        S::step(state, input, output)
    }

    /// Whether an answer that came after the prefix says that the operation took effect in this state.
    pub(crate) fn is_likely(&self, state: &S::State, operation: usize) -> bool {
        let Operation { input, answer, .. } = &self.operations[operation];
        answer.as_ref().is_some_and(|(_, output)| S::step(state, input, Some(output)).is_some())
    }
}

fn spans(operations: usize, events: &[Event]) -> Vec<Span> {
    let mut spans = vec![Span { called: usize::MAX, returned: None }; operations];
    for (event, number) in events.iter().zip(1..) {
        match *event {
            Event::Call(operation) => spans[operation].called = number,
            Event::Return(operation) => spans[operation].returned = Some(number),
        }
    }
    spans
}
