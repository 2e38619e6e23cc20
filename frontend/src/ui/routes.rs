//! The routes of the page, all below `/ui`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use bazaar_domain::{ErrorKind, ReplicaId};
use bazaar_service::ApiFailure;

use super::{Ui, assets, control, log_entry, render, stream};

/// Nothing from elsewhere, and no script or style inside the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes.
pub(crate) fn routes(ui: Arc<Ui>) -> Router {
    let mut routes = Router::new()
        .route("/ui", get(page))
        .route("/ui/events", get(stream::events))
        .route("/ui/log/{replica}/{index}", get(entry))
        .route("/ui/page.css", get(async || assets::style()))
        .route("/ui/page.js", get(async || assets::script()));
    if ui.control.is_some() {
        routes = routes.route("/ui/control", post(control::control));
    }
    routes.layer(middleware::map_response(guarded)).with_state(ui)
}

/// What stands where the page would be.
pub(crate) fn no_routes(why: &'static str) -> Router {
    let absent = get(async move || ApiFailure::new(ErrorKind::NotFound, why));
    Router::new().route("/ui", absent.clone()).route("/ui/{*rest}", absent)
}

async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `GET /ui`: complete without scripts.
async fn page(State(ui): State<Arc<Ui>>) -> Html<String> {
    ui.fresh().await;
    // The id is read first: a part that changes in between is sent once more, which does no harm.
    let newest = ui.hub.newest();
    Html(render::page(&ui.hub.parts(), newest, ui.control.is_some()).into_string())
}

/// `GET /ui/log/{replica}/{index}`: one log entry, decoded.
async fn entry(
    State(ui): State<Arc<Ui>>,
    path: Result<Path<(ReplicaId, u64)>, PathRejection>,
) -> Result<Response, ApiFailure> {
    let Path((replica, index)) =
        path.map_err(|_| ApiFailure::invalid("name a replica and a log index, both numbers"))?;
    let admin = ui.admins().get(&replica).cloned();
    let Some(admin) = admin else {
        return Err(ApiFailure::new(ErrorKind::NotFound, format!("there is no replica {replica}")));
    };
    Ok(match log_entry::fetch(&ui.caller, &admin, index).await {
        Ok(entry) => Html(render::entry_page(replica, index, Ok(&entry)).into_string()).into_response(),
        Err(why) => {
            let page = Html(render::entry_page(replica, index, Err(&why)).into_string());
            (StatusCode::BAD_GATEWAY, page).into_response()
        }
    })
}
