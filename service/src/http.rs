//! The edge that every listener shares: request ids, error forms, unknown paths, liveness and metrics.

use std::{sync::OnceLock, time::Instant};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use bazaar_domain::{ApiError, ErrorKind, TradeFate, internal::headers};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    failure::{ApiFailure, problem_response},
    framing,
    origin::Origin,
    process,
    remarks::{Seen, remark},
    traces::{Span, TRACEPARENT, TracePoint},
};

/// Largest header that is taken. The server beneath stops reading at about the same size, but not exactly there.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Longest request id that is taken over from a client; a longer one is replaced.
pub(crate) const REQUEST_ID_BYTES_MAX: usize = 128;
/// Room beyond that for the numbers of others that an id travels on with, hop by hop ([`RequestId::shared_with`]): our
/// own processes replace no id on its way.
const SHARED_WITH_BYTES_MAX: usize = 64;

/// The id that follows a request through all hops (`X-Request-Id`): the client's own, or a new UUIDv7.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    /// A new id.
    pub fn fresh() -> Self {
        let mut buffer = uuid::Uuid::encode_buffer();
        let text = uuid::Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
        Self(HeaderValue::from_str(text).expect("a UUID is ASCII"))
    }

    /// The sender's own id; `None` if it cannot be taken over. A copy: the header shares the buffer of its connection,
    /// and an id stays with its log entry for as long as that is in memory.
    pub(crate) fn of(own: &[u8], bytes_max: usize) -> Option<Self> {
        let fits = !own.is_empty() && own.len() <= bytes_max;
        let copy = fits.then(|| HeaderValue::from_bytes(own).ok()).flatten()?;
        copy.to_str().is_ok().then_some(Self(copy))
    }

    /// The id of the request that this task serves, if it serves one.
    pub fn current() -> Option<Self> {
        Origin::current().map(|origin| origin.id)
    }

    /// The id under which this request travels on together with `others` more.
    #[must_use]
    pub fn shared_with(&self, others: usize) -> Self {
        match HeaderValue::from_str(&format!("{}+{others}", self.as_str())) {
            Ok(id) if others > 0 => Self(id),
            _ => self.clone(),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("?")
    }
}

/// Wraps a listener's routes: unknown paths and methods answer in the contract's form, a panic answers 500, every
/// answer carries its request id, and an error is rendered as RFC 9457 when the client asks for it.
pub fn edge(routes: Router) -> Router {
    edge_of(routes, false)
}

/// The same for a listener that clients come to: some of their requests begin a trace, if there are traces, and all that
/// fail are told of in the log.
pub fn public_edge(routes: Router) -> Router {
    edge_of(routes, true)
}

fn edge_of(routes: Router, is_public: bool) -> Router {
    let no_such_path = if is_public {
        "no such path; GET /docs lists them, and GET /ui shows the cluster, unless it is switched off"
    } else {
        "no such path; docs/http.md lists them"
    };
    routes
        .fallback(move || async move { ApiFailure::new(ErrorKind::NotFound, no_such_path) })
        .method_not_allowed_fallback(|| async {
            ApiFailure::new(ErrorKind::MethodNotAllowed, "this path does not take that method")
        })
        .layer(CatchPanicLayer::custom(|_panic: Box<dyn std::any::Any + Send>| fault()))
        .layer(middleware::from_fn(move |request, next| framing::one_way(request, next, is_public)))
        .layer(middleware::from_fn(move |request, next| carry_request_id(request, next, is_public)))
}

/// Whether requests get spans, which is so at the log level `debug`. Only the router makes them.
pub(crate) fn makes_spans() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// Refuses a request of which not more is known than its head. Most of what clients post is a trade, and of all of it is
/// true that it was not carried out: whoever sent one must be told.
pub(crate) fn refused(error: ApiError, method: &Method, is_public: bool) -> Response {
    let is_change = is_public && method == Method::POST;
    let error = if is_change { error.with_outcome(TradeFate::NotApplied) } else { error };
    ApiFailure(error).into_response()
}

/// The answer to a request that ended in a panic.
pub(crate) fn fault() -> Response {
    ApiFailure::new(ErrorKind::Internal, "a fault in this service; it is logged").into_response()
}

async fn carry_request_id(mut request: Request, next: Next, is_public: bool) -> Response {
    let header_bytes: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let id_bytes_max = REQUEST_ID_BYTES_MAX + if is_public { 0 } else { SHARED_WITH_BYTES_MAX };
    let own = request.headers().get(headers::REQUEST_ID).and_then(|own| RequestId::of(own.as_bytes(), id_bytes_max));
    let id = own.unwrap_or_else(RequestId::fresh);
    let wants_problem = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().windows(24).any(|part| part == b"application/problem+json"));
    let log_span =
        tracing::debug_span!("request", id = id.as_str(), method = %request.method(), path = request.uri().path());
    request.extensions_mut().insert(id.clone());
    let from = request.headers().get(TRACEPARENT).and_then(|header| TracePoint::read(header.as_bytes()));
    let begins = is_public && !matches!(request.uri().path(), "/livez" | "/readyz");
    let span = match from {
        Some(from) => Span::serve("request", &from),
        None => begins.then(|| Span::begin("request")).flatten(),
    };
    let origin = Origin::of(id.clone()).within(span.as_ref());
    let (method, target, started) = (request.method().clone(), request.uri().clone(), Instant::now());
    let answer = async {
        if header_bytes > HEADER_BYTES_MAX {
            let error = ApiError::new(ErrorKind::HeaderTooLarge, "the request's header is larger than 64 KiB");
            return refused(error, request.method(), is_public);
        }
        next.run(request).await
    };
    let mut response = origin.scope(answer.instrument(log_span)).await;
    let seen = Seen { is_public, method: method.as_str(), path: target.path(), took: started.elapsed() };
    remark(&origin, &seen, &response);
    finish(span, &id, method.as_str(), target.path(), &response);
    if wants_problem && let Some(error) = response.extensions().get::<ApiError>() {
        let mut problem = problem_response(error);
        for (name, value) in response.headers() {
            if name != header::CONTENT_LENGTH && !problem.headers().contains_key(name) {
                problem.headers_mut().insert(name.clone(), value.clone());
            }
        }
        response = problem;
    }
    response.headers_mut().insert(headers::REQUEST_ID, id.0);
    response
}

/// Says in a request's span what it was and how it ended, and ends it.
pub(crate) fn finish(span: Option<Span>, id: &RequestId, method: &str, path: &str, response: &Response) {
    let Some(mut span) = span else { return };
    span.set("http.request.method", method.to_owned());
    span.set("url.path", path.to_owned());
    span.set("http.response.status_code", i64::from(response.status().as_u16()));
    span.set("request.id", id.as_str().to_owned());
    if response.status().is_server_error() {
        let error = response.extensions().get::<ApiError>();
        span.fail(error.map_or("a fault", |error| error.kind.as_str()));
    }
}

/// `GET /livez` (the process runs) and `GET /metrics`, for admin listeners.
pub fn liveness_and_metrics() -> Router {
    liveness_and_metrics_of(|| {})
}

/// The same for a process that has more to measure whenever somebody asks.
pub fn liveness_and_metrics_of(measure: impl Fn() + Clone + Send + Sync + 'static) -> Router {
    let metrics = async move || {
        // Files are read for it, and the one thread of the runtime must not wait for a disk.
        let measure = measure.clone();
        let measured = tokio::task::spawn_blocking(move || {
            measure();
            let mut text = metrics_handle().render();
            process::render(&mut text);
            text
        });
        let text = measured.await.map_err(|error| ApiFailure::new(ErrorKind::Internal, error.to_string()))?;
        Ok::<_, ApiFailure>(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
    };
    liveness().route("/metrics", get(metrics))
}

/// `GET /livez`: the process runs and answers. It never depends on Raft.
pub fn liveness() -> Router {
    Router::new().route("/livez", get(|| async { (StatusCode::OK, "ok\n") }))
}

/// The process's one Prometheus registry; the first call installs it.
pub fn metrics_handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        process::note_start();
        let seconds =
            [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        let counts = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0, 8_192.0];
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
            .and_then(|builder| builder.set_buckets(&counts))
            .expect("there are buckets")
            .install_recorder()
            .expect("this is the only recorder of the process")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use bytes::Bytes;

    use super::RequestId;

    #[test]
    fn an_id_does_not_hold_the_buffer_that_it_came_in() {
        let buffer = Bytes::from(vec![b'x'; 8_192]);
        let header = HeaderValue::from_maybe_shared(buffer.slice(..16)).unwrap();
        let id = RequestId::of(header.as_bytes(), 128).unwrap();
        assert_eq!(id.as_str(), "x".repeat(16));
        assert_ne!(id.0.as_bytes().as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn an_id_is_text_that_is_not_too_long() {
        for refused in [&b""[..], &[b'x'; 129], "t\u{e4}st".as_bytes(), b"\xff", b"a\r\nb", b"\0"] {
            assert!(RequestId::of(refused, 128).is_none(), "{refused:?}");
        }
        assert!(RequestId::of(&[b'x'; 128], 128).is_some());
    }
}
