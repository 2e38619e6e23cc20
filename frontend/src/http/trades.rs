//! `POST /orders` and `POST /orders/batch`.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use bazaar_domain::{
    ApiError, IdempotencyKey, Trade, TradeFate,
    api::{BatchAnswer, Data, TradeBatchBody, TradeBody, TradeReceipt, trade_answer},
    internal::headers,
    limits::{BATCH_BODY_BYTES_MAX, BATCH_TRADES_MAX, TRADE_BODY_BYTES_MAX},
};
use bazaar_service::{
    ApiFailure, Payload,
    auth::Sender,
    payload::{accept_media_type, parse_object},
};
use uuid::Uuid;

use super::{App, Timer, either, json};
use crate::legacy;
use crate::meters::FAILURES;

/// The key a trade is sent under, and whether this frontend made it.
pub(crate) struct TradeKey {
    key: IdempotencyKey,
    header: HeaderValue,
    is_made_here: bool,
}

impl TradeKey {
    /// The client's key, or a new one; its sender's own.
    ///
    /// # Errors
    /// If there is a key that is no valid one, or more than one.
    pub(crate) fn of(request: &Request) -> Result<Self, ApiFailure> {
        let mut keys = request.headers().get_all(headers::IDEMPOTENCY_KEY).iter();
        let key = match (keys.next(), keys.next()) {
            (None, _) => Self::fresh(),
            (Some(header), None) => {
                let invalid = || ApiError::invalid("an idempotency key is 1 to 255 printable ASCII characters");
                Self::given(header).ok_or_else(|| not_applied(invalid()))?
            }
            (Some(_), Some(_)) => return Err(not_applied(ApiError::invalid("send one idempotency key, not several"))),
        };
        Ok(Self { key: key.key.scoped(Sender::of(request.extensions()).scope()), ..key })
    }

    /// The client's key; `None` if it is no valid one.
    pub(super) fn given(header: &HeaderValue) -> Option<Self> {
        let key = IdempotencyKey::new(header.to_str().ok()?).ok()?;
        Some(Self { key, header: header.clone(), is_made_here: false })
    }

    /// A new key.
    pub(super) fn fresh() -> Self {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
        let key = IdempotencyKey::new(text).expect("a UUID is short ASCII");
        Self { key, header: HeaderValue::from_str(text).expect("a UUID is ASCII"), is_made_here: true }
    }

    /// Puts the key on an answer.
    pub(crate) fn onto(self, mut response: Response) -> Response {
        response.headers_mut().insert(headers::IDEMPOTENCY_KEY, self.header);
        response
    }
}

/// How a trade ended, and whether that had been decided before the client sent it this time.
pub(crate) struct Traded {
    pub(crate) answer: Result<TradeReceipt, ApiError>,
    is_replay: bool,
}

impl Traded {
    /// Marks an answer as a replay, if it is one.
    pub(crate) fn onto(&self, mut response: Response) -> Response {
        if self.is_replay {
            response.headers_mut().insert(headers::IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// Trades once.
pub(crate) async fn trade_once(app: &App, key: &TradeKey, body: TradeBody) -> Traded {
    let TradeBody { name, side, quantity } = body;
    match app.gateway.trade(Trade { key: key.key.clone(), name, side, quantity }).await {
        Ok(decision) => {
            app.streams.hint();
            let (replayed, answer) = trade_answer(&decision);
            // A key made here was never sent before: what looks like a replay is this frontend's own second attempt.
            Traded { answer, is_replay: replayed && !key.is_made_here }
        }
        Err(error) => Traded { answer: Err(error), is_replay: false },
    }
}

/// A trade's answer in the present form.
pub(crate) fn trade_response(traded: &Traded) -> Response {
    let response = match &traded.answer {
        Ok(receipt) => json(StatusCode::OK, &Data { data: receipt }),
        Err(error) => not_applied(error.clone()).into_response(),
    };
    traded.onto(response)
}

/// Trades once, and answers in the present form.
pub(super) async fn trade_answered(app: &App, key: TradeKey, body: TradeBody) -> Response {
    let _timer = Timer::start(&app.timings.trade);
    let response = trade_response(&trade_once(app, &key, body).await);
    key.onto(response)
}

/// `POST /orders`, in the present form or the older one, which its fields tell apart.
pub(super) async fn trade(State(app): State<Arc<App>>, request: Request) -> Response {
    let _timer = Timer::start(&app.timings.trade);
    let key = match TradeKey::of(&request) {
        Ok(key) => key,
        Err(failure) => return failure.into_response(),
    };
    let response = match read_json_bytes::<TRADE_BODY_BYTES_MAX>(request).await {
        Err(failure) => not_applied(failure.0).into_response(),
        Ok(bytes) => match parse_object::<TradeBody>(&bytes) {
            Ok(body) => trade_response(&trade_once(&app, &key, body).await),
            Err(failure) => match legacy::older_trade(&bytes) {
                Some(older) => legacy::trade_json(&app, &key, older).await,
                None => not_applied(failure.0).into_response(),
            },
        },
    };
    key.onto(response)
}

/// `POST /orders/batch`.
pub(super) async fn batch(State(app): State<Arc<App>>, request: Request) -> Response {
    let _timer = Timer::start(&app.timings.batch);
    either(trade_batch(&app, request).await.map_err(|failure| not_applied(failure.0)))
}

async fn trade_batch(app: &App, request: Request) -> Result<Response, ApiFailure> {
    let sender = Sender::of(request.extensions());
    let bytes = read_json_bytes::<BATCH_BODY_BYTES_MAX>(request).await?;
    let body: TradeBatchBody = parse_object(&bytes)?;
    if !(1..=BATCH_TRADES_MAX).contains(&body.orders.len()) {
        return Err(ApiFailure::invalid(format!("a batch has 1 to {BATCH_TRADES_MAX} orders")));
    }
    let trades = body.orders.into_iter().map(|order| Trade {
        key: order.key.scoped(sender.scope()),
        name: order.name,
        side: order.side,
        quantity: order.quantity,
    });
    let decisions = app.gateway.batch(trades.collect()).await?;
    app.streams.hint();
    let answers = decisions.iter().map(|decision| trade_answer(decision).1);
    let counted =
        answers.map(|answer| answer.inspect_err(|error| FAILURES.counter_of(&[error.kind.as_str()]).increment(1)));
    let answers: Vec<BatchAnswer> = counted.map(BatchAnswer::from).collect();
    Ok(json(StatusCode::OK, &Data { data: answers }))
}

async fn read_json_bytes<const MAX: usize>(request: Request) -> Result<bytes::Bytes, ApiFailure> {
    accept_media_type(request.headers(), "application/json")?;
    Ok(Payload::<MAX>::from_request(request, &()).await?.0)
}

/// A failure of a trade; if nothing else is known of it, the trade did not happen.
pub(crate) fn not_applied(error: ApiError) -> ApiFailure {
    let fate = error.outcome.unwrap_or(TradeFate::NotApplied);
    ApiFailure(error.with_outcome(fate))
}
