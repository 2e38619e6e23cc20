//! Writing an answer.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use axum::{
    body::{Body, HttpBody},
    http::{header, response::Parts},
    response::Response,
};
use bazaar_domain::internal::headers;
use http_body_util::BodyExt;

use crate::http::RequestId;

/// Appends an answer to `out`, as HTTP/1.1. Its body must be of known length, as all of ours are.
pub(super) async fn write(response: Response, id: &RequestId, is_last: bool, out: &mut Vec<u8>) -> io::Result<()> {
    let (parts, mut body) = response.into_parts();
    write_head(&parts, &body, id, is_last, out)?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            out.extend_from_slice(&data);
        }
    }
    Ok(())
}

fn write_head(parts: &Parts, body: &Body, id: &RequestId, is_last: bool, out: &mut Vec<u8>) -> io::Result<()> {
    let length = body.size_hint().exact().ok_or_else(|| io::Error::other("an answer of unknown length"))?;
    let reason = parts.status.canonical_reason().unwrap_or_default();
    write!(out, "HTTP/1.1 {} {reason}\r\n", parts.status.as_str())?;
    let own = [(headers::REQUEST_ID, id.0.as_bytes())];
    let others = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in others.filter(|(name, _)| *name != header::CONTENT_LENGTH.as_str()).chain(own) {
        for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    if is_last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    let date = httpdate::HttpDate::from(SystemTime::now());
    write!(out, "content-length: {length}\r\ndate: {date}\r\n\r\n")
}
