//! Errors, as they are described: for each status the kinds that an operation can answer with.

use std::collections::BTreeMap;

use bazaar_domain::{ApiError, ErrorKind, TradeFate, api::ErrorBody};
use serde_json::json;
use utoipa::openapi::schema::ObjectBuilder;

use super::{
    Body,
    schemas::{Described, object, one_word_of, text, text_like, whole, whole_to},
};
use crate::failure::problem;

/// What can go wrong with an operation.
#[derive(Clone, Default)]
pub(super) struct Failures {
    pub(super) kinds: Vec<ErrorKind>,
    /// Whether the errors say what became of a trade.
    pub(super) has_outcome: bool,
    /// Another form that errors with these statuses may have.
    pub(super) other_form: Option<(&'static [u16], Body)>,
}

/// The errors of one status.
pub(super) struct Failed {
    pub(super) about: String,
    pub(super) bodies: Vec<Body>,
}

impl Failures {
    /// What is answered, by status.
    pub(super) fn by_status(&self) -> BTreeMap<u16, Failed> {
        let mut kinds: BTreeMap<u16, Vec<ErrorKind>> = BTreeMap::new();
        for kind in &self.kinds {
            let of_status = kinds.entry(kind.status()).or_default();
            if !of_status.contains(kind) {
                of_status.push(*kind);
            }
        }
        kinds.into_iter().map(|(status, kinds)| (status, self.failed(status, &kinds))).collect()
    }

    fn failed(&self, status: u16, kinds: &[ErrorKind]) -> Failed {
        let words = kinds.iter().map(|kind| format!("`{}`", kind.as_str())).collect::<Vec<_>>().join(", ");
        let mut plain = Body::json_like(object([("error", self.error(status, kinds).into())]));
        let mut problem_details = Body::new("application/problem+json", self.problem(status, kinds));
        for kind in kinds {
            let error = self.example(*kind);
            problem_details = problem_details.example(kind.as_str(), problem(&error));
            plain = plain.example(kind.as_str(), json!(ErrorBody { error }));
        }
        if let Some((statuses, other)) = &self.other_form
            && statuses.contains(&status)
        {
            plain = plain.or(other.clone());
        }
        Failed { about: format!("An error: {words}."), bodies: vec![plain, problem_details] }
    }

    fn error(&self, status: u16, kinds: &[ErrorKind]) -> ObjectBuilder {
        let mut error = object([
            ("code", whole_to(status.into(), status.into()).into()),
            ("message", text().description(Some("What is wrong and what to do.")).into()),
            ("kind", kind(kinds)),
        ]);
        if kinds.iter().any(|kind| matches!(kind, ErrorKind::NotLeader | ErrorKind::NoLeader | ErrorKind::NoQuorum)) {
            let about = "The replica that leads, as far as the answering one knows.";
            error = error.property("leader", whole(1).description(Some(about)));
        }
        self.with_outcome(error)
    }

    /// RFC 9457.
    fn problem(&self, status: u16, kinds: &[ErrorKind]) -> ObjectBuilder {
        self.with_outcome(object([
            ("type", text_like("^urn:bazaar:error:[a-z_]+$").into()),
            ("title", kind(kinds)),
            ("status", whole_to(status.into(), status.into()).into()),
            ("detail", text().into()),
            ("kind", kind(kinds)),
        ]))
    }

    fn with_outcome(&self, error: ObjectBuilder) -> ObjectBuilder {
        if !self.has_outcome {
            return error;
        }
        let about =
            "What is known of the trade. `unknown`: it may have happened; the same key can be sent again safely.";
        error.property("outcome", one_word_of(["not_applied", "unknown"]).description(Some(about)))
    }

    fn example(&self, kind: ErrorKind) -> ApiError {
        let error = ApiError::new(kind, message(kind));
        match kind {
            _ if !self.has_outcome => error,
            ErrorKind::OutcomeUnknown => error.with_outcome(TradeFate::Unknown),
            _ => error.with_outcome(TradeFate::NotApplied),
        }
    }
}

fn kind(kinds: &[ErrorKind]) -> Described {
    one_word_of(kinds.iter().map(|kind| kind.as_str())).into()
}

/// A message that an error of the kind may have.
fn message(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "a quantity is a whole number from 1 to 1000000000",
        ErrorKind::Unauthenticated => "this needs a token",
        ErrorKind::Forbidden => "this token does not permit it",
        ErrorKind::NotFound => "no such path; docs/http.md lists them",
        ErrorKind::MethodNotAllowed => "this path does not take that method",
        ErrorKind::PayloadTooLarge => "the body is larger than 16384 bytes",
        ErrorKind::HeaderTooLarge => "the request's header is larger than 64 KiB",
        ErrorKind::UnsupportedMediaType => "send the body as application/json",
        ErrorKind::RequestTimeout => "the body did not arrive within 10 seconds",
        ErrorKind::StockNotFound => "stock not found",
        ErrorKind::OrderNotFound => "order not found",
        ErrorKind::KeyNotFound => "key not found",
        ErrorKind::InsufficientQuantity => "insufficient quantity: 2 available",
        ErrorKind::QuantityLimit => "the stock's quantity would pass its maximum",
        ErrorKind::AlreadyListed => "the stock is listed already",
        ErrorKind::TooManyStocks => "as many stocks are listed as there may be",
        ErrorKind::KeyReused => "this idempotency key belongs to another trade; use a new key for a new trade",
        ErrorKind::NotLeader => "replica 3 leads",
        ErrorKind::NoLeader => "no order replica leads now; try again",
        ErrorKind::NoQuorum => "1 of 3 replicas reachable, need 2; try again",
        ErrorKind::MembershipConflict => "replica 4 is no learner",
        ErrorKind::MembershipBusy => "another change of membership is under way; try again",
        ErrorKind::TransferFailed => "replica 2 did not take over in time",
        ErrorKind::Overloaded => "too many requests wait; try again",
        ErrorKind::CatalogUnavailable => "the catalog does not answer; try again",
        ErrorKind::OutcomeUnknown => "it is not known whether the trade happened; send it again with the same key",
        ErrorKind::WrongCluster => "this message is of another cluster",
        ErrorKind::Internal => "a fault in this service; it is logged",
    }
}
