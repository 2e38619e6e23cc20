//! The way of trades and order reads to the order leader.
//!
//! [`machine`] decides, without a clock and without I/O; [`shell`] owns it in one task and does what it says;
//! [`Gateway`] is the handle that requests use. A trade that was handed over goes its way even if its client is gone.

pub mod lane;
pub mod machine;
pub mod outages;
pub mod scout;
mod shell;
#[cfg(test)]
mod tests;
pub mod uncertain;
pub mod words;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bazaar_domain::{
    ApiError, ErrorKind, ReplicaId, Trade, TradeFate,
    api::LeaderView,
    config::ClusterConfig,
    internal::{OrderRead, OrderReadAnswer},
    order::Decision,
};
use bazaar_service::{Caller, Clock, Origin};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

use self::{
    outages::Outage,
    words::{Answer, Work},
};
use crate::meters;

/// Work on its way into the gateway's task.
struct Submission {
    work: Work,
    /// The client's request, for the logs and the spans of those who see the work later.
    origin: Option<Origin>,
    reply: oneshot::Sender<Result<Answer, ApiError>>,
    /// Held until the work is answered, whether or not its client still waits.
    room: OwnedSemaphorePermit,
}

/// What the gateway's task shows of itself, for those who look on. Written when something changed, not with each request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Where trades go now.
    pub(crate) leader: Option<ReplicaId>,
    /// The last changes of leader, the oldest first.
    pub(crate) outages: Vec<Outage>,
}

/// Shared between the gateway's task and its handles.
type SharedSeen = Arc<Mutex<Seen>>;

fn locked(seen: &SharedSeen) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handle to the gateway; cheap to clone. The task ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Gateway {
    inbox: mpsc::Sender<Submission>,
    /// One permit for each trade or read that may wait at a time.
    room: Arc<Semaphore>,
    waiting_max: usize,
    seen: SharedSeen,
}

impl Gateway {
    /// Starts the gateway's task.
    pub(crate) fn start(config: &ClusterConfig, caller: Caller, clock: Clock) -> (Self, JoinHandle<()>) {
        let waiting_max = config.frontend.queued_trades_max.clamp(1, Semaphore::MAX_PERMITS);
        let (inbox, submissions) = mpsc::channel(waiting_max);
        let seen = SharedSeen::default();
        let task = tokio::spawn(shell::Shell::new(config, caller, clock, Arc::clone(&seen)).run(submissions));
        (Self { inbox, room: Arc::new(Semaphore::new(waiting_max)), waiting_max, seen }, task)
    }

    /// Where trades go, and how that changed lately.
    pub(crate) fn seen(&self) -> Seen {
        locked(&self.seen).clone()
    }

    /// Trades once, whatever happens on the way.
    ///
    /// # Errors
    /// `overloaded`, `no_leader`, `no_quorum` (not applied), or `outcome_unknown`.
    pub(crate) async fn trade(&self, trade: Trade) -> Result<Decision, ApiError> {
        match self.submit(Work::Trade(trade)).await.map_err(not_applied_unless_known)? {
            Answer::Trade(decision) => Ok(decision),
            _ => Err(mismatch()),
        }
    }

    /// Trades a client's batch in one request, and returns one decision for each, in order.
    ///
    /// # Errors
    /// As [`Self::trade`], for the whole batch.
    pub(crate) async fn batch(&self, trades: Vec<Trade>) -> Result<Vec<Decision>, ApiError> {
        match self.submit(Work::Batch(trades)).await.map_err(not_applied_unless_known)? {
            Answer::Batch(decisions) => Ok(decisions),
            _ => Err(mismatch()),
        }
    }

    /// Reads orders as of a moment after the call.
    ///
    /// # Errors
    /// `overloaded`, `no_leader` or `no_quorum`.
    pub(crate) async fn read(&self, read: OrderRead) -> Result<OrderReadAnswer, ApiError> {
        match self.submit(Work::Read(read)).await? {
            Answer::Read(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }

    /// The leader that work goes to; asks the replicas if none is known.
    ///
    /// # Errors
    /// `overloaded`, `no_leader` or `no_quorum`.
    pub(crate) async fn leader(&self) -> Result<LeaderView, ApiError> {
        match self.submit(Work::Leader).await? {
            Answer::Leader(view) => Ok(view),
            _ => Err(mismatch()),
        }
    }

    /// Measures what is not counted as it happens.
    pub(crate) fn look(&self) {
        meters::GATEWAY_WAITING.gauge().set((self.waiting_max - self.room.available_permits()) as f64);
        meters::GATEWAY_WAITING_MAX.gauge().set(self.waiting_max as f64);
    }

    async fn submit(&self, work: Work) -> Result<Answer, ApiError> {
        let items = u32::try_from(work.waiting()).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(items) else {
            meters::GATEWAY_OVERLOADED.counter().increment(1);
            return Err(ApiError::new(ErrorKind::Overloaded, "too many requests wait for the order leader; try again"));
        };
        let (reply, answer) = oneshot::channel();
        let is_trade = matches!(work, Work::Trade(_) | Work::Batch(_));
        // There is room: each message holds at least one permit, and the channel takes as many as there are permits.
        if self.inbox.try_send(Submission { work, origin: Origin::current(), reply, room }).is_err() {
            return Err(ApiError::new(ErrorKind::NoLeader, "this frontend is stopping; try again"));
        }
        answer.await.unwrap_or_else(|_| Err(stopped(is_trade)))
    }
}

/// A trade that was not even taken in did not happen.
fn not_applied_unless_known(error: ApiError) -> ApiError {
    if error.outcome.is_some() { error } else { error.with_outcome(TradeFate::NotApplied) }
}

fn stopped(is_trade: bool) -> ApiError {
    if is_trade {
        ApiError::new(ErrorKind::OutcomeUnknown, "this frontend stopped first; send it again with the same key")
            .with_outcome(TradeFate::Unknown)
    } else {
        ApiError::new(ErrorKind::NoLeader, "this frontend is stopping; try again")
    }
}

fn mismatch() -> ApiError {
    ApiError::new(ErrorKind::Internal, "the gateway answered something else than it was asked")
        .with_outcome(TradeFate::Unknown)
}
