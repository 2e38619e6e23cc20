//! The headers that answers carry, each described once.

use utoipa::openapi::{Header, Schema, header::HeaderBuilder};

use super::schemas::{text, text_like, whole};

/// Characters of an idempotency key in a header, where spaces at either end do not count.
const KEY_IN_HEADER: &str = "^[!-~]([ -~]*[!-~])?$";

/// Headers by the name under which operations refer to them.
pub(super) fn all() -> Vec<(&'static str, Header)> {
    let header = |schema: utoipa::openapi::schema::ObjectBuilder, about: &str| {
        HeaderBuilder::new().schema(Some(Schema::from(schema))).description(Some(about)).build()
    };
    vec![
        (
            "X-Request-Id",
            header(
                text(),
                "The client's own id of the request, or a new one; it is in the logs of all processes that the request reached.",
            ),
        ),
        ("Retry-After", header(whole(1), "After so many seconds the request may be sent again.")),
        ("Idempotency-Key", header(key(), "The key under which the trade was sent.")),
        (
            "Idempotency-Replayed",
            header(text_like("^true$"), "The trade was decided before, and this is what it got then."),
        ),
        ("ETag", header(text_like("^\"[0-9]+\"$"), "The stock's version, in quotes.")),
        (
            "X-Cache",
            header(
                text_like("^(hit|miss|bypass)$"),
                "`hit`: from the cache. `miss`: from the catalog, offered to the cache. `bypass`: from the catalog, not kept.",
            ),
        ),
        ("X-Consistency", header(text_like("^stale$"), "The value may be old.")),
        ("X-Log-Index", header(whole(0), "The log index at which the answer holds.")),
        ("X-Cacheable", header(text_like("^(yes|no)$"), "Whether a frontend may keep the answer.")),
        ("Cache-Control", header(text_like("^no-store$"), "Nobody may keep the answer.")),
        ("WWW-Authenticate", header(text_like("^Bearer$"), "A token is wanted.")),
        ("Allow", header(text(), "The methods that the path takes.")),
    ]
}

/// The schema of an idempotency key in a header.
pub(super) fn key() -> utoipa::openapi::schema::ObjectBuilder {
    text_like(KEY_IN_HEADER).min_length(Some(1)).max_length(Some(bazaar_domain::limits::KEY_BYTES_MAX))
}
