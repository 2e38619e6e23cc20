//! Calls between our processes: records over HTTP, with a clear word on how a call failed.

use std::{fmt::Display, time::Duration};

use axum::http::header;
use bazaar_domain::{ApiError, api::ErrorBody, codec, internal::headers};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{http::RequestId, origin::Origin, tls, traces::TRACEPARENT};

/// How long a connection between our processes may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Unused connections are closed after this time: well before the server's side does.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// No connection: the other side did not see the request.
    #[error("refused")]
    Refused,
    /// No TLS connection, for the reason given: the other side did not see the request.
    #[error("no trust: {0}")]
    Untrusted(String),
    /// No answer in time: the other side may have seen the request.
    #[error("timeout")]
    Timeout,
    /// The connection broke: the other side may have seen the request.
    #[error("{0}")]
    Broken(String),
    /// The other side answered with an error.
    #[error("{0}")]
    Answered(ApiError),
}

/// An HTTP client for calls between our processes; cheap to clone, connections are shared.
#[derive(Debug, Clone)]
pub struct Caller {
    client: reqwest::Client,
    scheme: &'static str,
}

impl Caller {
    /// A client of its own connection pool.
    ///
    /// # Panics
    /// If the HTTP client cannot be built, which depends on nothing outside the process.
    pub fn new() -> Self {
        Self::over(tls::http_client(), "http")
    }

    /// A client made from such a beginning, which puts this scheme into URLs.
    pub(crate) fn over(client: reqwest::ClientBuilder, scheme: &'static str) -> Self {
        let client = client
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("nothing that can be wrong was given");
        Self { client, scheme }
    }

    /// The URL of a path at one of our processes.
    pub fn url(&self, address: impl Display, path: &str) -> String {
        format!("{}://{address}{path}", self.scheme)
    }

    /// The client beneath, for calls of another form.
    pub fn http(&self) -> &reqwest::Client {
        &self.client
    }

    /// Posts a record and reads a record.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        url: &str,
        body: &Q,
        timeout: Duration,
        id: Option<&RequestId>,
    ) -> Result<A, CallError> {
        let mut request = self
            .client
            .post(url)
            .timeout(timeout)
            .header(header::CONTENT_TYPE, codec::RECORD_MEDIA_TYPE)
            .body(codec::encode(body));
        if let Some(id) = id {
            request = request.header(headers::REQUEST_ID, id.0.clone());
        }
        let bytes = answer(request).await?;
        codec::decode(&bytes).map_err(|error| CallError::Broken(error.to_string()))
    }

    /// Gets a JSON answer.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_json<A: DeserializeOwned>(&self, url: &str, timeout: Duration) -> Result<A, CallError> {
        let bytes = answer(self.client.get(url).timeout(timeout)).await?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Broken(error.to_string()))
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends a request and reads the whole body of a successful answer.
async fn answer(mut request: reqwest::RequestBuilder) -> Result<Bytes, CallError> {
    if let Some(trace) = Origin::current_trace() {
        request = request.header(TRACEPARENT, trace.header());
    }
    let response = request.send().await?;
    let status = response.status();
    let bytes = response.bytes().await?;
    if status.is_success() {
        return Ok(bytes);
    }
    match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(body) => Err(CallError::Answered(body.error)),
        Err(_) => Err(CallError::Broken(format!("an answer with status {status} that is not ours"))),
    }
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect() {
            if let Some(why) = tls_error(&error) {
                return Self::Untrusted(why);
            }
            // A connect that timed out did not send anything either, but "timeout" tells a person more.
            if error.is_timeout() { Self::Timeout } else { Self::Refused }
        } else if error.is_timeout() {
            Self::Timeout
        } else {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            Self::Broken(cause.to_string())
        }
    }
}

/// What TLS has against the other side, if that is why there is no connection.
fn tls_error(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        // An I/O error shows the source of the error that it carries, and not that error itself.
        let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = error.downcast_ref::<rustls::Error>();
        if let Some(found) = found.or_else(|| carried?.downcast_ref()) {
            return Some(found.to_string());
        }
        cause = match carried {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}
