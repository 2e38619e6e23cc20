//! Who is on the other end of an internal connection, and what only some may ask for.

use axum::{
    Router,
    extract::Request,
    http::Method,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bazaar_domain::{ApiError, ErrorKind, TradeFate};

use super::{Identity, Tls};
use crate::failure::ApiFailure;

/// The process on the other end, in the extensions of each request that came through a door that asks for a certificate.
/// There is none without TLS; then whoever reaches the listener may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub Identity);

impl Tls {
    /// These routes for those processes only that `may` names, if there is TLS.
    pub fn only<S: Clone + Send + Sync + 'static>(&self, may: fn(Identity) -> bool, routes: Router<S>) -> Router<S> {
        if !self.is_on() {
            return routes;
        }
        routes.route_layer(middleware::from_fn(move |request: Request, next: Next| check(may, request, next)))
    }
}

async fn check(may: fn(Identity) -> bool, request: Request, next: Next) -> Response {
    let text = match request.extensions().get::<Peer>() {
        Some(Peer(identity)) if may(*identity) => return next.run(request).await,
        Some(Peer(identity)) => format!("the certificate of {identity} does not permit this"),
        // It came through a door that asks nobody who it is.
        None => "only processes of this cluster may do this".to_owned(),
    };
    let error = ApiError::new(ErrorKind::Forbidden, text);
    let is_change = request.method() == Method::POST;
    ApiFailure(if is_change { error.with_outcome(TradeFate::NotApplied) } else { error }).into_response()
}
