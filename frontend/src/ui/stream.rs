//! `GET /ui/events`: the stream that keeps a page current.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use bazaar_domain::ErrorKind;
use bazaar_service::{ApiFailure, Query};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;

use super::{
    Ui,
    hub::{Message, MessageId},
};

/// Pages that are kept current at a time.
pub(crate) const WATCHERS_MAX: usize = 64;
/// After so long without news a comment is sent, so that either side notices a connection that is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A browser that lost the stream asks for it again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// A page that is kept current; counted as long as this lives.
struct Watcher(Arc<Ui>);

impl Watcher {
    /// Nothing if there are as many as may be.
    fn enter(ui: Arc<Ui>) -> Option<Self> {
        let watcher = Self(ui);
        let others = watcher.0.watchers.fetch_add(1, Ordering::Relaxed);
        watcher.0.visited();
        (others < watcher.0.pages_max).then_some(watcher)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    /// As the header `Last-Event-ID`, for a page that had to open a new stream.
    last: Option<String>,
}

/// `GET /ui/events`.
pub(super) async fn events(
    State(ui): State<Arc<Ui>>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Response {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let seen = header.or(query.last.as_deref()).and_then(MessageId::parse);
    let shutdown = ui.shutdown.clone();
    let Some(watcher) = Watcher::enter(ui) else {
        return ApiFailure::new(ErrorKind::Overloaded, "too many pages are open; close one").into_response();
    };
    // A stream that goes on would hold up an orderly stop.
    let events = messages(watcher, seen).take_until(async move { shutdown.cancelled().await });
    let retry = stream::once(async { Ok(Event::default().retry(RETRY)) });
    Sse::new(retry.chain(events)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// What the page lacks, and then all that is new. Nothing is queued for a page that reads slowly: it gets the newest
/// form of each part when it is ready for it.
fn messages(watcher: Watcher, seen: Option<MessageId>) -> impl Stream<Item = Result<Event, Infallible>> {
    let news = watcher.0.hub.subscribe();
    stream::unfold((watcher, news, seen, true), async |(watcher, mut news, seen, is_first)| {
        if !is_first && news.changed().await.is_err() {
            return None;
        }
        news.mark_unchanged();
        let missed = watcher.0.hub.since(seen);
        let seen = missed.last().map_or(seen, |(id, _)| Some(*id));
        let events: Vec<_> = missed.iter().map(|(id, message)| Ok(event(*id, message))).collect();
        Some((stream::iter(events), (watcher, news, seen, false)))
    })
    .flatten()
}

fn event(id: MessageId, message: &Message) -> Event {
    let data = serde_json::to_string(message).expect("a message is plain JSON");
    Event::default().id(id.to_string()).data(data)
}
