//! Receives a snapshot's files into a folder of their own, and hands it over only if it is whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    frame::SnapshotOffer,
    peer::{PeerFault, RaftPeer},
    snapshot_send::SNAPSHOT_CHUNK_BYTES_MAX,
};
use crate::{
    raft_types::TypeConfig,
    snapshot_dir::{SnapshotDir, check_manifest},
};

const PREFIX: &str = "incoming-";

/// The folder in which received snapshots have their folders.
#[derive(Debug, Clone)]
pub(super) struct IncomingRoot {
    path: PathBuf,
    next: Arc<AtomicU64>,
}

impl IncomingRoot {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Removes what an earlier process left half received. Blocks.
    ///
    /// # Errors
    /// If the folder cannot be read, or something in it not be removed.
    pub(super) fn clear(&self) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn new_folder(&self) -> io::Result<IncomingFolder> {
        let path = self.path.join(format!("{PREFIX}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&self.path)?;
        fs::create_dir(&path)?;
        Ok(IncomingFolder { path })
    }
}

/// Removed when dropped, unless it was moved away.
#[derive(Debug)]
struct IncomingFolder {
    path: PathBuf,
}

impl Drop for IncomingFolder {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, folder = %self.path.display(), "a received snapshot cannot be removed");
            }
            _ => {}
        }
    }
}

/// A snapshot that is being received. Its methods block.
#[derive(Debug)]
pub(super) struct IncomingSnapshot {
    folder: IncomingFolder,
    offer: SnapshotOffer,
    /// Position in the manifest of the file that the next chunk belongs to.
    position: usize,
    /// That file, and how many of its bytes are still to come.
    open: Option<(File, u64)>,
}

impl IncomingSnapshot {
    /// Makes the folder for an offered snapshot.
    ///
    /// # Errors
    /// If the manifest is wrong, or the folder cannot be made.
    pub(super) fn begin(root: &IncomingRoot, offer: SnapshotOffer) -> io::Result<Self> {
        check_manifest(&offer.files)?;
        let mut incoming = Self { folder: root.new_folder()?, offer, position: 0, open: None };
        incoming.open_next()?;
        Ok(incoming)
    }

    /// Makes the next files of the manifest, up to one that has content.
    fn open_next(&mut self) -> io::Result<()> {
        self.open = None;
        while let Some(file) = self.offer.files.get(self.position) {
            let made = File::create_new(self.path().join(&file.name))?;
            if file.bytes > 0 {
                self.open = Some((made, file.bytes));
                break;
            }
            self.position += 1;
        }
        Ok(())
    }

    fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Writes the next chunk.
    ///
    /// # Errors
    /// If it does not fit the manifest, or cannot be written.
    pub(super) fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        let Some((file, bytes_left)) = &mut self.open else {
            return Err(misfit("more bytes than the manifest lists"));
        };
        let bytes = chunk.len() as u64;
        if bytes == 0 || chunk.len() > SNAPSHOT_CHUNK_BYTES_MAX || bytes > *bytes_left {
            return Err(misfit(&format!("a chunk of {bytes} bytes where {bytes_left} are to come")));
        }
        file.write_all(chunk)?;
        *bytes_left -= bytes;
        if *bytes_left == 0 {
            self.position += 1;
            self.open_next()?;
        }
        Ok(())
    }

    /// Checks that everything is there as it was sent, and makes it durable.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn finish(self) -> io::Result<ReceivedSnapshot> {
        if let Some(file) = self.offer.files.get(self.position) {
            return Err(misfit(&format!("the transfer ended within '{}'", file.name)));
        }
        let dir = SnapshotDir { path: self.folder.path.clone() };
        dir.sync()?;
        dir.verify(&self.offer.files)?;
        Ok(ReceivedSnapshot { folder: self.folder, offer: self.offer })
    }
}

/// A snapshot that was received whole.
#[derive(Debug)]
pub(super) struct ReceivedSnapshot {
    folder: IncomingFolder,
    offer: SnapshotOffer,
}

impl ReceivedSnapshot {
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The sender's term, and what will have happened once this is installed.
    pub(super) fn described(&self) -> (u64, String) {
        let index = self.offer.meta.last_log_id.map_or(0, |id| id.index);
        let bytes: u64 = self.offer.files.iter().map(|file| file.bytes).sum();
        let leader = self.offer.vote.leader_id;
        let what = format!("installed a snapshot up to index {index} from replica {}, {bytes} bytes", leader.voted_for);
        (leader.term, what)
    }

    /// Installs it, in a task of its own: the folder must stay until the state machine is done with it, even if the
    /// sender goes away meanwhile.
    pub(super) async fn install<P: RaftPeer>(
        self,
        peer: P,
    ) -> Result<openraft::raft::SnapshotResponse<TypeConfig>, PeerFault> {
        let task = tokio::spawn(async move {
            let received = SnapshotDir { path: self.folder.path.clone() };
            peer.install(self.offer.vote, self.offer.meta, received).await
        });
        task.await.unwrap_or_else(|error| Err(PeerFault::new(error)))
    }
}

fn misfit(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot does not fit its manifest: {what}"))
}
