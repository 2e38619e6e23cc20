//! Is every answer as the process's own description (`GET /openapi.json`) says?
//!
//! Tests send their requests through [`send`], which fails for an answer that is not described: another status, another
//! body, an unknown field, an unknown header.

mod document;
pub mod schema;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, header::HeaderMap};

pub use self::document::{Answer, Document};

/// How long a description may take.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The descriptions of the listeners that were asked so far; `None` for one that has none.
static DOCUMENTS: Mutex<BTreeMap<String, Option<Arc<Document>>>> = Mutex::new(BTreeMap::new());

/// Sends a request, and checks that the answer is described.
///
/// # Errors
/// If nothing answers (a [`reqwest::Error`]), or the answer is not as described.
pub async fn send(request: RequestBuilder) -> Result<Response> {
    let (asked, response) = Asked::send(request).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await?;
    asked.check(status, &headers, &body).await?;
    Ok(rebuilt(status, headers, body))
}

/// Sends a request for a stream of text, and checks all but the text.
///
/// # Errors
/// As [`send`].
pub async fn open(request: RequestBuilder) -> Result<Response> {
    let (asked, response) = Asked::send(request).await?;
    asked.check(response.status(), response.headers(), b"").await?;
    Ok(response)
}

/// A request that was sent.
struct Asked {
    client: Client,
    method: Method,
    url: Url,
}

impl Asked {
    async fn send(request: RequestBuilder) -> Result<(Self, Response), reqwest::Error> {
        let (client, request) = request.build_split();
        let request = request?;
        let asked = Self { client, method: request.method().clone(), url: request.url().clone() };
        let response = asked.client.execute(request).await?;
        Ok((asked, response))
    }

    async fn check(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<()> {
        let Some(document) = document_of(&self.client, &self.url).await? else { return Ok(()) };
        let Self { method, url, .. } = self;
        let answer = Answer { status: status.as_u16(), headers, body };
        let got = || format!("{method} {url} got {status} {headers:?} {:.2000}", String::from_utf8_lossy(body));
        document.check(method.as_str(), url.path(), &answer).with_context(got)
    }
}

fn rebuilt(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.into()
}

/// The description of the listener that a request went to; none if it has none, or cannot be asked now.
async fn document_of(client: &Client, url: &Url) -> Result<Option<Arc<Document>>> {
    let listener = url.origin().ascii_serialization();
    if let Some(known) = DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner).get(&listener) {
        return Ok(known.clone());
    }
    // It may have been killed since it answered.
    let request = client.get(format!("{listener}/openapi.json")).timeout(DOCUMENT_TIMEOUT);
    let Ok(response) = request.send().await else { return Ok(None) };
    let document = match response.status() {
        StatusCode::OK => Some(Arc::new(Document::new(response.json().await?))),
        StatusCode::NOT_FOUND => None,
        _ => return Ok(None),
    };
    DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner).insert(listener, document.clone());
    Ok(document)
}
