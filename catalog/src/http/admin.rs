//! `POST /admin/stocks`: lists, reprices or restocks a stock, through the order log.

use std::time::Duration;

use axum::{
    Json as JsonAnswer,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use bazaar_domain::{
    ApiError, Cents, ErrorKind, IdempotencyKey, Listing, ListingChange, StockName, TradeFate,
    api::Data,
    internal::{SubmitListings, headers},
    limits::TRADE_BODY_BYTES_MAX,
    order::{Decision, Outcome},
};
use bazaar_service::{ApiFailure, Json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Parts;

/// How long a change is held and retried over an election.
const SUBMIT_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    List,
    Reprice,
    Restock,
}

/// The body of the request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListingBody {
    key: Option<IdempotencyKey>,
    name: StockName,
    action: Action,
    price: Option<Cents>,
    quantity: Option<u64>,
    max_quantity: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ListingReceipt {
    name: StockName,
    stock_version: u64,
}

impl ListingBody {
    fn change(&self) -> Result<ListingChange, ApiFailure> {
        match (self.action, self.price, self.quantity, self.max_quantity) {
            (Action::List, Some(price), Some(quantity), max_quantity) => {
                Ok(ListingChange::List { price, quantity, max_quantity })
            }
            (Action::Reprice, Some(price), None, None) => Ok(ListingChange::Reprice { price }),
            (Action::Restock, None, Some(quantity), None) if quantity > 0 => Ok(ListingChange::Restock { quantity }),
            (Action::List, ..) => Err(ApiFailure::invalid("'list' takes price, quantity and an optional max_quantity")),
            (Action::Reprice, ..) => Err(ApiFailure::invalid("'reprice' takes price and nothing else")),
            (Action::Restock, ..) => Err(ApiFailure::invalid("'restock' takes quantity, from 1, and nothing else")),
        }
    }
}

/// Has one listing change proposed, and answers with its outcome.
pub(super) async fn change_listing(
    State(parts): State<Parts>,
    head: HeaderMap,
    body: Result<Json<ListingBody, TRADE_BODY_BYTES_MAX>, ApiFailure>,
) -> Result<Response, ApiFailure> {
    let not_applied = |ApiFailure(error)| ApiFailure(error.with_outcome(TradeFate::NotApplied));
    let Json(body) = body.map_err(not_applied)?;
    let change = body.change().map_err(not_applied)?;
    let key = key_of(&head, body.key).map_err(not_applied)?;
    let shown_key = HeaderValue::from_str(key.as_str()).expect("a key is printable ASCII");
    let request = SubmitListings { listings: vec![Listing { key, name: body.name, change }] };
    let submitted = parts.leader.submit_within(&request, SUBMIT_DEADLINE, &parts.shutdown).await;
    let decision = submitted.and_then(|submitted| {
        submitted
            .decisions
            .first()
            .copied()
            .ok_or_else(|| ApiError::new(ErrorKind::Internal, "the leader answered without a decision"))
    });
    let (replayed, answer) = match decision {
        Ok(decision) => listing_answer(body.name, decision),
        Err(error) => (false, Err(error)),
    };
    let mut response = match answer {
        Ok(receipt) => JsonAnswer(Data { data: receipt }).into_response(),
        Err(error) => ApiFailure(error).into_response(),
    };
    response.headers_mut().insert(HeaderName::from_static(headers::IDEMPOTENCY_KEY), shown_key);
    if replayed {
        let yes = HeaderValue::from_static("true");
        response.headers_mut().insert(HeaderName::from_static(headers::IDEMPOTENCY_REPLAYED), yes);
    }
    Ok(response)
}

/// The key in the header or in the body; both may be there if they are the same. A new one if there is none.
fn key_of(head: &HeaderMap, in_body: Option<IdempotencyKey>) -> Result<IdempotencyKey, ApiFailure> {
    let mut in_head = head.get_all(headers::IDEMPOTENCY_KEY).iter();
    let (first, second) = (in_head.next(), in_head.next());
    if second.is_some() {
        return Err(ApiFailure::invalid("send one idempotency key, not several"));
    }
    let invalid = || ApiFailure::invalid("an idempotency key is 1 to 255 printable ASCII characters");
    let in_head = first
        .map(|key| key.to_str().ok().and_then(|text| IdempotencyKey::new(text).ok()).ok_or_else(invalid))
        .transpose()?;
    match (in_head, in_body) {
        (Some(head), Some(body)) if head != body => {
            Err(ApiFailure::invalid("the keys in the header and in the body are two different ones"))
        }
        (Some(key), _) | (None, Some(key)) => Ok(key),
        (None, None) => Ok(fresh_key()),
    }
}

fn fresh_key() -> IdempotencyKey {
    IdempotencyKey::new(&Uuid::now_v7().to_string()).expect("a UUID is a short ASCII text")
}

fn listing_answer(name: StockName, decision: Decision) -> (bool, Result<ListingReceipt, ApiError>) {
    let answer = |outcome| match outcome {
        Outcome::Listed { stock_version } => Ok(ListingReceipt { name, stock_version }),
        Outcome::Rejected(rejection) => Err(ApiError::from(rejection)),
        // A trade's key was sent with a listing change: that is another request under the same key.
        Outcome::Accepted { .. } => Err(listing_key_reused()),
    };
    match decision {
        Decision::Fresh(outcome) => (false, answer(outcome)),
        Decision::Replayed(outcome) => (true, answer(outcome)),
        Decision::KeyReused => (false, Err(listing_key_reused())),
    }
}

fn listing_key_reused() -> ApiError {
    let mut error = ApiError::key_reused();
    error.message = "this idempotency key belongs to another request; use a new key for a new change".into();
    error
}
