//! The express way: plain requests of the few kinds that nearly all traffic consists of are read, answered and written
//! without the HTTP server and the router, which cost more than the answers do (docs/performance.md).
//!
//! It takes only what it understands whole: a request that arrived in one piece, with nothing but known headers. At the
//! first other one the connection goes to the HTTP server, with every byte that is not answered yet, and stays there. So
//! whatever is unusual, wrong, large or slow is treated in one place, and a request cannot be read in two ways.

mod head;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    future::Future,
    io,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::response::Response;
use futures::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use self::head::{Head, Method};
use crate::{
    http::{RequestId, fault, finish},
    meters::EXPRESS_REQUESTS,
    origin::Origin,
    remarks::{Seen, is_remarkable, remark},
    traces::Span,
};

/// Room that a connection has for a request at the start.
const BUFFER_BYTES: usize = 4 * 1024;

/// The requests that a listener answers on the express way.
pub trait Express: Clone + Send + Sync + 'static {
    /// Whether there are any.
    const IS_ON: bool = true;
    /// A request that was understood whole.
    type Request: Send;

    /// Reads a request; `None` leaves it, and all that follow on its connection, to the router.
    fn read(&self, head: &Head<'_>, body: &[u8]) -> Option<Self::Request>;

    /// Answers it, exactly as the router would.
    fn answer(&self, request: Self::Request, id: &RequestId) -> impl Future<Output = Response> + Send;
}

/// How a connection left the express way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is closed, or is to be closed.
    Closed,
    /// The HTTP server goes on with it; these bytes were read and not answered.
    ForServer(Vec<u8>),
}

/// Serves a connection until it closes, `shutdown`, or a request that is not for the express way. A connection that
/// sends nothing for `idle_timeout`, or has not taken an answer after `write_timeout`, is closed.
pub(crate) async fn serve<S, E>(
    stream: &mut S,
    routes: &E,
    idle_timeout: Duration,
    write_timeout: Duration,
    shutdown: &CancellationToken,
) -> io::Result<Left>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Express,
{
    let answered = EXPRESS_REQUESTS.counter();
    let stopping = shutdown.cancelled();
    tokio::pin!(stopping);
    let (mut unread, mut answer) = (Vec::with_capacity(BUFFER_BYTES), Vec::with_capacity(BUFFER_BYTES));
    loop {
        let arrived = tokio::select! {
            biased;
            arrived = timeout(idle_timeout, stream.read_buf(&mut unread)) => arrived,
            () = &mut stopping => return Ok(Left::Closed),
        };
        match arrived {
            Ok(Ok(bytes)) if bytes > 0 => {}
            Ok(Err(error)) => return Err(error),
            _ => return Ok(Left::Closed),
        }
        let mut taken = 0;
        while taken < unread.len() {
            let Some(head::Taken { request, id, trace, end }) = head::request(&unread[taken..], routes) else {
                return Ok(Left::ForServer(unread.split_off(taken)));
            };
            let bytes = &unread[taken..taken + end];
            taken += end;
            let started = Instant::now();
            let span = trace.map_or_else(|| Span::begin("request"), |from| Span::serve("request", &from));
            let origin = Origin::of(id.clone()).within(span.as_ref());
            let work = AssertUnwindSafe(origin.scope(routes.answer(request, &id)));
            let response = work.catch_unwind().await.unwrap_or_else(|_panic| fault());
            answered.increment(1);
            let took = started.elapsed();
            if span.is_some() || is_remarkable(&response, took) {
                let (method, target) = head::first_line(bytes);
                let path = target.split('?').next().unwrap_or_default();
                remark(&origin, &Seen { is_public: true, method, path, took }, &response);
                finish(span, &id, method, path, &response);
            }
            let is_last = shutdown.is_cancelled();
            writer::write(response, &id, is_last, &mut answer).await?;
            let written = async {
                stream.write_all(&answer).await?;
                // With TLS, what was written may still be on its way to the socket.
                stream.flush().await
            };
            timeout(write_timeout, written).await??;
            answer.clear();
            if is_last {
                return Ok(Left::Closed);
            }
        }
        unread.clear();
    }
}
