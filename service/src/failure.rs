//! The one mapping of errors to HTTP.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bazaar_domain::{ApiError, ErrorKind, Rejection, api::ErrorBody, words::InvalidWord};
use serde_json::json;

/// An [`ApiError`] as an HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFailure(pub ApiError);

impl ApiFailure {
    /// A failure of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(ApiError::new(kind, message))
    }

    /// A malformed request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self(ApiError::invalid(message))
    }
}

impl From<ApiError> for ApiFailure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<Rejection> for ApiFailure {
    fn from(rejection: Rejection) -> Self {
        Self(rejection.into())
    }
}

impl From<InvalidWord> for ApiFailure {
    fn from(word: InvalidWord) -> Self {
        Self::invalid(word.0)
    }
}

/// Counts an error by its kind: every one that a listener of this process answers, alone or as a part of a batch.
pub fn count_error(kind: ErrorKind) {
    metrics::counter!("bazaar_errors_total", "kind" => kind.as_str()).increment(1);
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        count_error(self.0.kind);
        let body = serde_json::to_vec(&ErrorBody { error: self.0.clone() }).expect("an error is plain JSON");
        let mut response = with_status(&self.0, "application/json", body);
        // The edge layer (see `http::edge`) finds the error here when the client asked for RFC 9457.
        response.extensions_mut().insert(self.0);
        response
    }
}

/// The same error as RFC 9457 "problem details".
pub(crate) fn problem_response(error: &ApiError) -> Response {
    let mut body = json!({
        "type": format!("urn:bazaar:error:{}", error.kind.as_str()),
        "title": error.kind.as_str(),
        "status": error.code,
        "detail": error.message,
        "kind": error.kind,
    });
    if let Some(outcome) = error.outcome {
        body["outcome"] = json!(outcome);
    }
    with_status(error, "application/problem+json", body.to_string().into_bytes())
}

fn with_status(error: &ApiError, media_type: &'static str, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, media_type)], body).into_response();
    if let Some(seconds) = error.kind.retry_after_secs() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
