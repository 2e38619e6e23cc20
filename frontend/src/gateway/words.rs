//! What goes into the gateway's state machine and what comes out of it.

use std::time::Duration;

use bazaar_domain::{
    ApiError, IdempotencyKey, ReplicaId, Trade,
    api::{Health, LeaderView},
    internal::{OrderRead, OrderReadAnswer},
    order::Decision,
};
use bazaar_service::CallError;

/// A piece of work of one client.
pub type WorkId = u64;
/// A request to a leader.
pub type CallId = u64;
/// A question to a replica whether it leads.
pub type ProbeId = u64;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// One trade.
    Trade(Trade),
    /// Trades of one client's batch; they stay together in one request.
    Batch(Vec<Trade>),
    /// One order read.
    Read(OrderRead),
    /// Who leads.
    Leader,
}

impl Work {
    /// The idempotency keys of its trades.
    pub fn keys(&self) -> impl Iterator<Item = &IdempotencyKey> {
        let trades = match self {
            Self::Trade(trade) => std::slice::from_ref(trade),
            Self::Batch(trades) => trades,
            Self::Read(_) | Self::Leader => &[],
        };
        trades.iter().map(|trade| &trade.key)
    }

    /// How many trades or reads wait with it.
    pub fn waiting(&self) -> usize {
        match self {
            Self::Batch(trades) => trades.len(),
            Self::Trade(_) | Self::Read(_) | Self::Leader => 1,
        }
    }

    /// How much room it takes in a request: trades, or orders that a read may return.
    pub fn items(&self) -> usize {
        match self {
            Self::Batch(trades) => trades.len(),
            Self::Read(read) => read.orders_max().max(1),
            Self::Trade(_) | Self::Leader => 1,
        }
    }
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of [`Work::Trade`].
    Trade(Decision),
    /// Of [`Work::Batch`], one for each trade, in order.
    Batch(Vec<Decision>),
    /// Of [`Work::Read`].
    Read(OrderReadAnswer),
    /// Of [`Work::Leader`]; the address is the shell's to fill in.
    Leader(LeaderView),
}

/// The body of a request to a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Trades, at most `BATCH_TRADES_MAX`.
    Trades(Vec<Trade>),
    /// Order reads, at most `BATCH_READS_MAX`.
    Reads(Vec<OrderRead>),
}

/// A leader's answer to a [`Request`] of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// One for each trade.
    Decisions(Vec<Decision>),
    /// One for each read.
    Reads(Vec<OrderReadAnswer>),
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Clients want something. Ids grow from one arrival to the next.
    Arrived(Vec<(WorkId, Work)>),
    /// A probe ended.
    ProbeDone {
        /// Which one.
        probe: ProbeId,
        /// The replica's health, or how the probe failed.
        result: Result<Health, CallError>,
    },
    /// A request to a leader ended.
    CallDone {
        /// Which one.
        call: CallId,
        /// The leader's answer, or how the call failed.
        result: Result<Reply, CallError>,
    },
    /// Time passed: the moment named by `next_wake` is there.
    Tick,
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask a replica for its health; a `ProbeDone` must follow.
    Probe {
        /// Names the probe in `ProbeDone`.
        probe: ProbeId,
        /// Whom to ask.
        replica: ReplicaId,
        /// How long it may take.
        timeout: Duration,
    },
    /// Send a request to a leader; a `CallDone` must follow.
    Call {
        /// Names the call in `CallDone`.
        call: CallId,
        /// The leader.
        replica: ReplicaId,
        /// What to send.
        request: Request,
        /// How long it may take.
        timeout: Duration,
        /// Whose work it carries, in order.
        works: Vec<WorkId>,
    },
    /// Tell a client.
    Answer {
        /// Whose work.
        id: WorkId,
        /// The answer, or why there is none.
        result: Result<Answer, ApiError>,
    },
}
