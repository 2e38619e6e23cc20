//! Routes behind tokens.

use std::convert::Infallible;

use axum::{
    Router,
    extract::{FromRequestParts, Request},
    http::{Method, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bazaar_domain::{ApiError, KeyScope, TradeFate};

use super::{Auth, tokens::Permission};
use crate::ApiFailure;
use crate::meters::AUTH_REFUSALS;

/// Whose token a request was sent with; nobody's, if nobody is asked or reads are for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender(pub Option<KeyScope>);

impl Sender {
    /// Of a request that passed [`Auth::guard`]. One that did not is nobody's.
    pub fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get().cloned().unwrap_or(Self(None))
    }

    /// The scope of its keys.
    pub fn scope(&self) -> Option<&KeyScope> {
        self.0.as_ref()
    }
}

impl<S: Sync> FromRequestParts<S> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

impl Auth {
    /// These routes for those whose token permits what `wanted` says of a request; nothing stands for all.
    pub fn guard<S: Clone + Send + Sync + 'static>(
        &self,
        wanted: fn(&Request) -> Option<Permission>,
        routes: Router<S>,
    ) -> Router<S> {
        if !self.is_on() {
            return routes;
        }
        let auth = self.clone();
        routes.route_layer(middleware::from_fn(move |mut request: Request, next: Next| {
            let checked = wanted(&request).map_or(Ok(None), |wanted| auth.check(request.headers(), wanted));
            let is_change = request.method() == Method::POST;
            async move {
                match checked {
                    Ok(name) => {
                        request.extensions_mut().insert(Sender(name));
                        next.run(request).await
                    }
                    Err(failure) => refused(failure.0, is_change),
                }
            }
        }))
    }
}

fn refused(error: ApiError, is_change: bool) -> Response {
    AUTH_REFUSALS.counter_of(&[error.kind.as_str()]).increment(1);
    ApiFailure(if is_change { error.with_outcome(TradeFate::NotApplied) } else { error }).into_response()
}
