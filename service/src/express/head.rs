//! Reading a request that is understood whole.

use axum::http::header;
use bazaar_domain::internal::headers;

use super::Express;
use crate::{
    framing,
    http::{REQUEST_ID_BYTES_MAX, RequestId},
    traces::{TRACEPARENT, TracePoint},
};

/// Most headers of a request; browsers send more than programs do, and go to the server.
const HEADERS_MAX: usize = 16;

/// The methods of the express way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`, without a body.
    Get,
    /// `POST`, with a body of known length.
    Post,
}

/// What is known of a request before its body. Each header stands here once at most: a second one of a kind, or one of
/// another kind, is not for the express way.
#[derive(Debug)]
pub struct Head<'a> {
    /// Its method.
    pub method: Method,
    /// Its path, and query if there is one.
    pub target: &'a str,
    /// `Content-Type`.
    pub content_type: Option<&'a [u8]>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<&'a [u8]>,
    request_id: Option<&'a [u8]>,
    traceparent: Option<&'a [u8]>,
    content_length: Option<usize>,
    has_host: bool,
}

/// A request that was taken in.
pub(super) struct Taken<R> {
    pub(super) request: R,
    pub(super) id: RequestId,
    /// The trace that it is part of, if its sender says so.
    pub(super) trace: Option<TracePoint>,
    /// Where it ends.
    pub(super) end: usize,
}

/// The request at the beginning of `bytes`. `None` if it is not for the express way, or is not there whole.
pub(super) fn request<E: Express>(bytes: &[u8], routes: &E) -> Option<Taken<E::Request>> {
    let mut parsed = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut parsed);
    let Ok(httparse::Status::Complete(body_start)) = request.parse(bytes) else { return None };
    let head = head(&request)?;
    let end = body_start.checked_add(head.content_length.unwrap_or(0))?;
    let body = bytes.get(body_start..end)?;
    let id = match head.request_id {
        None => RequestId::fresh(),
        Some(own) => RequestId::of(own, REQUEST_ID_BYTES_MAX)?,
    };
    let trace = head.traceparent.and_then(TracePoint::read);
    Some(Taken { request: routes.read(&head, body)?, id, trace, end })
}

/// Method and target of a request that was taken in, for those who tell about it.
pub(super) fn first_line(request: &[u8]) -> (&str, &str) {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

fn head<'a>(request: &httparse::Request<'_, 'a>) -> Option<Head<'a>> {
    let method = match request.method? {
        "GET" => Method::Get,
        "POST" => Method::Post,
        _ => return None,
    };
    let mut head = Head {
        method,
        target: request.path?,
        content_type: None,
        idempotency_key: None,
        request_id: None,
        traceparent: None,
        content_length: None,
        has_host: false,
    };
    for header in &*request.headers {
        take(&mut head, header)?;
    }
    let body_fits = head.content_length.is_some() == (method == Method::Post);
    (request.version? == 1 && head.has_host && body_fits).then_some(head)
}

/// Notes a header; `None` if it may change how the request is to be answered in a way that is not known here.
fn take<'a>(head: &mut Head<'a>, header: &httparse::Header<'a>) -> Option<()> {
    let is = |name: &str| header.name.eq_ignore_ascii_case(name);
    if is("host") {
        let is_second = std::mem::replace(&mut head.has_host, true);
        return (!is_second && framing::is_host(header.value)).then_some(());
    }
    if is("content-length") {
        return once(&mut head.content_length, length(header.value)?);
    }
    for (name, place) in [
        (header::CONTENT_TYPE.as_str(), &mut head.content_type),
        (headers::IDEMPOTENCY_KEY, &mut head.idempotency_key),
        (headers::REQUEST_ID, &mut head.request_id),
        (TRACEPARENT, &mut head.traceparent),
    ] {
        if is(name) {
            return once(place, header.value);
        }
    }
    let changes_nothing = is("user-agent")
        || is("accept-encoding")
        || is("tracestate")
        || is("accept") && matches!(header.value, b"*/*" | b"application/json")
        || is("connection") && header.value.eq_ignore_ascii_case(b"keep-alive");
    changes_nothing.then_some(())
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Digits and nothing else.
fn length(value: &[u8]) -> Option<usize> {
    let digits = value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}
