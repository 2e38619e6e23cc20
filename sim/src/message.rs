//! What processes say to each other, and what a process does when it is asked or woken.

use std::{fmt, rc::Rc};

use bazaar_domain::{
    ApiError, Moment, Stock, StockName, Trade,
    api::Health,
    internal::{
        InvalidationAck, InvalidationBatch, InventorySnapshot, LeaseGrant, OrderRead, OrderReadAnswer, PublishBatch,
        PublishReply, Submitted, SubscribeReply, SubscribeRequest,
    },
};
use bazaar_service::CallError;

use crate::{
    plan::OpId,
    raft::{REPLICAS, RaftMessage},
    seen::Seen,
    state::{Applied, AppliedNote},
};

/// A process. Replicas and frontends count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// An order replica.
    Replica(usize),
    /// The catalog.
    Catalog,
    /// A frontend.
    Frontend(usize),
}

impl Process {
    /// Its place among all processes.
    pub const fn place(self) -> usize {
        match self {
            Self::Replica(replica) => replica,
            Self::Catalog => REPLICAS,
            Self::Frontend(frontend) => REPLICAS + 1 + frontend,
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(replica) => write!(f, "replica {}", replica + 1),
            Self::Catalog => f.write_str("catalog"),
            Self::Frontend(frontend) => write!(f, "frontend {}", frontend + 1),
        }
    }
}

/// Names a call; no two calls of a run have the same.
pub type CallId = u64;

/// A request that wants an answer.
#[derive(Debug, Clone)]
pub enum Request {
    /// To a replica: how are you?
    Health,
    /// To the leader.
    Trades(Vec<Trade>),
    /// To the leader.
    Reads(Vec<OrderRead>),
    /// Catalog to replica, with the catalog's life.
    Lease(u64),
    /// Leader to catalog.
    Publish(Rc<PublishBatch>),
    /// Leader to catalog.
    Inventory(Rc<InventorySnapshot>),
    /// Frontend to catalog.
    Stock(StockName),
    /// Frontend to catalog.
    Subscribe(SubscribeRequest),
    /// Catalog to frontend.
    Invalidate(Rc<InvalidationBatch>),
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Response {
    /// To [`Request::Health`].
    Health(Box<Health>),
    /// To [`Request::Trades`].
    Submitted(Submitted),
    /// To [`Request::Reads`].
    Reads(Vec<OrderReadAnswer>),
    /// To [`Request::Lease`].
    Lease(LeaseGrant),
    /// To [`Request::Publish`] and [`Request::Inventory`].
    Published(PublishReply),
    /// To [`Request::Stock`].
    Stock(StockReply),
    /// To [`Request::Subscribe`].
    Subscribed(SubscribeReply),
    /// To [`Request::Invalidate`].
    Acknowledged(InvalidationAck),
}

/// The catalog's answer to a lookup.
#[derive(Debug, Clone)]
pub struct StockReply {
    /// The stock, if it is listed.
    pub stock: Option<Stock>,
    /// The log index at which it was current.
    pub index: u64,
    /// Whether it may be kept.
    pub cacheable: bool,
}

/// Something on the network.
#[derive(Debug, Clone)]
pub enum Message {
    /// A call.
    Call(CallId, Request),
    /// Its end.
    Answer(CallId, Result<Response, CallError>),
    /// Between replicas.
    Raft(RaftMessage),
    /// Between replicas: the state instead of entries that are gone.
    Snapshot {
        /// The sender's term.
        term: u64,
        /// The state.
        state: Rc<Applied>,
    },
}

/// Marks the name of a call that is a repetition.
const REPETITION: CallId = 1 << 63;

impl Message {
    /// The same once more. A repeated call has a name of its own, which the caller does not know: it is as if it came on
    /// another connection. So its answer does not end the first call, which may have come to another end.
    pub fn repetition(&self) -> Self {
        match self.clone() {
            Self::Call(call, request) => Self::Call(call | REPETITION, request),
            message => message,
        }
    }
}

/// Why a process is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// It asked to look at its clock now.
    Tick,
    /// A call has had its time.
    CallTimeout(CallId),
    /// What was appended to the log is on disk.
    Synced,
    /// Committed entries are to be applied.
    Apply,
    /// Time to renew a lease.
    Renew,
    /// Time to send the invalidation of this frontend again.
    PushAgain(u128),
    /// Time to ask the catalog for a stock again.
    LookAgain(OpId),
}

/// What a process wants done. What is large is boxed, since effects and messages are moved about a lot.
#[derive(Debug)]
pub enum Effect {
    /// Send this.
    Send(Process, Box<Message>),
    /// Wake it when its clock shows this.
    Wake(Moment, Timer),
    /// Wake it after a time that chance decides, of this many microseconds at most.
    WakeWithin(u64, Timer),
    /// Tell a client.
    Reply(OpId, Box<Reply>),
    /// It applied an entry.
    Applied(Box<AppliedNote>),
    /// Something happened that is counted.
    Saw(Seen),
}

/// What a client gets.
#[derive(Debug, Clone)]
pub enum Reply {
    /// To a lookup; `None` if the stock is not listed.
    Stock(Option<bazaar_domain::api::StockView>),
    /// To a trade.
    Decided(bazaar_domain::order::Decision),
    /// To an order read.
    Read(OrderReadAnswer),
    /// None of these.
    Failed(ApiError),
}

/// Gathers what a process wants done.
#[derive(Debug, Default)]
pub struct Effects {
    /// In order.
    pub list: Vec<Effect>,
}

impl Effects {
    /// Sends a message.
    pub fn send(&mut self, to: Process, message: Message) {
        self.list.push(Effect::Send(to, Box::new(message)));
    }

    /// Answers a call.
    pub fn answer(&mut self, to: Process, call: CallId, result: Result<Response, ApiError>) {
        self.send(to, Message::Answer(call, result.map_err(CallError::Answered)));
    }

    /// Asks to be woken.
    pub fn wake(&mut self, at: Moment, timer: Timer) {
        self.list.push(Effect::Wake(at, timer));
    }

    /// Asks to be woken some time soon.
    pub fn wake_within(&mut self, micros_max: u64, timer: Timer) {
        self.list.push(Effect::WakeWithin(micros_max, timer));
    }

    /// Says what an entry did.
    pub fn applied(&mut self, note: AppliedNote) {
        self.list.push(Effect::Applied(Box::new(note)));
    }

    /// Counts something.
    pub fn saw(&mut self, seen: Seen) {
        self.list.push(Effect::Saw(seen));
    }

    /// Tells a client.
    pub fn reply(&mut self, op: OpId, reply: Reply) {
        self.list.push(Effect::Reply(op, Box::new(reply)));
    }
}

/// Gives out the names of calls.
#[derive(Debug, Clone)]
pub struct CallNames {
    next: CallId,
}

impl CallNames {
    /// The names of one life of one process, of which no other has any.
    pub fn of(process: Process, life: u64) -> Self {
        Self { next: ((process.place() as u64) << 56) | (life << 40) }
    }

    /// The next one.
    pub fn draw(&mut self) -> CallId {
        self.next += 1;
        self.next
    }
}
