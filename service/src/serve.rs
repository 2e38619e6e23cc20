//! Bounded HTTP/1.1 serving: limits on connections, header size and header time, and an orderly stop.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Router, response::Response};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    express::{self, Express, Head, Left},
    http::{self, RequestId},
    meters::{CONNECTIONS, REFUSED_CONNECTIONS},
    stall::StallLimited,
};

/// How long open connections may finish their request after the stop was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most connections that are told "overloaded" at a time; past that they are closed without a word.
const REFUSALS_MAX: usize = 256;
/// What a connection past the limit is told.
const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
connection: close\r\ncontent-length: 111\r\n\r\n\
{\"error\":{\"code\":503,\"message\":\"too many connections; try again\",\"kind\":\"overloaded\",\"outcome\":\"not_applied\"}}\n";

/// The bounds of one listener.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Connections served at a time.
    pub connections_max: usize,
    /// A request's header must have arrived whole after this time; idle connections are closed after it too.
    pub header_read_timeout: Duration,
    /// Largest header.
    pub header_bytes_max: usize,
    /// A client that takes nothing of its answer for so long is cut off.
    pub write_stall_max: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            header_read_timeout: Duration::from_secs(30),
            header_bytes_max: 64 * 1024,
            write_stall_max: Duration::from_secs(30),
        }
    }
}

/// Serves `routes` on `listener` until `shutdown`, then lets open requests finish for a short time.
///
/// # Errors
/// None today: a failed accept is retried. The type leaves room for a listener that can never accept again.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: HttpLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve_express(listener, NoExpress, routes, limits, shutdown).await
}

/// The same, with an [express way](express) beside the routes.
///
/// # Errors
/// As [`serve`].
pub async fn serve_express<E: Express>(
    listener: TcpListener,
    express: E,
    routes: Router,
    limits: HttpLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let server = Server { routes: routes.clone(), limits, shutdown: shutdown.clone() };
                connections.spawn(serve_connection(stream, express.clone(), server, slot));
            }
            Err(_) => {
                REFUSED_CONNECTIONS.counter().increment(1);
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    connections.spawn(refuse(stream, permit));
                }
            }
        }
    }
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are cut off");
    }
    Ok(())
}

/// A listener without an express way.
#[derive(Clone)]
struct NoExpress;

impl Express for NoExpress {
    const IS_ON: bool = false;
    type Request = Infallible;

    fn read(&self, _: &Head<'_>, _: &[u8]) -> Option<Infallible> {
        None
    }

    async fn answer(&self, request: Infallible, _: &RequestId) -> Response {
        match request {}
    }
}

/// What the HTTP server needs for one connection.
struct Server {
    routes: Router,
    limits: HttpLimits,
    shutdown: CancellationToken,
}

/// Counts a connection for as long as it lives.
struct Open(metrics::Gauge);

impl Open {
    fn count() -> Self {
        let open = CONNECTIONS.gauge();
        open.increment(1);
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

async fn serve_connection<E: Express>(mut stream: TcpStream, express: E, server: Server, _slot: OwnedSemaphorePermit) {
    let _open = Open::count();
    // Without this, Nagle's algorithm and delayed acks together stall small answers for 40 ms.
    let _ = stream.set_nodelay(true);
    if !E::IS_ON || http::makes_spans() {
        return server.serve(stream).await;
    }
    match express::serve(&mut stream, &express, server.limits.header_read_timeout, &server.shutdown).await {
        Ok(Left::Closed) => {}
        Ok(Left::ForServer(unread)) => {
            let (read, write) = stream.into_split();
            server.serve(tokio::io::join(io::Cursor::new(unread).chain(read), write)).await;
        }
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

impl Server {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let stream = StallLimited::new(stream, self.limits.write_stall_max, self.shutdown.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_read_timeout)
            .max_buf_size(self.limits.header_bytes_max)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.routes));
        tokio::pin!(connection);
        let result = tokio::select! {
            // First, so that a request that is here already is seen before the stop, and answered.
            biased;
            result = connection.as_mut() => result,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

async fn refuse(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(OVERLOADED)).await;
}

#[cfg(test)]
mod tests {
    use super::OVERLOADED;

    #[test]
    fn the_refusal_announces_its_own_length() {
        let text = std::str::from_utf8(OVERLOADED).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        let error: bazaar_domain::api::ErrorBody = serde_json::from_str(body).unwrap();
        assert_eq!(error.error.kind, bazaar_domain::ErrorKind::Overloaded);
    }
}
