//! Is every answer as the process's own description (`GET /openapi.json`) says?
//!
//! Tests send their requests through [`send`], which fails for an answer that is not described: another status, another
//! body, an unknown field, an unknown header.

mod document;
pub mod schema;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};

pub use self::document::{Answer, Document};
use crate::wait::{LOOK_EVERY, WAIT_MAX};

/// How long one try to read a description may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

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
    authorization: Option<HeaderValue>,
}

/// What a listener says of itself.
enum Description {
    Of(Arc<Document>),
    /// It has none, or nobody listens there any more.
    None,
    /// It tells nothing to who asked.
    Refused,
}

impl Asked {
    async fn send(request: RequestBuilder) -> Result<(Self, Response), reqwest::Error> {
        let (client, request) = request.build_split();
        let request = request?;
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let asked = Self { client, method: request.method().clone(), url: request.url().clone(), authorization };
        let response = asked.client.execute(request).await?;
        Ok((asked, response))
    }

    async fn check(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<()> {
        let Self { method, url, .. } = self;
        let got = || format!("{method} {url} got {status} {headers:?} {:.2000}", String::from_utf8_lossy(body));
        match self.description().await.with_context(got)? {
            Description::Of(document) => {
                let answer = Answer { status: status.as_u16(), headers, body };
                document.check(method.as_str(), url.path(), &answer).with_context(got)
            }
            Description::None => Ok(()),
            // Who may not read the description cannot have got anything else either.
            Description::Refused => {
                let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                is_refusal.then_some(()).context("the listener shows its description to others only").with_context(got)
            }
        }
    }

    /// The description of the listener that the request went to.
    async fn description(&self) -> Result<Description> {
        let listener = self.url.origin().ascii_serialization();
        if let Some(known) = DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner).get(&listener) {
            return Ok(known.clone().map_or(Description::None, Description::Of));
        }
        let Some(response) = self.fetch(&format!("{listener}/openapi.json")).await? else {
            return Ok(Description::None);
        };
        let document = match response.status() {
            StatusCode::OK => Some(Arc::new(Document::new(response.json().await?))),
            StatusCode::NOT_FOUND => None,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(Description::Refused),
            status => bail!("{listener} answers {status} when it is asked for its description"),
        };
        DOCUMENTS.lock().unwrap_or_else(PoisonError::into_inner).insert(listener, document.clone());
        Ok(document.map_or(Description::None, Description::Of))
    }

    /// Gets a description as whoever sent the request; `None` if nobody listens, for the process may have been killed
    /// since it answered.
    async fn fetch(&self, url: &str) -> Result<Option<Response>> {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let mut request = self.client.get(url).timeout(TRY_TIMEOUT);
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            match request.send().await {
                Ok(response) => return Ok(Some(response)),
                Err(error) if is_refused(&error) => return Ok(None),
                // The machine may be busy, or the process die in this moment.
                Err(error) if Instant::now() > deadline => return Err(error).context("no description"),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind == Some(std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn rebuilt(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.into()
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get};
    use serde_json::json;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A listener that describes nothing but itself, or refuses to with this status.
    async fn answer_of(refusal: Option<StatusCode>, asks_for_token: bool, token: Option<&str>) -> Result<Response> {
        let describe = move |headers: HeaderMap| async move {
            if asks_for_token && !headers.contains_key(AUTHORIZATION) {
                return Err(StatusCode::UNAUTHORIZED);
            }
            refusal.map_or(Ok(Json(json!({ "openapi": "3.1.0", "paths": {} }))), Err)
        };
        let routes = Router::new().route("/openapi.json", get(describe)).route("/made-up", get(|| async { "x" }));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/made-up", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let request = bazaar_service::tls::http_client().build()?.get(url);
        send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    #[tokio::test]
    async fn an_answer_passes_without_a_description_only_if_there_can_be_none() {
        assert!(answer_of(None, false, None).await.is_err(), "the path is not described");
        assert!(answer_of(None, true, Some("token")).await.is_err(), "with a token it is found out too");
        assert!(answer_of(None, true, None).await.is_err(), "no refusal, so there was more than a description tells");
        assert!(answer_of(Some(StatusCode::INTERNAL_SERVER_ERROR), false, None).await.is_err());
        assert!(answer_of(Some(StatusCode::NOT_FOUND), false, None).await.is_ok());
    }

    #[tokio::test]
    async fn a_process_that_is_gone_has_no_description() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url: Url = format!("http://{}/stocks", socket.local_addr().unwrap()).parse().unwrap();
        let client = bazaar_service::tls::http_client().build().unwrap();
        let asked = Asked { client, method: Method::GET, url, authorization: None };
        assert!(asked.check(StatusCode::OK, &HeaderMap::new(), b"").await.is_ok());
    }
}
