//! Questions to the catalog: stocks for lookups.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bazaar_domain::{
    Address, ApiError, ErrorKind, StockName,
    api::{Data, ErrorBody, StockView},
    config::ReadConsistency,
    internal::headers,
};
use bazaar_service::{
    CallError, Caller, Origin, RequestId,
    traces::{Span, TRACEPARENT},
};
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::cache::StockAnswer;

/// How long the catalog may take to answer a lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a lookup is held while the catalog is there but cannot promise a current answer: longer than an election
/// and the renewal of the catalog's lease take.
const LOOKUP_HELD_MAX: Duration = Duration::from_secs(3);
/// Held lookups that ask again at a time, at most.
const HELD_LOOKUPS_ASKING_MAX: usize = 16;
/// Pause before a held lookup asks again.
const LOOKUP_PAUSE: Duration = Duration::from_millis(25);

/// How current an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// Linearizable: never older than what anyone was shown before.
    Current,
    /// Whatever the catalog has.
    Stale,
}

/// A stock as the catalog answered.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// The stock.
    pub(crate) answer: StockAnswer,
    /// Whether it may be kept (R9).
    pub(crate) cacheable: bool,
    /// Whether the catalog marked it as possibly old.
    pub(crate) stale: bool,
}

/// A JSON body of the catalog, passed on as it is.
#[derive(Debug)]
pub(crate) struct PassedOn {
    /// The body.
    pub(crate) body: Bytes,
    /// The log index at which it was current.
    pub(crate) log_index: Option<HeaderValue>,
    /// Whether the catalog marked it as possibly old.
    pub(crate) stale: bool,
}

/// The way to the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    caller: Caller,
    address: Address,
    /// A permit for each held lookup that may ask again now.
    held: Arc<Semaphore>,
    /// What a lookup gets while there is no current answer.
    fallback: ReadConsistency,
}

impl Catalog {
    pub(crate) fn new(caller: Caller, address: Address, fallback: ReadConsistency) -> Self {
        Self { caller, address, held: Arc::new(Semaphore::new(HELD_LOOKUPS_ASKING_MAX)), fallback }
    }

    /// One stock.
    ///
    /// # Errors
    /// The catalog's own error, or `catalog_unavailable`.
    pub(crate) async fn stock(
        &self,
        name: &StockName,
        consistency: Consistency,
        id: &RequestId,
    ) -> Result<Fetched, ApiError> {
        let (head, body) = self.get(&format!("/stocks/{name}"), consistency, id).await?;
        let stock: Data<StockView> = serde_json::from_slice(&body).map_err(|error| unavailable(&error))?;
        if stock.data.name != *name {
            return Err(unavailable(&"it answered with another stock"));
        }
        let log_index = head.get(headers::LOG_INDEX).and_then(|value| value.to_str().ok()?.parse().ok());
        let stale = is_stale(&head);
        let marked_cacheable = head.get(headers::CACHEABLE).is_some_and(|value| value == "yes");
        Ok(Fetched {
            answer: StockAnswer::new(stock.data, log_index.unwrap_or(0)),
            cacheable: marked_cacheable && log_index.is_some() && !stale,
            stale,
        })
    }

    /// All stocks.
    ///
    /// # Errors
    /// As [`Self::stock`].
    pub(crate) async fn stocks(&self, consistency: Consistency, id: &RequestId) -> Result<PassedOn, ApiError> {
        let (head, body) = self.get("/stocks", consistency, id).await?;
        Ok(PassedOn { body, log_index: head.get(headers::LOG_INDEX).cloned(), stale: is_stale(&head) })
    }

    /// Whether it answers lookups as current now.
    ///
    /// # Errors
    /// Its own reason, or `catalog_unavailable`.
    pub(crate) async fn is_ready(&self, id: &RequestId) -> Result<(), ApiError> {
        match self.ask("/readyz", Consistency::Current, id).await {
            Ok(_) => Ok(()),
            Err(Refusal::Passing(error) | Refusal::Final(error)) => Err(error),
        }
    }

    /// Asks until the catalog can promise its answer, so that a leader's crash is a pause for those who look up, too.
    async fn get(&self, path: &str, consistency: Consistency, id: &RequestId) -> Result<(HeaderMap, Bytes), ApiError> {
        let give_up = Instant::now() + LOOKUP_HELD_MAX;
        let mut refused = match self.ask(path, consistency, id).await {
            Err(Refusal::Passing(error)) if self.fallback == ReadConsistency::StaleOk => {
                // An error would carry no mark, and an old copy may lack a stock that everybody knows.
                return self.ask(path, Consistency::Stale, id).await.map_err(|_| error);
            }
            Err(Refusal::Passing(error)) => error,
            Err(Refusal::Final(error)) => return Err(error),
            Ok(answer) => return Ok(answer),
        };
        loop {
            // Few ask again at a time, and each pauses before it makes room for the next one: the catalog needs its time
            // to get a lease. Once it answers, nobody pauses any more.
            let Ok(Ok(_turn)) = tokio::time::timeout_at(give_up.into(), self.held.acquire()).await else {
                return Err(refused);
            };
            match self.ask(path, consistency, id).await {
                Err(Refusal::Passing(error)) => refused = error,
                Err(Refusal::Final(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
            tokio::time::sleep(LOOKUP_PAUSE).await;
            if Instant::now() >= give_up {
                return Err(refused);
            }
        }
    }

    async fn ask(&self, path: &str, consistency: Consistency, id: &RequestId) -> Result<(HeaderMap, Bytes), Refusal> {
        let query = if consistency == Consistency::Stale { "?consistency=stale" } else { "" };
        let url = self.caller.url(&self.address, &format!("{path}{query}"));
        let mut request = self.caller.http().get(url).timeout(LOOKUP_TIMEOUT).header(headers::REQUEST_ID, id.0.clone());
        // It ends with this call, however that ends.
        let span = Span::call("ask the catalog", Origin::current().and_then(|origin| origin.trace));
        if let Some(span) = &span {
            request = request.header(TRACEPARENT, span.point().header());
        }
        let called = async {
            let mut response = request.send().await?;
            let head = std::mem::take(response.headers_mut());
            let status = response.status();
            Ok((status, head, response.bytes().await?))
        };
        let (status, head, body) =
            called.await.map_err(|error: reqwest::Error| Refusal::Final(unavailable(&CallError::from(error))))?;
        if status.is_success() {
            return Ok((head, body));
        }
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) if status == StatusCode::SERVICE_UNAVAILABLE => Refusal::Passing(error),
            Ok(ErrorBody { error }) => Refusal::Final(error),
            Err(_) => Refusal::Final(unavailable(&format_args!("it answered with status {status}"))),
        })
    }
}

/// Why the catalog did not answer.
enum Refusal {
    /// It waits for a lease; that passes with the next leader.
    Passing(ApiError),
    /// Asking again would not help.
    Final(ApiError),
}

fn is_stale(head: &HeaderMap) -> bool {
    head.get(headers::CONSISTENCY).is_some_and(|value| value == "stale")
}

fn unavailable(why: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::CatalogUnavailable, format!("the catalog cannot be asked ({why}); try again"))
}
