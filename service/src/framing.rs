//! Requests that two programs could read in two ways: with another end, or for another host. A proxy that reads one way
//! and a server that reads another can be made to take a part of one client's request for another's (request smuggling).

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Version, header},
    middleware::Next,
    response::Response,
};
use bazaar_domain::ApiError;

use crate::http::refused;

/// Refuses what could be read in two ways, and closes the connection after that, and after every chunked request. The
/// HTTP server lets the chunks count where there is a length too, and does not show that length; so whatever somebody
/// hid behind one of the two ends is not read (RFC 9112, 6.1).
pub(crate) async fn one_way(request: Request, next: Next, is_public: bool) -> Response {
    let checked = has_one_end(request.headers()).and_then(|()| has_one_host(request.version(), request.headers()));
    let goes_on = checked.is_ok() && !request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(why) => refused(ApiError::invalid(why), request.method(), is_public),
    };
    if !goes_on {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The HTTP server takes any codings that end in chunks. Nobody here undoes another one, and a second round of chunks
/// ends elsewhere. (Lengths that differ it refuses itself, and of equal ones it makes one.)
fn has_one_end(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if is_plain && codings.next().is_none() {
        return Ok(());
    }
    Err("send the body in no other transfer coding than 'chunked', and name that once")
}

/// RFC 9112, 3.2.
fn has_one_host(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => Err("send a Host header"),
        (Some(host), None) if !is_host(host.as_bytes()) => Err("the Host header is no host"),
        (Some(_), Some(_)) => Err("send one Host header, not several"),
        _ => Ok(()),
    }
}

/// Whether all characters are such as a host and a port are made of; whom they name does not matter.
pub(crate) fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}
