//! The answering side: greets peers, and carries out their calls.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bazaar_service::tls::{Door, Identity, Lock, Peer, Stream, Unopened};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    SnapshotNews,
    frame::{self, Answer, Call, Channel, Frames, Hello, HelloReply, LeaderLost, Request, Response},
    peer::{PeerFault, RaftPeer},
    rate_limit::RateLimit,
    sightings::{Look, Sightings},
    snapshot_receive::{IncomingRoot, IncomingSnapshot},
    snapshot_send::SNAPSHOT_IDLE_TIMEOUT,
};
use crate::raft_types::RaftId;

/// Most connections at a time; each peer needs about four.
const PEER_CONNECTIONS_MAX: usize = 64;
/// Calls of one connection that are carried out at a time.
const CALLS_IN_FLIGHT_MAX: usize = 64;
/// Who connects must say who it is within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who this replica is; peers that look for somebody else are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster it belongs to.
    pub cluster_id: String,
    /// Its number.
    pub id: RaftId,
}

impl PeerIdentity {
    fn check(&self, hello: &Hello) -> Result<(), PeerFault> {
        if hello.cluster_id != self.cluster_id {
            return Err(PeerFault(format!("wrong cluster: this is '{}', not '{}'", self.cluster_id, hello.cluster_id)));
        }
        if hello.to != self.id {
            return Err(PeerFault(format!("this is replica {}, not {}", self.id, hello.to)));
        }
        Ok(())
    }
}

/// What the server stands in front of.
pub struct PeerBacking<P> {
    /// The replica.
    pub peer: P,
    /// Told whenever a peer is heard of, or gone.
    pub sightings: Arc<Sightings>,
    /// The folder for received snapshots.
    pub incoming: PathBuf,
    /// Told of each snapshot that was installed.
    pub news: SnapshotNews,
}

/// What all connections share.
struct Server<P> {
    identity: PeerIdentity,
    peer: P,
    sightings: Arc<Sightings>,
    incoming: IncomingRoot,
    news: SnapshotNews,
    complaints: RateLimit,
}

/// Serves the other replicas until `shutdown`. Snapshots are received in folders within `backing.incoming`, which must be
/// on the file system of the state they will replace.
pub async fn serve_peers<P: RaftPeer>(
    door: Door,
    identity: PeerIdentity,
    backing: PeerBacking<P>,
    shutdown: CancellationToken,
) {
    let PeerBacking { peer, sightings, incoming, news } = backing;
    let incoming = IncomingRoot::new(incoming);
    clear(incoming.clone()).await;
    let server = Arc::new(Server { identity, peer, sightings, incoming, news, complaints: RateLimit::default() });
    let slots = Arc::new(Semaphore::new(PEER_CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = door.accept() => accepted,
        };
        match (accepted, Arc::clone(&slots).try_acquire_owned()) {
            (Ok(stream), Ok(slot)) => {
                connections.spawn(serve_connection(Arc::clone(&server), stream, door.lock(), slot, shutdown.clone()));
            }
            (Ok(_), Err(_)) => server.complain("too many connections from peers"),
            (Err(error), _) => {
                server.complain(&format!("a connection could not be accepted: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn clear(incoming: IncomingRoot) {
    let cleared = tokio::task::spawn_blocking(move || incoming.clear()).await.map_err(io::Error::other);
    if let Err(error) = cleared.and_then(|cleared| cleared) {
        tracing::error!(%error, "the folder for received snapshots cannot be used");
    }
}

/// Opens a connection, and says whose certificate the other side has shown, if there is TLS.
async fn open(stream: TcpStream, lock: Option<Lock>) -> io::Result<(Stream, Option<Peer>)> {
    let Some(lock) = lock else { return Ok((Stream::Plain(stream), None)) };
    match lock.open(stream).await {
        Ok((stream, peer)) => Ok((Stream::Tls(Box::new(stream)), peer)),
        Err(Unopened::Plain(_)) => Err(io::Error::other("it does not speak TLS")),
        Err(Unopened::Failed(error)) => Err(error),
    }
}

/// A replica may not speak for another one.
fn must_be(certified: Option<Peer>, hello: &Hello) -> Result<(), PeerFault> {
    match certified {
        Some(Peer(identity)) if identity != Identity::Replica(hello.from.replica) => {
            Err(PeerFault(format!("the certificate is that of {identity}")))
        }
        _ => Ok(()),
    }
}

async fn serve_connection<P: RaftPeer>(
    server: Arc<Server<P>>,
    stream: TcpStream,
    lock: Option<Lock>,
    _slot: OwnedSemaphorePermit,
    shutdown: CancellationToken,
) {
    let from = stream.peer_addr().map_or_else(|_| "an unknown address".to_owned(), |address| address.to_string());
    let ended = tokio::select! {
        () = shutdown.cancelled() => return,
        ended = server.serve(stream, lock) => ended,
    };
    match ended {
        Err(error) if is_disconnect(&error) => tracing::debug!(%error, from, "a peer is gone"),
        Err(error) => server.complain(&format!("a connection from {from} is closed: {error}")),
        Ok(()) => {}
    }
}

/// Peers crash and networks fail: that is no news from each of their connections.
fn is_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut | UnexpectedEof)
}

impl<P: RaftPeer> Server<P> {
    fn complain(&self, what: &str) {
        if let Some(suppressed) = self.complaints.allows() {
            tracing::warn!(suppressed, "peers: {what}");
        }
    }

    async fn serve(&self, stream: TcpStream, lock: Option<Lock>) -> io::Result<()> {
        frame::prepare(&stream)?;
        match timeout(HELLO_TIMEOUT, self.greet(stream, lock)).await {
            Err(_) => Err(io::Error::other(format!("no hello within {HELLO_TIMEOUT:?}"))),
            Ok(Err(error)) => Err(error),
            Ok(Ok((Hello { from, channel: Channel::Calls, .. }, frames))) => {
                let _connected = self.sightings.connected(from);
                self.serve_calls(frames, from).await
            }
            Ok(Ok((Hello { channel: Channel::Snapshot, .. }, frames))) => self.serve_snapshot(frames).await,
        }
    }

    async fn greet(&self, stream: TcpStream, lock: Option<Lock>) -> io::Result<(Hello, Frames)> {
        let (stream, certified) = open(stream, lock).await?;
        let mut frames = frame::framed(stream);
        let first = frames.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
        let hello: Hello = frame::decode(&first)?;
        if let Err(refusal) = self.identity.check(&hello).and_then(|()| must_be(certified, &hello)) {
            frames.send(frame::encode(&HelloReply::Refused(refusal.0.clone()))).await?;
            return Err(io::Error::other(format!(
                "replica {} of '{}' is refused: {refusal}",
                hello.from, hello.cluster_id
            )));
        }
        frames.send(frame::encode(&HelloReply::Welcome)).await?;
        frame::allow_large(&mut frames);
        Ok((hello, frames))
    }

    /// Calls are started in the order in which they arrive, carried out side by side, and answered in their order.
    async fn serve_calls(&self, frames: Frames, from: RaftId) -> io::Result<()> {
        let (sink, stream) = frames.split();
        stream
            .map(|frame| frame::decode::<Request>(&frame?))
            .map(|request| async move {
                let Request { id, call } = request?;
                let answer = self.answer(call, from).await.map_err(|fault| fault.0);
                Ok::<Bytes, io::Error>(frame::encode(&Response { id, answer }))
            })
            .buffered(CALLS_IN_FLIGHT_MAX)
            .forward(sink)
            .await
    }

    async fn answer(&self, call: Call, from: RaftId) -> Result<Answer, PeerFault> {
        match call {
            Call::Append(request) => {
                self.sightings.heard_leader(from);
                Ok(Answer::Append(self.peer.append(request).await?))
            }
            Call::Vote(request) => Ok(Answer::Vote(self.peer.vote(request).await?)),
            Call::PreVote(request) => Ok(Answer::Vote(self.peer.pre_vote(request).await?)),
            Call::TransferLeader(request) => Ok(Answer::TransferLeader(self.peer.transfer_leader(request).await?)),
            Call::LeaderLost(vote) => {
                let (own, last_log_id) = self.peer.position().await?;
                let agrees = own == vote && self.sightings.look(vote.leader_id.voted_for) != Look::Fine;
                Ok(Answer::LeaderLost(LeaderLost { agrees, last_log_id }))
            }
            Call::SnapshotBegin(_) | Call::SnapshotChunk(_) | Call::SnapshotEnd => {
                Err(PeerFault("snapshots have connections of their own".into()))
            }
        }
    }

    /// Receives one snapshot. The first thing that is wrong with it is told to the sender and ends the transfer.
    async fn serve_snapshot(&self, mut frames: Frames) -> io::Result<()> {
        let mut incoming = None;
        loop {
            let next = timeout(SNAPSHOT_IDLE_TIMEOUT, frames.next()).await;
            let next = next.map_err(|_| io::Error::other("the sender of a snapshot fell silent"))?;
            let Some(frame) = next else { return Ok(()) };
            let Request { id, call } = frame::decode(&frame?)?;
            let taken = self.take_snapshot_part(call, &mut incoming).await;
            let refused = taken.as_ref().err().cloned();
            let answer = taken.map_err(|fault| fault.0);
            frames.send(frame::encode(&Response { id, answer })).await?;
            if let Some(fault) = refused {
                return Err(io::Error::other(format!("a snapshot is refused: {fault}")));
            }
        }
    }

    async fn take_snapshot_part(
        &self,
        call: Call,
        incoming: &mut Option<IncomingSnapshot>,
    ) -> Result<Answer, PeerFault> {
        match (call, incoming.take()) {
            (Call::SnapshotBegin(offer), None) => {
                let root = self.incoming.clone();
                *incoming = Some(blocking(move || IncomingSnapshot::begin(&root, *offer)).await?);
                Ok(Answer::SnapshotTaken)
            }
            (Call::SnapshotChunk(chunk), Some(mut snapshot)) => {
                let written = blocking(move || snapshot.take(&chunk).map(|()| snapshot)).await?;
                *incoming = Some(written);
                Ok(Answer::SnapshotTaken)
            }
            (Call::SnapshotEnd, Some(snapshot)) => {
                let received = blocking(move || snapshot.finish()).await?;
                let (term, what) = received.described();
                let response = received.install(self.peer.clone()).await?;
                (self.news)(term, what);
                Ok(Answer::SnapshotInstalled(response))
            }
            _ => Err(PeerFault("this is no part of a snapshot's transfer, or out of its order".into())),
        }
    }
}

/// File work on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, PeerFault> {
    let result = tokio::task::spawn_blocking(work).await.map_err(PeerFault::new)?;
    result.map_err(PeerFault::new)
}
