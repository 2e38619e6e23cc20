//! Script and style of the page, as they lie beside this file.

use axum::{
    http::{HeaderName, header},
    response::IntoResponse,
};

type Asset = ([(HeaderName, &'static str); 1], &'static str);

/// `GET /ui/page.css`.
pub(super) fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("page.css"))
}

/// `GET /ui/page.js`.
pub(super) fn script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", include_str!("page.js"))
}

fn asset(media_type: &'static str, text: &'static str) -> Asset {
    ([(header::CONTENT_TYPE, media_type)], text)
}
