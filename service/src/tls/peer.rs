//! Who is on the other end of an internal connection, and what only some may ask for.

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bazaar_domain::ErrorKind;

use super::Identity;
use crate::failure::ApiFailure;

/// The process on the other end, in the extensions of each request that came through a door that asks for a certificate.
/// There is none without TLS; then whoever reaches the listener may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub Identity);

/// Routes that only these processes may use, if there is TLS.
pub fn only<S: Clone + Send + Sync + 'static>(may: fn(Identity) -> bool, routes: Router<S>) -> Router<S> {
    routes.route_layer(middleware::from_fn(move |request: Request, next: Next| check(may, request, next)))
}

async fn check(may: fn(Identity) -> bool, request: Request, next: Next) -> Response {
    match request.extensions().get::<Peer>() {
        Some(Peer(identity)) if !may(*identity) => {
            let text = format!("the certificate of {identity} does not permit this");
            ApiFailure::new(ErrorKind::Forbidden, text).into_response()
        }
        _ => next.run(request).await,
    }
}
