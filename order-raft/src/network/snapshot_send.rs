//! Sends a snapshot's files over a connection of their own. Dropping the future closes the connection, and the
//! receiver removes what it got.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use openraft::raft::SnapshotResponse;

use super::{
    connection::{CallError, CallInFlight, Connection},
    frame::{Answer, Call, SnapshotOffer},
    link::Link,
};
use crate::{
    raft_types::{SnapshotMeta, TypeConfig, Vote},
    snapshot_dir::{SnapshotDir, SnapshotFile},
};

/// Bytes of a file in one message.
pub(super) const SNAPSHOT_CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Chunks under way.
const CHUNKS_IN_FLIGHT_MAX: usize = 4;
/// A transfer may take as long as it needs, but a peer that takes no chunk for this time is given up.
pub(super) const SNAPSHOT_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the receiver to verify, sync and install everything.
const SNAPSHOT_INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// Sends a snapshot and waits until it is installed.
///
/// # Errors
/// If the files cannot be read, the peer cannot be reached or refuses, or the connection breaks.
pub(super) async fn send(
    link: &Link,
    vote: Vote,
    meta: SnapshotMeta,
    dir: SnapshotDir,
) -> Result<SnapshotResponse<TypeConfig>, CallError> {
    let listed = dir.clone();
    let files = blocking(move || listed.files()).await?;
    let connection = link.own_connection().await?;
    let mut chunks = Chunks::new(dir.path, files.clone());
    let offer = Box::new(SnapshotOffer { vote, meta, files });
    taken(connection.start(Call::SnapshotBegin(offer)).await?).await?;
    send_chunks(&connection, &mut chunks).await?;
    match connection.start(Call::SnapshotEnd).await?.answer(SNAPSHOT_INSTALL_TIMEOUT).await? {
        Answer::SnapshotInstalled(response) => Ok(response),
        other => Err(CallError::Broken(format!("the peer answered another question: {other:?}"))),
    }
}

async fn send_chunks(connection: &Connection, chunks: &mut Chunks) -> Result<(), CallError> {
    let mut in_flight = VecDeque::with_capacity(CHUNKS_IN_FLIGHT_MAX);
    while let Some(chunk) = chunks.next().await? {
        if in_flight.len() == CHUNKS_IN_FLIGHT_MAX
            && let Some(oldest) = in_flight.pop_front()
        {
            taken(oldest).await?;
        }
        in_flight.push_back(connection.start(Call::SnapshotChunk(chunk)).await?);
    }
    for call in in_flight {
        taken(call).await?;
    }
    Ok(())
}

async fn taken(call: CallInFlight) -> Result<(), CallError> {
    match call.answer(SNAPSHOT_IDLE_TIMEOUT).await? {
        Answer::SnapshotTaken => Ok(()),
        other => Err(CallError::Broken(format!("the peer answered another question: {other:?}"))),
    }
}

/// The files' bytes, one chunk after the other.
struct Chunks {
    folder: PathBuf,
    left: VecDeque<SnapshotFile>,
    /// The file being read, and how many of its bytes are still to come.
    open: Option<(File, u64)>,
}

impl Chunks {
    fn new(folder: PathBuf, files: Vec<SnapshotFile>) -> Self {
        Self { folder, left: files.into(), open: None }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            if let Some((file, bytes_left)) = self.open.take().filter(|(_, bytes_left)| *bytes_left > 0) {
                let (file, chunk) = blocking(move || read_chunk(file, bytes_left)).await?;
                self.open = Some((file, bytes_left - chunk.len() as u64));
                return Ok(Some(chunk));
            }
            let Some(next) = self.left.pop_front() else { return Ok(None) };
            let path = self.folder.join(&next.name);
            self.open = Some((blocking(move || File::open(path)).await?, next.bytes));
        }
    }
}

fn read_chunk(mut file: File, bytes_left: u64) -> io::Result<(File, Bytes)> {
    let size = usize::try_from(bytes_left).unwrap_or(usize::MAX).min(SNAPSHOT_CHUNK_BYTES_MAX);
    let mut chunk = vec![0; size];
    file.read_exact(&mut chunk)?;
    Ok((file, chunk.into()))
}

/// File work on a thread that may block. A snapshot that cannot be read is like a peer that cannot be reached: Raft
/// waits, and then asks the state machine for the newest one.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, CallError> {
    let result = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    result.and_then(|result| result).map_err(|error| {
        tracing::error!(%error, "a snapshot cannot be read to send it");
        CallError::Unreachable(format!("the snapshot cannot be read: {error}"))
    })
}
