//! What our own processes say to each other. All of these travel as records (see [`crate::codec`]) in HTTP bodies.
//!
//! Lease rules are quoted as R1 to R11; `docs/leases.md` lists them.

use serde::{Deserialize, Serialize};

use crate::{
    api::ServiceAddress,
    command::{Listing, Trade},
    inventory::{Rejection, Stock},
    order::{Decision, Order, StoredOutcome},
    words::{IdempotencyKey, ReplicaId, StockName},
};

/// Frontend to leader, `POST /orders`: trades that share one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitTrades {
    /// The trades, in the order in which they are to be decided.
    pub trades: Vec<Trade>,
}

/// Anyone inside to leader, `POST /listings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitListings {
    /// The changes, in order.
    pub listings: Vec<Listing>,
}

/// The leader's answer to [`SubmitTrades`] and [`SubmitListings`], once their entry is committed, applied and released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The log entry.
    pub log_index: u64,
    /// One decision each, in order.
    pub decisions: Vec<Decision>,
}

/// Frontend to leader, `POST /reads`: order reads that share one read index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderRead {
    /// One order.
    ByNumber(u64),
    /// What a key got.
    ByKey(IdempotencyKey),
    /// Orders after a number, at most `limit`.
    After {
        /// The number before the first one wanted.
        after: u64,
        /// At most so many.
        limit: usize,
    },
    /// The order with the highest number.
    Newest,
}

impl OrderRead {
    /// How many orders the answer may hold.
    pub fn orders_max(&self) -> usize {
        match self {
            Self::ByNumber(_) | Self::ByKey(_) | Self::Newest => 1,
            Self::After { limit, .. } => *limit,
        }
    }
}

/// The leader's answer to one [`OrderRead`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderReadAnswer {
    /// One order, if there is one.
    Order(Option<Order>),
    /// What a key got, with its order if it was accepted.
    Key(Option<(StoredOutcome, Option<Order>)>),
    /// A page of orders, whether more follow, and the log index at which it was read.
    Page {
        /// The orders.
        orders: Vec<Order>,
        /// Whether there are more behind them.
        more: bool,
        /// All orders up to this log index, and none after it, were looked at.
        log_index: u64,
    },
}

/// One item of a published entry: what was asked, and what the leader's state machine decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublishedItem {
    /// A freshly decided trade.
    Trade(Trade),
    /// A freshly decided listing change.
    Listing(Listing),
}

/// How one item ended, in numbers that two keepers can compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemStatus {
    /// 200, 404 or 409.
    pub status: u16,
    /// The stock's version afterwards; 0 if there is no such stock.
    pub stock_version: u64,
    /// The stock's [`Stock::checksum`] afterwards; 0 if there is no such stock.
    pub stock_checksum: u32,
}

impl ItemStatus {
    /// How an item ended: why it was rejected, if it was, and the stock as it is afterwards, if there is one.
    pub fn new(rejection: Option<Rejection>, stock: Option<&Stock>) -> Self {
        Self {
            status: rejection.map_or(200, |rejection| rejection.kind().status()),
            stock_version: stock.map_or(0, |stock| stock.version),
            stock_checksum: stock.map_or(0, Stock::checksum),
        }
    }
}

/// The freshly decided items of one log entry (replays change nothing and are left out).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedEntry {
    /// The entry's log index.
    pub index: u64,
    /// The items, in order.
    pub items: Vec<PublishedItem>,
}

/// Leader to catalog, `POST /orders`: everything that was committed in `(previous, through]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishBatch {
    /// The cluster whose log this is.
    pub cluster_id: String,
    /// The log index up to which the catalog must have applied everything before.
    pub previous: u64,
    /// The log index that it has applied afterwards (entries without items are not listed).
    pub through: u64,
    /// The entries with items, by index.
    pub entries: Vec<PublishedEntry>,
}

/// Leader to catalog, `POST /inventory`: the whole inventory at one log index (R10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventorySnapshot {
    /// The cluster whose inventory this is.
    pub cluster_id: String,
    /// The log index it was taken at.
    pub index: u64,
    /// Every stock.
    pub stocks: Vec<Stock>,
    /// True if it heals a divergence: an inventory at the catalog's own index is then taken too.
    pub heals: bool,
}

/// The catalog's answer to [`PublishBatch`] and [`InventorySnapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishReply {
    /// Which life of the catalog this is.
    pub incarnation: u64,
    /// Everything up to here is in its copy. If this is below the batch's `previous`, nothing was taken: send from here.
    pub applied: u64,
    /// Everything up to here is what readers see (R7).
    pub exposed: u64,
    /// For each entry that this call applied: its index and the statuses of its items.
    pub statuses: Vec<(u64, Vec<ItemStatus>)>,
}

/// Catalog to replicas, `POST /lease`. The catalog counts the lease from when it sent this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Which life of the catalog asks.
    pub incarnation: u64,
}

/// Leader to a replica that waits to be taken in, `POST /admin/join` on its admin listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The cluster that takes it in.
    pub cluster_id: String,
}

/// The replica's answer to [`JoinRequest`]. It has noted the cluster durably, and takes Raft's messages from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// Its number.
    pub id: ReplicaId,
    /// Which life of that number it is.
    pub life: u64,
}

/// The leader's grant (R1, R2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseGrant {
    /// The leader's cluster: a floor means nothing in another cluster's log.
    pub cluster_id: String,
    /// Who grants.
    pub leader: ReplicaId,
    /// In which term.
    pub term: u64,
    /// How long, in microseconds.
    pub duration_micros: u64,
    /// The leader's commit index: the catalog may use the grant only once it has exposed this.
    pub floor: u64,
    /// Where the voters can be asked next time.
    pub voters: Vec<ServiceAddress>,
}

/// Frontend to catalog, `POST /subscribe`: asks for, or renews, a lease for one session (R8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeRequest {
    /// One life of one frontend, chosen at random at its start.
    pub frontend: u128,
    /// Its session; later sessions have larger numbers.
    pub session: u64,
    /// Where it takes invalidations, as `host:port`.
    pub internal_address: String,
}

/// The catalog's answer to [`SubscribeRequest`]. The frontend counts the lease from when it sent the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubscribeReply {
    /// Which life of the catalog grants.
    pub incarnation: u64,
    /// The session that was asked for.
    pub session: u64,
    /// How long, in microseconds; 0 if no lease can be given now.
    pub duration_micros: u64,
}

/// Frontend to catalog, `POST /unsubscribe`, when it stops: nobody needs to wait for it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsubscribeRequest {
    /// The frontend's life.
    pub frontend: u128,
    /// Its last session.
    pub session: u64,
}

/// Catalog to frontend, `POST /invalidation`: these stocks are about to change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InvalidationBatch {
    /// Which life of the catalog asks.
    pub incarnation: u64,
    /// The session it is meant for.
    pub session: u64,
    /// The batch; an ack names it (R7).
    pub batch: u64,
    /// The log index of the change. No older fill may be kept after this (R9).
    pub index: u64,
    /// The stocks; empty stands for all of them.
    pub names: Vec<StockName>,
}

/// The frontend's answer to [`InvalidationBatch`] (R7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InvalidationAck {
    /// Who answers.
    pub frontend: u128,
    /// The catalog's life, as asked.
    pub incarnation: u64,
    /// The frontend's session now; an ack for another session does not count.
    pub session: u64,
    /// The batch, as asked.
    pub batch: u64,
}

/// Headers on the catalog's stock answers that frontends read.
pub mod headers {
    /// The log index at which the answer was current.
    pub const LOG_INDEX: &str = "x-log-index";
    /// `yes` if a frontend may keep the answer, `no` if the stock is about to change.
    pub const CACHEABLE: &str = "x-cacheable";
    /// Set to `stale` on an answer that may be old.
    pub const CONSISTENCY: &str = "x-consistency";
    /// Goes along with a request through all hops.
    pub const REQUEST_ID: &str = "x-request-id";
    /// The idempotency key of a trade.
    pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
    /// Set to `true` on the answer to a trade that was decided before.
    pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
    /// How a lookup was answered: `hit`, `miss` or `bypass`.
    pub const CACHE: &str = "x-cache";
}
