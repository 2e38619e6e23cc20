//! `GET /admin/backup`: a backup of this replica's applied state, while it works on.

use std::{
    io::{self, Read},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bazaar_domain::ErrorKind;
use bazaar_service::ApiFailure;
use bytes::Bytes;
use futures::stream;
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

use super::format::{Archive, Manifest};
use crate::{
    node::Node,
    run::DATA_FORMAT,
    snapshot_dir::SnapshotDir,
    state_machine::{
        snapshot::LentCheckpoint,
        store::{Position, StateDb},
    },
};

/// Media type of a backup.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.bazaar.backup";
/// Bytes read and sent at a time.
const CHUNK_BYTES: u64 = 256 * 1024;
/// Chunks that wait for the connection.
const CHUNKS_WAITING_MAX: usize = 4;
/// A reader that takes nothing for so long is given up: its checkpoint keeps old files alive, and nobody else gets one.
const READER_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

type Chunk = io::Result<Bytes>;

/// A backup that is being sent, with the checkpoint that it is read from.
struct Outgoing {
    archive: Archive<SnapshotDir>,
    checkpoint: LentCheckpoint,
}

/// The handler of `GET /admin/backup`.
pub(crate) async fn backup(State(node): State<Arc<Node>>) -> Result<Response, ApiFailure> {
    let prepared = spawn_blocking(move || prepare(&node)).await;
    let outgoing = prepared.unwrap_or_else(|error| Err(failed(&error.into())))?;
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    tokio::spawn(send(outgoing, sender));
    let chunks = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Chunk>| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from_stream(chunks)).into_response())
}

/// Makes the checkpoint and computes the checksums of its files. Blocks.
fn prepare(node: &Node) -> Result<Outgoing, ApiFailure> {
    let checkpoint = node.state.lend_checkpoint().map_err(|error| failed(&error))?;
    let checkpoint = checkpoint.ok_or_else(|| {
        ApiFailure::new(ErrorKind::Overloaded, "another backup of this replica is under way; try again when it is done")
    })?;
    let manifest = manifest_of(node, &checkpoint.dir).map_err(|error| failed(&error))?;
    let manifest = manifest.ok_or_else(|| {
        ApiFailure::new(ErrorKind::NoLeader, "this replica has not applied anything yet; try again, or ask another one")
    })?;
    tracing::info!(index = manifest.index, orders = manifest.orders, "a backup is taken");
    let archive = Archive::new(&manifest, checkpoint.dir.clone()).map_err(|error| failed(&error.into()))?;
    Ok(Outgoing { archive, checkpoint })
}

/// What a checkpoint holds, by its own word: the state has moved on since it was made.
fn manifest_of(node: &Node, checkpoint: &SnapshotDir) -> Result<Option<Manifest>> {
    let db = StateDb::open_read_only(&checkpoint.path)?;
    let (Position { last_applied, .. }, totals) = (db.position()?, db.totals()?);
    drop(db);
    let Some(last_applied) = last_applied else { return Ok(None) };
    let taken = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some(Manifest {
        cluster_id: node.cluster_id.clone(),
        replica: node.id,
        term: last_applied.leader_id.term,
        index: last_applied.index,
        orders: totals.orders,
        digest: totals.digest.to_string(),
        taken_unix_s: taken.as_secs(),
        data_format: DATA_FORMAT,
        files: checkpoint.files().context("the checkpoint cannot be read")?,
    }))
}

/// Reads on as the connection takes the chunks. An error breaks the connection off; a reader that stalls gets an archive
/// without its trailer, which `bazaar backup` refuses.
async fn send(mut outgoing: Outgoing, chunks: mpsc::Sender<Chunk>) {
    loop {
        let read = spawn_blocking(move || (next_chunk(&mut outgoing.archive), outgoing)).await;
        let Ok((chunk, rest)) = read else { return };
        outgoing = rest;
        let Some(chunk) = chunk.transpose() else { break };
        if let Err(error) = &chunk {
            tracing::error!(%error, "a backup cannot be read");
        }
        let was_error = chunk.is_err();
        let taken = timeout(READER_IDLE_TIMEOUT, chunks.send(chunk)).await;
        if was_error || !matches!(taken, Ok(Ok(()))) {
            tracing::warn!("a backup was not taken to its end");
            break;
        }
    }
    // Many files may have to be removed.
    spawn_blocking(move || drop(outgoing.checkpoint));
}

/// The next bytes; `None` at the end.
fn next_chunk(archive: &mut Archive<SnapshotDir>) -> io::Result<Option<Bytes>> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES as usize);
    archive.take(CHUNK_BYTES).read_to_end(&mut chunk)?;
    Ok(Some(chunk).filter(|chunk| !chunk.is_empty()).map(Bytes::from))
}

fn failed(error: &anyhow::Error) -> ApiFailure {
    tracing::error!(error = format!("{error:#}"), "a backup cannot be made");
    ApiFailure::new(ErrorKind::Internal, format!("the backup cannot be made: {error:#}"))
}
