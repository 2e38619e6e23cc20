//! The kinds of error that a client can see, and their body.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{inventory::Rejection, words::ReplicaId};

/// What went wrong, as one word that programs can compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is malformed, or a value in it is out of range.
    InvalidRequest,
    /// There is no token, or none that is known.
    Unauthenticated,
    /// The token or the certificate does not permit this.
    Forbidden,
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body is larger than this path takes.
    PayloadTooLarge,
    /// The header is larger than is taken.
    HeaderTooLarge,
    /// The body is of another media type or content encoding.
    UnsupportedMediaType,
    /// The request took too long to arrive.
    RequestTimeout,
    /// No stock of that name.
    StockNotFound,
    /// No order of that number.
    OrderNotFound,
    /// No trade was ever decided under that key.
    KeyNotFound,
    /// A buy of more than there are.
    InsufficientQuantity,
    /// A sell past the stock's maximum.
    QuantityLimit,
    /// The stock is listed already.
    AlreadyListed,
    /// As many stocks are listed as there may be.
    TooManyStocks,
    /// The key belongs to another trade.
    KeyReused,
    /// This replica is not the leader; ask the one it names.
    NotLeader,
    /// No leader is known yet; one will be elected soon.
    NoLeader,
    /// Fewer replicas can be reached than a decision needs.
    NoQuorum,
    /// The change of membership does not fit the membership now.
    MembershipConflict,
    /// Another change of membership is under way, or the replica has not caught up yet.
    MembershipBusy,
    /// The leadership could not be handed over.
    TransferFailed,
    /// More is asked than the service takes at a time.
    Overloaded,
    /// The catalog does not answer, or cannot promise that its answer is current.
    CatalogUnavailable,
    /// It is not known whether the trade happened; send it again with the same key.
    OutcomeUnknown,
    /// The message belongs to another cluster, or to another replica.
    WrongCluster,
    /// A fault in this service.
    Internal,
}

impl ErrorKind {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound | Self::StockNotFound | Self::OrderNotFound | Self::KeyNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::InsufficientQuantity
            | Self::QuantityLimit
            | Self::AlreadyListed
            | Self::TooManyStocks
            | Self::MembershipConflict
            | Self::TransferFailed => 409,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::WrongCluster | Self::NotLeader => 421,
            Self::KeyReused => 422,
            Self::HeaderTooLarge => 431,
            Self::Internal => 500,
            Self::NoLeader | Self::NoQuorum | Self::MembershipBusy | Self::Overloaded | Self::CatalogUnavailable => 503,
            Self::OutcomeUnknown => 504,
        }
    }

    /// The word, as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::HeaderTooLarge => "header_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RequestTimeout => "request_timeout",
            Self::StockNotFound => "stock_not_found",
            Self::OrderNotFound => "order_not_found",
            Self::KeyNotFound => "key_not_found",
            Self::InsufficientQuantity => "insufficient_quantity",
            Self::QuantityLimit => "quantity_limit",
            Self::AlreadyListed => "already_listed",
            Self::TooManyStocks => "too_many_stocks",
            Self::KeyReused => "key_reused",
            Self::NotLeader => "not_leader",
            Self::NoLeader => "no_leader",
            Self::NoQuorum => "no_quorum",
            Self::MembershipConflict => "membership_conflict",
            Self::MembershipBusy => "membership_busy",
            Self::TransferFailed => "transfer_failed",
            Self::Overloaded => "overloaded",
            Self::CatalogUnavailable => "catalog_unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::WrongCluster => "wrong_cluster",
            Self::Internal => "internal",
        }
    }

    /// After how many seconds a client should try again (`Retry-After`), for what passes by itself.
    pub fn retry_after_secs(self) -> Option<u32> {
        (self.status() == 503).then_some(1)
    }
}

/// What is known of a trade that was not answered with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TradeFate {
    /// It did not happen, and will not unless it is sent again.
    NotApplied,
    /// It may have happened, or may happen yet. The same key can be sent again safely.
    Unknown,
}

/// The error that a client sees: `{"error": {"code", "message", "kind", "outcome"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, ToSchema)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub code: u16,
    /// What is wrong and what to do.
    pub message: String,
    /// The kind.
    pub kind: ErrorKind,
    /// For a trade: what is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<TradeFate>,
    /// On internal hops: who leads, as far as the answering replica knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub leader: Option<ReplicaId>,
}

impl ApiError {
    /// An error of a kind, with the kind's status.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { code: kind.status(), message: message.into(), kind, outcome: None, leader: None }
    }

    /// A malformed request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// The same error, with what is known of the trade.
    #[must_use]
    pub fn with_outcome(mut self, outcome: TradeFate) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// The same error, naming the leader.
    #[must_use]
    pub fn with_leader(mut self, leader: Option<ReplicaId>) -> Self {
        self.leader = leader;
        self
    }

    /// A key that belongs to another trade.
    pub fn key_reused() -> Self {
        Self::new(ErrorKind::KeyReused, "this idempotency key belongs to another trade; use a new key for a new trade")
            .with_outcome(TradeFate::NotApplied)
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self::new(rejection.kind(), rejection.to_string()).with_outcome(TradeFate::NotApplied)
    }
}
