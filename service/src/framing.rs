//! Requests whose end two programs could see at two places. A proxy that sees one end and a server that sees another can
//! be made to take a part of one client's request for another's (request smuggling).

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::ApiFailure;

/// Refuses a request with both a length and chunks, and closes the connection after every chunked one: the HTTP server
/// does not show a length that stands behind the chunks' header, and nothing may be hidden behind such a request
/// (RFC 9112, section 6.1).
pub(crate) async fn one_end(request: Request, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    if !is_chunked {
        return next.run(request).await;
    }
    let mut response = if request.headers().contains_key(header::CONTENT_LENGTH) {
        ApiFailure::invalid("send the body with a length or in chunks, not with both").into_response()
    } else {
        next.run(request).await
    };
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
