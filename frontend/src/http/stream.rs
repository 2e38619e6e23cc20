//! `GET /orders/stream`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bazaar_service::{ApiFailure, Query, auth::tokens::Permission};
use serde::Deserialize;

use super::App;

/// Says where a client's browser or library was when it lost the stream.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Debug, Deserialize)]
pub(super) struct StreamQuery {
    after: Option<u64>,
}

/// Orders as they are made, as server-sent events.
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Query(query): Query<StreamQuery>,
    head: HeaderMap,
) -> Result<Response, ApiFailure> {
    let after = last_event_id(&head)?.or(query.after);
    let may_read = app.auth.still_permits(&head, Permission::Read);
    let pieces = app.streams.subscribe(after, may_read).await?.into_pieces();
    let head = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((head, Body::from_stream(pieces)).into_response())
}

fn last_event_id(head: &HeaderMap) -> Result<Option<u64>, ApiFailure> {
    let Some(value) = head.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| ApiFailure::invalid("Last-Event-ID is the number of an order"))
}
