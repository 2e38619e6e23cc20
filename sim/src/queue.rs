//! What will happen, in order of time; what is scheduled for the same time happens in the order in which it was scheduled.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::clock::Micros;

/// A queue of events.
#[derive(Debug)]
pub struct Queue<E> {
    /// Time, order of scheduling, place in `events`: small, since a heap moves its elements about.
    heap: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
    scheduled: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), scheduled: 0 }
    }
}

impl<E> Queue<E> {
    /// Adds an event.
    pub fn schedule(&mut self, at: Micros, event: E) {
        let place = self.free.pop().unwrap_or(self.events.len());
        if place == self.events.len() {
            self.events.push(None);
        }
        self.events[place] = Some(event);
        self.scheduled += 1;
        self.heap.push(Reverse((at, self.scheduled, place)));
    }

    /// Takes the next event out, if it is due until then.
    pub fn next_until(&mut self, until: Micros) -> Option<(Micros, E)> {
        self.heap.peek().filter(|Reverse((at, _, _))| *at <= until)?;
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.events[place].take().map(|event| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_scheduling() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (9, 'e'), (1, 'b')] {
            queue.schedule(at, event);
        }
        let due: Vec<char> = std::iter::from_fn(|| queue.next_until(5)).map(|(_, event)| event).collect();
        assert_eq!(due, ['a', 'b', 'c', 'd']);
        queue.schedule(7, 'f');
        assert_eq!(queue.next_until(9), Some((7, 'f')));
    }
}
