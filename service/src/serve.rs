//! Bounded HTTP/1.1 serving: limits on connections, header size and header time, and an orderly stop.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Extension, Router, response::Response};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    express::{self, Express, Head, Left},
    http::{self, RequestId},
    meters::{CONNECTIONS, REFUSED_CONNECTIONS},
    rewound::Rewound,
    stall::StallLimited,
    tls::{Door, Lock, Unopened},
};

/// How long open connections may finish their request after the stop was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most connections that are told "overloaded" at a time; past that they are closed without a word.
const REFUSALS_MAX: usize = 256;
/// Most that is read of what a connection sent that is closed.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;
/// How long a connection that is closed may take to hear why.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);
/// What somebody is told who speaks plain HTTP where TLS is wanted.
const ONLY_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
connection: close\r\ncontent-length: 96\r\n\r\n\
{\"error\":{\"code\":400,\"message\":\"this listener speaks TLS; use https\",\"kind\":\"invalid_request\"}}\n";
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

/// Serves `routes` behind a door until `shutdown`, then lets open requests finish for a short time.
///
/// # Errors
/// None today: a failed accept is retried. The type leaves room for a listener that can never accept again.
pub async fn serve(
    door: impl Into<Door>,
    routes: Router,
    limits: HttpLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve_express(door, NoExpress, routes, limits, shutdown).await
}

/// The same, with an [express way](express) beside the routes.
///
/// # Errors
/// As [`serve`].
pub async fn serve_express<E: Express>(
    door: impl Into<Door>,
    express: E,
    routes: Router,
    limits: HttpLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let door = door.into();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = door.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let server = Server { routes: routes.clone(), limits, shutdown: shutdown.clone() };
                connections.spawn(serve_connection(stream, door.lock(), express.clone(), server, slot));
            }
            Err(_) => {
                REFUSED_CONNECTIONS.counter().increment(1);
                // Whoever expects TLS could not read a refusal.
                if door.lock().is_none()
                    && let Ok(permit) = Arc::clone(&refusals).try_acquire_owned()
                {
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

async fn serve_connection<E: Express>(
    stream: TcpStream,
    lock: Option<Lock>,
    express: E,
    server: Server,
    _slot: OwnedSemaphorePermit,
) {
    let _open = Open::count();
    // Without this, Nagle's algorithm and delayed acks together stall small answers for 40 ms.
    let _ = stream.set_nodelay(true);
    bound_silence(&stream, server.limits.write_stall_max);
    match lock {
        None => serve_stream(stream, express, server).await,
        // On the heap, so that connections without TLS do not carry the room for it.
        Some(lock) => Box::pin(unlock(stream, lock, express, server)).await,
    }
}

/// Has the system end a connection whose other side acknowledges nothing of what is sent. What is sent may fit into the
/// socket's buffer, so that no write of ours ever waits; without this, a client whose machine is gone would hold its
/// place for as long as TCP repeats itself, a quarter of an hour.
fn bound_silence(stream: &TcpStream, silence_max: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(silence_max)) {
        tracing::debug!(%error, "a connection has no bound on its silence");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, silence_max);
}

async fn unlock<E: Express>(stream: TcpStream, lock: Lock, express: E, mut server: Server) {
    // Nothing was asked yet: a stop need not wait for it.
    let Some(opened) = server.shutdown.clone().run_until_cancelled_owned(lock.open(stream)).await else { return };
    match opened {
        Ok((stream, peer)) => {
            if let Some(peer) = peer {
                server.routes = server.routes.layer(Extension(peer));
            }
            serve_stream(stream, express, server).await;
        }
        Err(Unopened::Plain(stream)) => say_and_close(stream, ONLY_TLS).await,
        Err(Unopened::Failed(error)) => tracing::debug!(%error, "a connection was not opened"),
    }
}

async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin, E: Express>(mut stream: S, express: E, server: Server) {
    if !E::IS_ON || http::makes_spans() {
        return server.serve(stream).await;
    }
    let HttpLimits { header_read_timeout, write_stall_max, .. } = server.limits;
    match express::serve(&mut stream, &express, header_read_timeout, write_stall_max, &server.shutdown).await {
        Ok(Left::Closed) => close(&mut stream).await,
        Ok(Left::ForServer(unread)) => server.serve(Rewound::new(unread, stream)).await,
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// Tells the other side that nothing more comes; with TLS, an end without this could be somebody's who cuts it off.
async fn close(stream: &mut (impl AsyncWrite + Unpin)) {
    let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, stream.shutdown()).await;
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

async fn refuse(stream: TcpStream, _permit: OwnedSemaphorePermit) {
    say_and_close(stream, OVERLOADED).await;
}

async fn say_and_close(mut stream: TcpStream, words: &[u8]) {
    let said = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        // A connection that is closed with something unread is reset, and the words could be lost with it.
        tokio::io::copy(&mut (&mut stream).take(UNREAD_BYTES_MAX), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, said).await;
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{ErrorKind, api::ErrorBody};

    use super::{ONLY_TLS, OVERLOADED};

    #[test]
    fn ready_made_answers_announce_their_own_length() {
        for (answer, kind) in [(OVERLOADED, ErrorKind::Overloaded), (ONLY_TLS, ErrorKind::InvalidRequest)] {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}: {text}", body.len());
            let error: ErrorBody = serde_json::from_str(body).unwrap();
            assert_eq!(error.error.kind, kind);
        }
    }
}
