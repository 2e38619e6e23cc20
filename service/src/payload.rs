//! Reading requests: bodies with a size and a time limit, JSON, records, and query strings, each with clear errors.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use bazaar_domain::{ApiError, ErrorKind, codec};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Serialize, de::DeserializeOwned};

use crate::failure::ApiFailure;

/// A body must have arrived whole after this time.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A whole body of at most `MAX` bytes.
#[derive(Debug)]
pub struct Payload<const MAX: usize>(pub Bytes);

impl<S: Sync, const MAX: usize> FromRequest<S> for Payload<MAX> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiFailure> {
        read_body(request.into_body(), MAX).await.map(Self)
    }
}

async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, ApiFailure> {
    let collected = tokio::time::timeout(BODY_READ_TIMEOUT, Limited::new(body, bytes_max).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiFailure::new(ErrorKind::PayloadTooLarge, format!("the body is larger than {bytes_max} bytes")))
        }
        Ok(Err(error)) => Err(ApiFailure::invalid(format!("the body could not be read: {error}"))),
        Err(_) => Err(ApiFailure::new(ErrorKind::RequestTimeout, "the body did not arrive within 10 seconds")),
    }
}

/// A JSON object as a body of at most `MAX` bytes.
#[derive(Debug)]
pub struct Json<T, const MAX: usize>(pub T);

impl<S: Sync, T: DeserializeOwned, const MAX: usize> FromRequest<S> for Json<T, MAX> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiFailure> {
        accept_media_type(request.headers(), "application/json")?;
        let body = read_body(request.into_body(), MAX).await?;
        parse_object(&body).map(Self)
    }
}

/// Parses a JSON body.
///
/// # Errors
/// `invalid_request`, with what is wrong and where.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiFailure> {
    serde_json::from_slice(body)
        .map_err(|error| ApiFailure::invalid(format!("the body is not what is expected: {error}")))
}

/// Parses a JSON object. An array of the values in the right order is refused, although a struct could be read from it.
///
/// # Errors
/// As [`parse_json`].
pub fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiFailure> {
    if body.trim_ascii_start().first() == Some(&b'{') {
        parse_json(body)
    } else {
        Err(ApiFailure::invalid("the body is not a JSON object"))
    }
}

/// Refuses a body of another media type (a missing `Content-Type` passes, several do not), and any content encoding.
///
/// # Errors
/// `unsupported_media_type`.
pub fn accept_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), ApiFailure> {
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
        return Err(ApiFailure::new(ErrorKind::UnsupportedMediaType, "send the body without a content encoding"));
    }
    let mut found = headers.get_all(header::CONTENT_TYPE).iter();
    let is_wanted = found.next().is_none_or(|found| is_media_type(found.as_bytes(), wanted));
    if is_wanted && found.next().is_none() {
        return Ok(());
    }
    Err(ApiFailure::new(ErrorKind::UnsupportedMediaType, format!("send the body as {wanted}")))
}

/// Whether a `Content-Type` names this media type, whatever its parameters.
pub fn is_media_type(content_type: &[u8], wanted: &str) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
}

/// A record (see [`bazaar_domain::codec`]) as a request body of at most `MAX` bytes, or as an answer.
#[derive(Debug)]
pub struct Record<T, const MAX: usize = { bazaar_domain::limits::INTERNAL_BODY_BYTES_MAX }>(pub T);

impl<S: Sync, T: DeserializeOwned, const MAX: usize> FromRequest<S> for Record<T, MAX> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiFailure> {
        accept_media_type(request.headers(), codec::RECORD_MEDIA_TYPE)?;
        let body = read_body(request.into_body(), MAX).await?;
        codec::decode(&body).map(Self).map_err(|error| ApiFailure::invalid(error.to_string()))
    }
}

impl<T: Serialize, const MAX: usize> IntoResponse for Record<T, MAX> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, codec::RECORD_MEDIA_TYPE)], codec::encode(&self.0)).into_response()
    }
}

/// A query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiFailure> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            ApiError::invalid(format!("the query is not what is expected: {}", error.body_text())).into()
        })
    }
}
