//! The frontend's HTTP interface, typed. Nothing is retried here; see [`crate::retry`].

use std::time::Duration;

use anyhow::{Result, bail};
use bazaar_domain::{
    ApiError, ErrorKind, IdempotencyKey, Quantity, Side, StockName, TradeFate,
    api::{Data, ErrorBody, KeyAnswer, OrderPage, OrderView, StockView, TradeBody, TradeReceipt},
    internal::headers,
};
use bazaar_service::{CallError, Caller};
use reqwest::{RequestBuilder, Response, Url, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    access::Access,
    exit::{Ending, Exit},
};

/// How long one attempt of a read may take: longer than the frontend holds one, so that its reason comes first.
const READ_TIMEOUT: Duration = Duration::from_secs(12);
/// How long one attempt of a trade may take: longer than the frontend itself tries, so that its answer comes first.
const TRADE_TIMEOUT: Duration = Duration::from_secs(12);
/// Most of a foreign answer that is quoted.
const QUOTED_CHARS_MAX: usize = 120;

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("refused")]
    Refused,
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// No TLS connection: one does not trust the other. Nothing was sent, and trying again does not help.
    #[error("no trust: {0}")]
    Untrusted(String),
    /// The connection broke, or the answer could not be read.
    #[error("{0}")]
    Broken(String),
    /// An error of the contract's form.
    #[error("{error}")]
    Answered {
        /// The error.
        error: ApiError,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// An answer that is not the bazaar's.
    #[error("status {status}: {text}")]
    Foreign {
        /// Its status.
        status: u16,
        /// The start of its body.
        text: String,
    },
}

impl Failure {
    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { error, .. } => Some(error.code),
            Self::Foreign { status, .. } => Some(*status),
            Self::Refused | Self::Timeout | Self::Untrusted(_) | Self::Broken(_) => None,
        }
    }

    /// Whether a trade that ended so may have happened all the same, or may happen yet.
    pub fn leaves_trade_unknown(&self) -> bool {
        match self {
            // Nothing was sent.
            Self::Refused | Self::Untrusted(_) => false,
            // Whoever stands between us and the frontend does not know what became of a trade either.
            Self::Timeout | Self::Broken(_) | Self::Foreign { .. } => true,
            Self::Answered { error, .. } => match error.outcome {
                Some(fate) => fate == TradeFate::Unknown,
                None => error.code >= 500,
            },
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        match CallError::from(error) {
            CallError::Refused => Self::Refused,
            CallError::Timeout => Self::Timeout,
            CallError::Untrusted(text) => Self::Untrusted(text),
            CallError::Broken(text) => Self::Broken(text),
            CallError::Answered(error) => Self::Answered { error, retry_after: None },
        }
    }
}

/// `X-Cache`: how a lookup was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheUse {
    /// From the frontend's cache.
    Hit,
    /// From the catalog, and kept.
    Miss,
    /// From the catalog, and not kept.
    Bypass,
}

/// The answer to a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The stock.
    pub stock: StockView,
    /// How it was answered; none if the header is missing.
    pub cache: Option<CacheUse>,
    /// Whether it may be old (`X-Consistency`).
    pub stale: bool,
}

/// The answer to an accepted trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Number and version.
    pub receipt: TradeReceipt,
    /// The trade had been decided before.
    pub replayed: bool,
}

/// The frontend; cheap to clone, connections are shared.
#[derive(Debug, Clone)]
pub struct Frontend {
    access: Access,
    base: String,
}

impl Frontend {
    /// The frontend at a URL, called without TLS or a token.
    ///
    /// # Errors
    /// As [`Self::reached_by`].
    pub fn new(url: &str) -> Result<Self> {
        Self::reached_by(Access::default(), url)
    }

    /// The frontend at a URL.
    ///
    /// # Errors
    /// If it is no `http://` or `https://` URL.
    pub fn reached_by(access: Access, url: &str) -> Result<Self> {
        if !is_http(url) {
            let form = "give --url in the form http://host:port or https://host:port";
            bail!(Ending::new(Exit::Usage, format!("'{url}' is no address of a frontend; {form}")));
        }
        Ok(Self { access, base: url.trim_end_matches('/').to_owned() })
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The HTTP client, for calls to other processes.
    pub fn caller(&self) -> &Caller {
        self.access.caller()
    }

    /// How our processes are reached.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// `GET /stocks`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn stocks(&self) -> Result<Vec<StockView>, Failure> {
        self.get::<Data<Vec<StockView>>>("/stocks").await.map(|body| body.data)
    }

    /// `GET /stocks/{name}`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn lookup(&self, name: StockName) -> Result<Lookup, Failure> {
        self.lookup_at(format!("{}/stocks/{name}", self.base)).await
    }

    /// `GET /stocks/{name}?consistency=stale`: an older value will do.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn lookup_stale(&self, name: StockName) -> Result<Lookup, Failure> {
        self.lookup_at(format!("{}/stocks/{name}?consistency=stale", self.base)).await
    }

    async fn lookup_at(&self, url: String) -> Result<Lookup, Failure> {
        let reply = send(self.caller().http().get(url).timeout(READ_TIMEOUT)).await?;
        let cache = match reply.header(headers::CACHE) {
            Some("hit") => Some(CacheUse::Hit),
            Some("miss") => Some(CacheUse::Miss),
            Some("bypass") => Some(CacheUse::Bypass),
            _ => None,
        };
        let stale = reply.header(headers::CONSISTENCY) == Some("stale");
        Ok(Lookup { stock: reply.json::<Data<StockView>>()?.data, cache, stale })
    }

    /// `POST /orders`.
    ///
    /// # Errors
    /// As [`Failure`] says; a rejection is one too.
    pub async fn trade(
        &self,
        key: &IdempotencyKey,
        name: StockName,
        side: Side,
        quantity: Quantity,
    ) -> Result<Accepted, Failure> {
        let request = self
            .caller()
            .http()
            .post(format!("{}/orders", self.base))
            .timeout(TRADE_TIMEOUT)
            .header(headers::IDEMPOTENCY_KEY, key.as_str())
            .json(&TradeBody { name, side, quantity });
        let reply = send(request).await?;
        let replayed = reply.header(headers::IDEMPOTENCY_REPLAYED) == Some("true");
        Ok(Accepted { receipt: reply.json::<Data<TradeReceipt>>()?.data, replayed })
    }

    /// `GET /orders/{number}`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn order(&self, number: u64) -> Result<OrderView, Failure> {
        self.get::<Data<OrderView>>(&format!("/orders/{number}")).await.map(|body| body.data)
    }

    /// `GET /orders?after=&limit=`.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn orders(&self, after: u64, limit: usize) -> Result<OrderPage, Failure> {
        self.get(&format!("/orders?after={after}&limit={limit}")).await
    }

    /// `GET /orders/by-key/{key}`: the order or the rejection that a key got.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn by_key(&self, key: &IdempotencyKey) -> Result<KeyAnswer, Failure> {
        let mut url = Url::parse(&self.base).map_err(|error| Failure::Broken(error.to_string()))?;
        // A key may hold characters that mean something in a path.
        url.path_segments_mut().map_err(|()| Failure::Broken("no path fits the URL".into()))?.extend([
            "orders",
            "by-key",
            key.as_str(),
        ]);
        let body: Data<KeyAnswer> = get_json(self.caller(), url.as_str(), READ_TIMEOUT).await?;
        Ok(body.data)
    }

    /// `GET /orders/stream`: each order behind `after` as it is made. The answer's body has no end.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn order_stream(&self, after: u64) -> Result<Response, Failure> {
        let request = self.caller().http().get(format!("{}/orders/stream?after={after}", self.base));
        let request = request.header("Last-Event-ID", after).header(header::ACCEPT, "text/event-stream");
        let answer = timeout(READ_TIMEOUT, request.send()).await.map_err(|_| Failure::Timeout)??;
        successful(answer).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        get_json(self.caller(), &format!("{}{path}", self.base), READ_TIMEOUT).await
    }
}

/// Whether a text is an address that can be called.
pub fn is_http(url: &str) -> bool {
    Url::parse(url).is_ok_and(|parsed| matches!(parsed.scheme(), "http" | "https") && parsed.has_host())
}

/// Gets a JSON answer of any of our processes.
///
/// # Errors
/// As [`Failure`] says.
pub async fn get_json<T: DeserializeOwned>(caller: &Caller, url: &str, timeout: Duration) -> Result<T, Failure> {
    send(caller.http().get(url).timeout(timeout)).await?.json()
}

/// Posts JSON to any of our processes, and gets a JSON answer.
///
/// # Errors
/// As [`Failure`] says.
pub async fn post_json<Q: Serialize, T: DeserializeOwned>(
    caller: &Caller,
    url: &str,
    body: &Q,
    timeout: Duration,
) -> Result<T, Failure> {
    send(caller.http().post(url).json(body).timeout(timeout)).await?.json()
}

/// A successful answer, read whole.
struct Reply {
    headers: header::HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::Broken(format!("an answer of an unexpected form: {error}")))
    }
}

async fn send(request: RequestBuilder) -> Result<Reply, Failure> {
    let response = successful(request.send().await?).await?;
    let headers = response.headers().clone();
    Ok(Reply { headers, body: response.bytes().await?.to_vec() })
}

/// An answer with a status of success, its body not yet read.
///
/// # Errors
/// What the answer says, if it is another one.
pub async fn successful(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let headers = response.headers().clone();
    let body = response.bytes().await?;
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody { error }) => {
            let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Failure::Answered { error, retry_after: seconds.map(Duration::from_secs) })
        }
        Err(_) => Err(Failure::Foreign { status: status.as_u16(), text: quoted(&body) }),
    }
}

fn quoted(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(QUOTED_CHARS_MAX).collect()
}

/// Turns a failed request to the frontend into a sentence that says what to do next, with its exit code.
pub fn explained(frontend: &Frontend, failure: &Failure) -> anyhow::Error {
    Ending::new(Exit::from(failure), sentence(frontend.url(), failure)).into()
}

fn sentence(url: &str, failure: &Failure) -> String {
    match failure {
        _ if speaks_no_tls(url, failure) => {
            format!("{url} speaks no TLS; use {}", url.replacen("https://", "http://", 1))
        }
        Failure::Refused => format!(
            "nothing answers at {url}; start the cluster with 'scripts/cluster start', or name another frontend with --url"
        ),
        Failure::Timeout => format!("{url} does not answer in time; look at 'bazaar status', then try again"),
        Failure::Untrusted(text) => untrusted(url, text),
        // In the newer TLS the other side says only behind the handshake that it does not trust us.
        Failure::Broken(text) if text.contains("certificate") => untrusted(url, text),
        Failure::Broken(text) => format!("the connection to {url} failed ({text}); try again"),
        Failure::Answered { error, .. } => {
            let said = said(error);
            next_step(error).map_or(said.clone(), |next| format!("{said}; {next}"))
        }
        Failure::Foreign { .. } => format!("{url} gave an answer that is not the bazaar's ({failure}); check --url"),
    }
}

fn untrusted(url: &str, why: &str) -> String {
    format!("{url} is not trusted, or does not trust us ({why}); give the authority with --ca")
}

/// Whether a listener answered our TLS with something else: plain HTTP.
fn speaks_no_tls(url: &str, failure: &Failure) -> bool {
    url.starts_with("https://") && failure.to_string().contains("InvalidContentType")
}

/// What an error says, and its kind once.
pub fn said(error: &ApiError) -> String {
    let kind = error.kind.as_str();
    let message = error.message.strip_prefix(kind).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&error.message);
    // How the client sends it again is said by whoever knows the key.
    let message = message.split("; send it again").next().unwrap_or(message);
    format!("{message} ({kind})")
}

/// What to do about an error whose own message does not say it.
fn next_step(error: &ApiError) -> Option<&'static str> {
    let kind = error.kind;
    match kind {
        _ if error.message.contains("'bazaar ") => None,
        _ if error.message.contains("add consistency=stale") => Some("'bazaar query NAME --stale' does that"),
        ErrorKind::StockNotFound => Some("'bazaar stocks' lists all names"),
        ErrorKind::OrderNotFound => Some("'bazaar orders' lists the newest ones"),
        ErrorKind::InsufficientQuantity => {
            Some("'bazaar query NAME' shows how many there are; use a new key for another try")
        }
        _ if matches!(kind.status(), 401 | 403) => Some("give a token that permits it with --token"),
        _ if kind.status() == 503 && error.message.contains("try again") => Some("look at 'bazaar status'"),
        _ if kind.status() == 503 => Some("look at 'bazaar status', then try again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: ErrorKind, message: &str) -> String {
        let failure = Failure::Answered { error: ApiError::new(kind, message), retry_after: None };
        sentence("http://127.0.0.1:8080", &failure)
    }

    #[test]
    fn an_error_says_everything_once() {
        let elected =
            told(ErrorKind::NoLeader, "no_leader: 3 of 3 replicas reachable, none takes requests yet, try again");
        let expected =
            "3 of 3 replicas reachable, none takes requests yet, try again (no_leader); look at 'bazaar status'";
        assert_eq!(elected, expected);
        let silent = told(ErrorKind::NoQuorum, "no_quorum: 1 of 3 replicas reachable, need 2");
        assert!(silent.ends_with("need 2 (no_quorum); look at 'bazaar status', then try again"), "{silent}");
        let unfounded = told(ErrorKind::NoLeader, "no_leader: no cluster is founded yet: found one with 'bazaar init'");
        assert_eq!(unfounded, "no cluster is founded yet: found one with 'bazaar init' (no_leader)");
        let unknown =
            ApiError::new(ErrorKind::OutcomeUnknown, "who knows; send it again with the same idempotency key");
        assert_eq!(said(&unknown), "who knows (outcome_unknown)");
    }

    #[test]
    fn a_listener_without_tls_is_called_so() {
        let failure = Failure::Broken("received corrupt message of type InvalidContentType".into());
        assert_eq!(sentence("https://h:1", &failure), "https://h:1 speaks no TLS; use http://h:1");
    }
}
