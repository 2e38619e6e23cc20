//! `GET /docs`: a page that shows the description, from this binary alone.

use std::sync::Arc;

use axum::{
    Router,
    extract::Path,
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bazaar_domain::ErrorKind;
use bazaar_service::ApiFailure;
use utoipa_swagger_ui::{Config, serve};

/// What the page may do: run its own scripts, and ask this frontend. It sets styles from scripts, and has small pictures
/// in its style sheet.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The page's files.
pub(super) fn routes() -> Router {
    // The page would have the description checked by a server elsewhere.
    let config = Arc::new(Config::from("/openapi.json").validator_url("none"));
    let file = async move |path: Option<Path<String>>| file(path.as_ref().map_or("", |Path(path)| path), &config);
    Router::new()
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", get(file.clone()))
        .route("/docs/{*file}", get(file))
}

fn file(path: &str, config: &Arc<Config<'static>>) -> Result<Response, ApiFailure> {
    let served = serve(path, Arc::clone(config));
    let found = served.map_err(|error| ApiFailure::new(ErrorKind::Internal, error.to_string()))?;
    let file = found.ok_or_else(|| ApiFailure::new(ErrorKind::NotFound, "the page has no such file"))?;
    let head = [(header::CONTENT_TYPE, file.content_type)];
    let policy = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((head, policy, file.bytes.into_owned()).into_response())
}
