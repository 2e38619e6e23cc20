//! The calling side of one connection: calls go out in the order in which they are started, answers find their call
//! by its id, and a broken connection fails all calls at once.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bazaar_service::tls::{Connector, Identity};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    frame::{self, Answer, Call, Channel, Frames, Hello, HelloReply, PEER_FRAME_BYTES_MAX, Request, Response},
    snapshot_send::SNAPSHOT_IDLE_TIMEOUT,
};

/// Frames that wait to be written.
const QUEUED_FRAMES_MAX: usize = 64;
/// Time for a connection to be made and the hello to be answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that owes answers and has sent nothing for this time is taken for dead. TCP alone would find out that its
/// packets go nowhere only after many seconds, and try again rarely; a new connection works as soon as the network does.
const SILENCE_MAX: Duration = Duration::from_millis(500);
/// A frame being written is gathered with those behind it up to this size.
const WRITE_GATHER_BYTES: usize = 256 * 1024;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// No connection could be made, or the peer refused it, or it could not do what it was asked: try again later.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke: the call may or may not have been carried out.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No answer in time: the call may or may not be carried out.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

type AnswerSender = oneshot::Sender<Result<Answer, String>>;

/// What an open connection waits for.
#[derive(Default)]
struct Open {
    last_id: u64,
    /// By call id.
    calls: HashMap<u64, AnswerSender>,
    /// Since when answers are owed and nothing was received.
    silent_since: Option<Instant>,
}

/// Shared by the connection, its task and its calls.
struct Waiting {
    /// `None` once the connection is over.
    open: Mutex<Option<Open>>,
    over: CancellationToken,
    silence_max: Duration,
}

impl Waiting {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a call and gives it an id; `None` if the connection is over or the peer too silent.
    fn register(&self, sender: AnswerSender, now: Instant) -> Option<u64> {
        if self.is_silent(now) {
            self.end();
        }
        let mut open = self.open();
        let open = open.as_mut()?;
        open.last_id += 1;
        open.calls.insert(open.last_id, sender);
        open.silent_since.get_or_insert(now);
        Some(open.last_id)
    }

    fn is_silent(&self, now: Instant) -> bool {
        let silent_since = self.open().as_ref().and_then(|open| open.silent_since);
        silent_since.is_some_and(|since| now.saturating_duration_since(since) > self.silence_max)
    }

    fn complete(&self, response: Response, now: Instant) {
        let mut open = self.open();
        let Some(open) = open.as_mut() else { return };
        let sender = open.calls.remove(&response.id);
        // Answers come in the order of the calls: after the last one's, nothing is owed, also to those who gave up.
        open.silent_since = (response.id < open.last_id).then_some(now);
        if let Some(sender) = sender {
            // The caller may have given up; then nobody wants the answer.
            let _ = sender.send(response.answer);
        }
    }

    fn end(&self) {
        self.over.cancel();
        *self.open() = None;
    }
}

/// A connection to a peer that has welcomed us. Dropping it closes it.
pub(super) struct Connection {
    waiting: Arc<Waiting>,
    frames: mpsc::Sender<Bytes>,
    _task: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects to `address` (`host:port`) and says hello.
    ///
    /// # Errors
    /// [`CallError::Unreachable`], with the reason.
    pub(super) async fn open(address: &str, hello: &Hello, connector: &Connector) -> Result<Self, CallError> {
        let unreachable =
            |why: String| CallError::Unreachable(format!("replica {} at {address} cannot be reached: {why}", hello.to));
        match timeout(CONNECT_TIMEOUT, greet(address, hello, connector)).await {
            Err(_) => Err(unreachable(format!("no welcome within {CONNECT_TIMEOUT:?}"))),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Ok(Ok(frames)) => Ok(Self::run(frames, silence_max(hello.channel))),
        }
    }

    fn run(frames: Frames, silence_max: Duration) -> Self {
        let open = Mutex::new(Some(Open::default()));
        let waiting = Arc::new(Waiting { open, over: CancellationToken::new(), silence_max });
        let (sender, queued) = mpsc::channel(QUEUED_FRAMES_MAX);
        let (sink, stream) = frames.split();
        let shared = Arc::clone(&waiting);
        let task = tokio::spawn(async move {
            let ended = tokio::select! {
                ended = write(sink, queued) => ended,
                ended = read(stream, &shared) => ended,
                () = shared.over.cancelled() => Ok(()),
            };
            tracing::debug!(?ended, "a connection to a peer is over");
            shared.end();
        });
        Self { waiting, frames: sender, _task: AbortOnDropHandle::new(task) }
    }

    /// Whether no call can succeed any more.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.over.is_cancelled() || self.waiting.is_silent(Instant::now())
    }

    /// Sends a call. Calls that are started one after the other reach the peer in this order.
    ///
    /// # Errors
    /// [`CallError::Broken`] if the connection is over, or the call is too large for a frame.
    pub(super) async fn start(&self, call: Call) -> Result<CallInFlight, CallError> {
        let started = Instant::now();
        let (sender, answer) = oneshot::channel();
        let id = self.waiting.register(sender, started).ok_or_else(broken)?;
        let in_flight = CallInFlight { id, answer, waiting: Arc::clone(&self.waiting), started };
        let bytes = frame::encode(&Request { id, call });
        if bytes.len() > PEER_FRAME_BYTES_MAX {
            return Err(CallError::Broken(format!("a frame of {} bytes is too large", bytes.len())));
        }
        self.frames.send(bytes).await.map_err(|_| broken())?;
        Ok(in_flight)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.waiting.end();
    }
}

/// A call that was sent.
pub(super) struct CallInFlight {
    id: u64,
    answer: oneshot::Receiver<Result<Answer, String>>,
    waiting: Arc<Waiting>,
    started: Instant,
}

impl CallInFlight {
    /// The answer, if it comes within `limit` after the call was sent.
    ///
    /// # Errors
    /// If it does not, or the connection breaks, or the peer says that it could not do it.
    pub(super) async fn answer(mut self, limit: Duration) -> Result<Answer, CallError> {
        match timeout_at(self.started + limit, &mut self.answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(text))) => Err(CallError::Unreachable(text)),
            Ok(Err(_)) => Err(broken()),
            Err(_) => Err(CallError::Timeout(limit)),
        }
    }
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        if let Some(open) = self.waiting.open().as_mut() {
            open.calls.remove(&self.id);
        }
    }
}

fn broken() -> CallError {
    CallError::Broken("the peer closed it, or was silent for too long".into())
}

/// The receiver of a snapshot has work to do between its answers.
fn silence_max(channel: Channel) -> Duration {
    match channel {
        Channel::Calls => SILENCE_MAX,
        Channel::Snapshot => SNAPSHOT_IDLE_TIMEOUT,
    }
}

async fn greet(address: &str, hello: &Hello, connector: &Connector) -> io::Result<Frames> {
    let stream = TcpStream::connect(address).await?;
    frame::prepare(&stream)?;
    // Whoever has an address is not the replica for that reason: its certificate must name it.
    let stream = connector.to_process(stream, Identity::Replica(hello.to.replica)).await?;
    let mut frames = frame::framed(stream);
    frames.send(frame::encode(hello)).await?;
    let reply = frames.next().await.ok_or_else(|| io::Error::other("it closed the connection"))??;
    match frame::decode(&reply)? {
        HelloReply::Welcome => {
            frame::allow_large(&mut frames);
            Ok(frames)
        }
        HelloReply::Refused(why) => Err(io::Error::other(format!("it refuses: {why}"))),
    }
}

async fn write(mut sink: SplitSink<Frames, Bytes>, mut queued: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(first) = queued.recv().await {
        let mut gathered = first.len();
        sink.feed(first).await?;
        while gathered < WRITE_GATHER_BYTES
            && let Ok(next) = queued.try_recv()
        {
            gathered += next.len();
            sink.feed(next).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

async fn read(mut stream: SplitStream<Frames>, waiting: &Waiting) -> io::Result<()> {
    while let Some(frame) = stream.next().await {
        waiting.complete(frame::decode(&frame?)?, Instant::now());
    }
    Ok(())
}
