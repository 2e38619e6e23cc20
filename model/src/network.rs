//! Messages under way. One that is never delivered is lost.

use std::hash::{DefaultHasher, Hash, Hasher};

use bazaar_domain::{
    Moment,
    internal::{InvalidationAck, InvalidationBatch, SubscribeReply},
};

/// A message, or an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// A leader's grant, on its way to the catalog.
    Grant {
        /// When the catalog asked, by its clock.
        asked_at: Moment,
        /// How long it lasts.
        duration_micros: u64,
        /// Its floor.
        floor: u64,
    },
    /// A frontend asks for a lease.
    Request {
        /// Which one.
        frontend: usize,
        /// Its session.
        session: u64,
        /// When, by its clock.
        asked_at: Moment,
    },
    /// The catalog's answer.
    Reply {
        /// To which frontend.
        frontend: usize,
        /// When that asked.
        asked_at: Moment,
        /// What it gets.
        reply: SubscribeReply,
    },
    /// Stocks are about to change.
    Invalidation {
        /// Which frontend is told.
        frontend: usize,
        /// What.
        batch: InvalidationBatch,
    },
    /// A frontend's answer to that.
    Ack(InvalidationAck),
}

/// What is under way: a set, whose order says nothing.
#[derive(Debug, Clone, Default)]
pub struct Network(Vec<Message>);

impl Network {
    /// All messages.
    pub fn messages(&self) -> &[Message] {
        &self.0
    }

    /// Sends a message.
    pub fn send(&mut self, message: Message) {
        if !self.0.contains(&message) {
            self.0.push(message);
        }
    }

    /// Takes a message, or a copy of it that leaves it under way.
    pub fn take(&mut self, position: usize, stays: bool) -> Message {
        if stays { self.0[position].clone() } else { self.0.remove(position) }
    }

    /// Lease requests of a frontend and their answers.
    pub fn requests(&self, of: usize) -> usize {
        let is_request = |message: &&Message| match message {
            Message::Request { frontend, .. } | Message::Reply { frontend, .. } => *frontend == of,
            _ => false,
        };
        self.0.iter().filter(is_request).count()
    }

    /// The catalog's calls end with it.
    pub fn drop_grants(&mut self) {
        self.0.retain(|message| !matches!(message, Message::Grant { .. }));
    }

    /// Loses the invalidations and acks that are about another batch than the pending one, or about a frontend that is
    /// not waited for.
    pub fn drop_stale(&mut self, incarnation: u64, pending: Option<&(u64, Vec<u128>)>) {
        let is_waited_for = |life: u64, batch: u64, frontend: u128| {
            let waits = |(number, frontends): &&(u64, Vec<u128>)| *number == batch && frontends.contains(&frontend);
            life == incarnation && pending.filter(waits).is_some()
        };
        self.0.retain(|message| match message {
            Message::Invalidation { frontend, batch } => {
                is_waited_for(batch.incarnation, batch.batch, *frontend as u128)
            }
            Message::Ack(ack) => is_waited_for(ack.incarnation, ack.batch, ack.frontend),
            Message::Grant { .. } | Message::Request { .. } | Message::Reply { .. } => true,
        });
    }

    /// Forgets answers that nobody could use any more, and the exact age of requests that are too old. `clock` reads
    /// the clock of whoever asked; `None` is the catalog.
    pub fn forget_past(&mut self, ttl_ticks: u64, clock: impl Fn(Option<usize>) -> Moment) {
        let is_over = |asked_at: Moment, micros: u64, now: Moment| {
            now.since(asked_at) >= std::time::Duration::from_micros(micros)
        };
        self.0.retain(|message| match message {
            Message::Grant { asked_at, duration_micros, .. } => !is_over(*asked_at, *duration_micros, clock(None)),
            Message::Reply { frontend, asked_at, reply } => {
                !is_over(*asked_at, reply.duration_micros, clock(Some(*frontend)))
            }
            Message::Request { .. } | Message::Invalidation { .. } | Message::Ack(_) => true,
        });
        for message in &mut self.0 {
            if let Message::Request { frontend, asked_at, .. } = message
                && is_over(*asked_at, 1_000 * ttl_ticks, clock(Some(*frontend)))
            {
                *asked_at = Moment::ZERO;
            }
        }
    }
}

impl Hash for Network {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let one = |message: &Message| {
            let mut hasher = DefaultHasher::new();
            message.hash(&mut hasher);
            hasher.finish()
        };
        self.0.iter().map(one).fold(0, u64::wrapping_add).hash(state);
    }
}
