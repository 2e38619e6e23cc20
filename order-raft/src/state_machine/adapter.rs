//! openraft's view of the state. It only delegates.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bazaar_service::traces::Span;
use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine, Snapshot},
};

use super::State;
use crate::{
    meters::APPLY_SECONDS,
    raft_types::{LogCommand, LogId, SnapshotMeta, StoredMembership, TypeConfig},
    snapshot_dir::SnapshotDir,
};

/// Entries written together at most, when many are waiting.
const APPLY_ENTRIES_MAX: usize = 32;
/// Bytes of commands after which a write begins, however few entries they are: some thousand trades. Apply has the thread
/// for itself until the write has ended.
const APPLY_BYTES: usize = 128 << 10;

/// A snapshot: what it covers and where it lies.
pub type StateSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotDir>;

/// The state machine that openraft drives.
#[derive(Debug, Clone)]
pub struct StateMachine {
    state: Arc<State>,
}

impl StateMachine {
    /// The adapter of a state.
    pub fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

fn snapshot(position: super::store::Position, path: PathBuf) -> StateSnapshot {
    let meta = SnapshotMeta { last_log_id: position.last_applied, last_membership: position.membership };
    Snapshot { meta, snapshot: SnapshotDir { path } }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotDir;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let position = self.state.position();
        Ok((position.last_applied, position.membership))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut chunks = entries.ready_chunks(APPLY_ENTRIES_MAX);
        while let Some(chunk) = chunks.next().await {
            let mut chunk = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
            while !chunk.is_empty() {
                let rest = chunk.split_off(one_write(&chunk));
                let entries: Vec<_> = chunk.iter().map(|(entry, _)| entry).collect();
                let started = Instant::now();
                let answers = self.state.apply(&entries).map_err(io::Error::other)?;
                let took = started.elapsed();
                APPLY_SECONDS.histogram().record(took);
                note_spans(&chunk, took);
                for ((_, responder), answer) in std::mem::replace(&mut chunk, rest).into_iter().zip(answers) {
                    if let Some(responder) = responder {
                        responder.send(answer);
                    }
                }
                // Heartbeats and everything else get their turn, however much there is to apply.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotDir) -> Result<(), io::Error> {
        let (state, last) = (Arc::clone(&self.state), meta.last_log_id);
        blocking(move || {
            state.install(&snapshot.path, last)?;
            state.generations.make_checkpoint(&state.db())?;
            Ok(())
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<StateSnapshot>, io::Error> {
        Ok(self.state.generations.newest_checkpoint().map(|(position, path)| snapshot(position, path)))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotDir;

    async fn build_snapshot(&mut self) -> Result<StateSnapshot, io::Error> {
        let state = Arc::clone(&self.state);
        let (position, path) = blocking(move || state.generations.make_checkpoint(&state.db())).await?;
        Ok(snapshot(position, path))
    }
}

/// Notes in the traces of these entries, if there are any, that they were applied.
fn note_spans(chunk: &[EntryResponder<TypeConfig>], took: Duration) {
    for (entry, _) in chunk {
        if let EntryPayload::Normal(LogCommand { origin: Some(origin), .. }) = &entry.payload
            && let Some(trace) = &origin.trace
        {
            Span::note("apply", trace, took, None);
        }
    }
}

/// How many entries from the front go into one write: at least one.
fn one_write(chunk: &[EntryResponder<TypeConfig>]) -> usize {
    let mut bytes = 0;
    let small = chunk.iter().take_while(|(entry, _)| {
        let fits = bytes < APPLY_BYTES;
        if let EntryPayload::Normal(command) = &entry.payload {
            bytes += command.bytes.len();
        }
        fits
    });
    small.count()
}

/// Runs file work away from the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> io::Result<T> {
    let result = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    result.map_err(|error| io::Error::other(format!("{error:#}")))
}
