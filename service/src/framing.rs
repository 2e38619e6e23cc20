//! Requests whose end two programs could see at two places. A proxy that sees one end and a server that sees another can
//! be made to take a part of one client's request for another's (request smuggling).

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};

/// Closes the connection after every chunked request. The HTTP server lets the chunks count where there is a length too,
/// and does not show that length; so whatever somebody hid behind one of the two ends is not read (RFC 9112, 6.1).
pub(crate) async fn one_end(request: Request, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    if is_chunked {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
