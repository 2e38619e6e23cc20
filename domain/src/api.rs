//! The JSON bodies of the public HTTP interface.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    inventory::{Rejection, Stock},
    order::{Decision, Order, Outcome},
    scope::KeyScope,
    words::{Cents, IdempotencyKey, Quantity, ReplicaId, Side, StockName},
};

/// `{"data": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data<T> {
    /// The answer.
    pub data: T,
}

/// `{"error": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ApiError,
}

/// A stock, as `GET /stocks/{name}` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockView {
    /// Its name.
    pub name: StockName,
    /// Price of one.
    pub price: Cents,
    /// How many can be bought.
    #[schema(maximum = 1_000_000_000_000_000_u64, example = 100)]
    pub quantity: u64,
    /// Bought and sold together.
    #[schema(maximum = 1_000_000_000_000_000_u64, example = 0)]
    pub trade_volume: u64,
    /// Grows by one with each accepted trade or listing change.
    #[schema(minimum = 1, example = 1)]
    pub version: u64,
}

impl From<&Stock> for StockView {
    fn from(stock: &Stock) -> Self {
        Self {
            name: stock.name,
            price: stock.price,
            quantity: stock.quantity,
            trade_volume: stock.trade_volume,
            version: stock.version,
        }
    }
}

/// The body of `POST /orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TradeBody {
    /// The stock.
    pub name: StockName,
    /// Buy or sell.
    #[serde(rename = "type")]
    pub side: Side,
    /// How many.
    pub quantity: Quantity,
}

/// One trade of `POST /orders/batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyedTradeBody {
    /// Its idempotency key.
    pub key: IdempotencyKey,
    /// The stock.
    pub name: StockName,
    /// Buy or sell.
    #[serde(rename = "type")]
    pub side: Side,
    /// How many.
    pub quantity: Quantity,
}

/// The body of `POST /orders/batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TradeBatchBody {
    /// 1 to 8,192 trades.
    #[schema(min_items = 1, max_items = 8192)]
    pub orders: Vec<KeyedTradeBody>,
}

/// The answer to an accepted trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TradeReceipt {
    /// The order's number.
    #[schema(minimum = 1, example = 7)]
    pub transaction_number: u64,
    /// The stock's version after the trade.
    #[schema(minimum = 1, example = 12)]
    pub stock_version: u64,
}

/// One answer of `POST /orders/batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum BatchAnswer {
    /// It happened.
    Accepted(TradeReceipt),
    /// It did not, or it is not known.
    Failed {
        /// Why.
        error: ApiError,
    },
}

impl From<Result<TradeReceipt, ApiError>> for BatchAnswer {
    fn from(result: Result<TradeReceipt, ApiError>) -> Self {
        match result {
            Ok(receipt) => Self::Accepted(receipt),
            Err(error) => Self::Failed { error },
        }
    }
}

/// What a client is told of a trade: whether this is a replay, and the receipt or the error.
pub fn trade_answer(decision: &Decision) -> (bool, Result<TradeReceipt, ApiError>) {
    let answer = |outcome: &Outcome| match *outcome {
        Outcome::Accepted { number, stock_version } => Ok(TradeReceipt { transaction_number: number, stock_version }),
        Outcome::Rejected(rejection) => Err(ApiError::from(rejection)),
        // A listing's key was sent with a trade: that is another request under the same key.
        Outcome::Listed { .. } => Err(ApiError::key_reused()),
    };
    match decision {
        Decision::Fresh(outcome) => (false, answer(outcome)),
        Decision::Replayed(outcome) => (true, answer(outcome)),
        Decision::KeyReused => (false, Err(ApiError::key_reused())),
    }
}

/// An order, as `GET /orders/{number}` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    /// Its number.
    #[schema(minimum = 1, example = 7)]
    pub number: u64,
    /// The stock.
    pub name: StockName,
    /// Buy or sell.
    #[serde(rename = "type")]
    pub side: Side,
    /// How many.
    pub quantity: Quantity,
    /// The price of one at that time.
    pub price: Cents,
    /// The stock's version after this order.
    #[schema(minimum = 1, example = 12)]
    pub stock_version: u64,
    /// The key it was sent under; if it was sent with another token, a word that stands for it.
    pub key: IdempotencyKey,
}

impl From<&Order> for OrderView {
    fn from(order: &Order) -> Self {
        Self::seen_by(order, None)
    }
}

impl OrderView {
    /// An order, as whoever has this token sees it.
    pub fn seen_by(order: &Order, scope: Option<&KeyScope>) -> Self {
        Self {
            number: order.number,
            name: order.name,
            side: order.side,
            quantity: order.quantity,
            price: order.price,
            stock_version: order.stock_version,
            key: order.key.seen_by(scope, order.number),
        }
    }
}

/// A page of orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderPage {
    /// The orders, by number.
    #[schema(max_items = 1000)]
    pub data: Vec<OrderView>,
    /// Where the next page starts, or null at the end.
    #[schema(required, minimum = 1)]
    pub next_after: Option<u64>,
}

/// What a key got, as `GET /orders/by-key/{key}` shows it: an order, or a rejection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyAnswer {
    /// An order.
    Order(OrderView),
    /// A rejection.
    Rejected {
        /// Why the trade did not happen.
        rejection: RejectionView,
    },
    /// A listing change.
    Listed {
        /// The stock's version after it.
        stock_version: u64,
    },
}

/// A sticky rejection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectionView {
    /// The kind of error that the trade was answered with.
    pub kind: String,
    /// Its message.
    pub message: String,
}

impl From<Rejection> for RejectionView {
    fn from(rejection: Rejection) -> Self {
        Self { kind: rejection.kind().as_str().into(), message: rejection.to_string() }
    }
}

/// What a replica is, in the words of Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes trades.
    Leader,
    /// Follows a leader, and votes.
    Follower,
    /// Follows a leader, and does not vote.
    Learner,
    /// Stands for election.
    Candidate,
    /// Has an empty data directory, and is not a member until an operator adds it.
    Joining,
}

/// A replica's `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// The replica.
    #[schema(value_type = u64, minimum = 1)]
    pub id: ReplicaId,
    /// What it is.
    pub role: Role,
    /// Whom it follows.
    #[schema(value_type = Option<u64>, required, minimum = 1)]
    pub leader: Option<ReplicaId>,
    /// Its term.
    pub term: u64,
    /// For a leader: a trade sent now would be taken. For a follower: it follows a leader.
    pub ready: bool,
    /// For a leader: milliseconds since the newest message that a quorum has answered was sent.
    #[schema(required)]
    pub quorum_ack_age_ms: Option<u64>,
    /// Index of the last entry in its log.
    #[schema(required)]
    pub last_log_index: Option<u64>,
    /// Index of the last entry known to be committed.
    #[schema(required)]
    pub committed: Option<u64>,
    /// Index of the last entry applied.
    #[schema(required)]
    pub applied: Option<u64>,
    /// How many orders it holds.
    pub orders: u64,
    /// The cluster it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Where the voters take trades, as far as this replica knows; a configuration may be older than the membership.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voters: Vec<ServiceAddress>,
}

/// Where a replica takes trades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceAddress {
    /// The replica.
    #[schema(value_type = u64, minimum = 1)]
    pub id: ReplicaId,
    /// `host:port` of its service listener.
    pub service: String,
}

/// The body of a replica's `POST /admin/members`: one step of a membership change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum MemberChange {
    /// Takes a replica in that waits for it (role `joining`), as a learner: it gets the log and has no vote.
    Add {
        /// Its number.
        #[schema(value_type = u64)]
        id: ReplicaId,
        /// `host:port` of its service listener.
        service: String,
        /// `host:port` of its Raft listener.
        peers: String,
        /// `host:port` of its admin listener.
        admin: String,
    },
    /// Gives a learner that has caught up a vote, and removes whoever had its number before.
    Promote {
        /// The learner.
        #[schema(value_type = u64)]
        id: ReplicaId,
    },
    /// Removes a member.
    Remove {
        /// The member.
        #[schema(value_type = u64)]
        id: ReplicaId,
    },
}

/// A replica's `GET /admin/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Members {
    /// Who leads, as far as the answering replica knows.
    #[schema(value_type = Option<u64>, required, minimum = 1)]
    pub leader: Option<ReplicaId>,
    /// The members.
    pub members: Vec<MemberView>,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// The replica.
    #[schema(value_type = u64, minimum = 1)]
    pub id: ReplicaId,
    /// Which life of that number: a random number that its data directory drew, or 0 after a bootstrap by flag.
    pub life: u64,
    /// Whether it votes; otherwise it is a learner.
    pub voter: bool,
    /// `host:port` of its service listener.
    pub service: String,
    /// `host:port` of its Raft listener.
    pub peers: String,
    /// `host:port` of its admin listener.
    pub admin: String,
    /// If the leader answers: log entries that this member lacks.
    #[schema(required)]
    pub lag: Option<u64>,
    /// If the leader answers: for how many milliseconds it has lacked the first of them.
    #[schema(required)]
    #[serde(default)]
    pub lag_ms: Option<u64>,
}

/// A member that a cluster begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Founder {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: ReplicaId,
    /// The life of the data directory that it begins with.
    pub life: u64,
    /// `host:port` of its service listener.
    pub service: String,
    /// `host:port` of its Raft listener.
    pub peers: String,
    /// `host:port` of its admin listener.
    pub admin: String,
}

/// A cluster as it begins: its name, and all of its members (ADR 0010).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Founding {
    /// The cluster's name.
    pub cluster_id: String,
    /// Its members.
    pub founders: Vec<Founder>,
}

impl Founding {
    /// Whether this life of this replica is among the founders.
    pub fn names(&self, id: ReplicaId, life: u64) -> bool {
        self.founders.iter().any(|founder| (founder.id, founder.life) == (id, life))
    }
}

/// A step of the founding, `POST /admin/founding` on a replica's admin listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum FoundingStep {
    /// Notes the founding, durably, and begins nothing yet. A replica that noted another one refuses.
    Prepare(Founding),
    /// Begins, once every founder has noted the same.
    Begin(Founding),
}

/// Where a replica stands in a founding: `GET /admin/founding`, and the answer to each step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundingView {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: ReplicaId,
    /// The life of its data directory.
    pub life: u64,
    /// The cluster that it is in; none for one that waits.
    pub cluster_id: Option<String>,
    /// The founding that it has noted, while it waits for the beginning.
    pub prepared: Option<Founding>,
}

/// `GET /leader` of the frontend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaderView {
    /// The replica that trades are sent to.
    #[schema(value_type = u64, minimum = 1)]
    pub leader: ReplicaId,
    /// Its service address.
    pub address: String,
    /// Its term.
    pub term: u64,
    /// It takes trades.
    pub ready: bool,
    /// As in [`Health`].
    #[schema(required)]
    pub quorum_ack_age_ms: Option<u64>,
}

/// `GET /admin/digest?number=N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DigestView {
    /// The digest covers the orders 1 to this number.
    pub number: u64,
    /// The digest, in hexadecimal.
    pub digest: String,
    /// How many orders the replica holds.
    pub orders: u64,
}
