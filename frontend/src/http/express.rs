//! The requests of the express way: lookups of one stock and single trades, in the present form and without options.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, HeaderValue},
    response::Response,
};
use bazaar_domain::{StockName, api::TradeBody, limits::TRADE_BODY_BYTES_MAX};
use bazaar_service::{
    RequestId,
    express::{Express, Head, Method},
    payload::{is_media_type, parse_object},
};

use super::{
    App, either,
    stocks::answer_stock,
    trades::{TradeKey, trade_answered},
};
use crate::catalog::Consistency;

/// The express way of the public listener.
#[derive(Clone)]
pub(crate) struct PublicExpress(pub(crate) Arc<App>);

/// A request on it.
pub(crate) enum ExpressRequest {
    Lookup(StockName),
    Trade(TradeKey, TradeBody),
}

impl Express for PublicExpress {
    type Request = ExpressRequest;

    fn read(&self, head: &Head<'_>, body: &[u8]) -> Option<ExpressRequest> {
        // Only the router asks for tokens.
        if self.0.auth.is_on() {
            return None;
        }
        match head.method {
            Method::Get => {
                let name = head.target.strip_prefix("/stocks/")?;
                StockName::new(name).ok().map(ExpressRequest::Lookup)
            }
            Method::Post if head.target == "/orders" && body.len() <= TRADE_BODY_BYTES_MAX => trade(head, body),
            Method::Post => None,
        }
    }

    async fn answer(&self, request: ExpressRequest, id: &RequestId) -> Response {
        let response = match request {
            ExpressRequest::Lookup(name) => {
                either(answer_stock(&self.0, name, Consistency::Current, id, &HeaderMap::new()).await)
            }
            ExpressRequest::Trade(key, body) => trade_answered(&self.0, key, body).await,
        };
        self.0.answers.count(&response);
        response
    }
}

fn trade(head: &Head<'_>, body: &[u8]) -> Option<ExpressRequest> {
    if !head.content_type.is_none_or(|found| is_media_type(found, "application/json")) {
        return None;
    }
    let key = match head.idempotency_key {
        None => TradeKey::fresh(),
        Some(key) => TradeKey::given(&HeaderValue::from_bytes(key).ok()?)?,
    };
    Some(ExpressRequest::Trade(key, parse_object(body).ok()?))
}
