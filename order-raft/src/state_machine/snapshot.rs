//! Folders of the state: numbered generations of the database, and checkpoints of it to send to other replicas.
//!
//! `state/CURRENT` names the generation in use. A received snapshot becomes a new generation and is switched to by
//! one durable rename of `CURRENT`; whatever else is found at the next start is left over and removed. One more
//! checkpoint may be lent out, while a backup is read from it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, anyhow, bail};
use bazaar_service::data_dir::write_durably;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::store::{Faults, Position, StateDb};
use crate::{disk::REPLACE, raft_types::LogId, snapshot_dir::SnapshotDir};

const CURRENT: &str = "CURRENT";
/// Checkpoints that are kept: the newest, and the one before it, which may still be on its way to a follower.
const CHECKPOINTS_KEPT: usize = 2;
/// The folder of a checkpoint that is being removed.
const SET_ASIDE: &str = "removed";

/// The folders of one replica's state.
#[derive(Debug)]
pub struct Generations {
    /// Holds `CURRENT` and the generations.
    state: PathBuf,
    /// Holds the checkpoints.
    snapshots: PathBuf,
    /// The newest checkpoint and what it covers.
    newest: Mutex<Option<(Position, PathBuf)>>,
    /// Held while a checkpoint is made: building and installing a snapshot may overlap, and there is one draft.
    making: Mutex<()>,
    /// Where the checkpoint is made that is lent out.
    lent: PathBuf,
    /// One checkpoint is lent out at a time.
    lending: Arc<Semaphore>,
}

/// A checkpoint for a use of its own. Its folder is removed when it is dropped, or else at the next start.
#[derive(Debug)]
pub struct LentCheckpoint {
    /// Where it is.
    pub dir: SnapshotDir,
    /// Given back only after the folder is gone.
    _slot: OwnedSemaphorePermit,
}

impl Drop for LentCheckpoint {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir.path) {
            tracing::warn!(folder = %self.dir.path.display(), %error, "a checkpoint that was lent out cannot be removed");
        }
    }
}

impl Generations {
    /// Opens the folders and removes what a crash left half made.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub fn open(root: &Path) -> Result<Self> {
        let (state, snapshots) = (root.join("state"), root.join("snapshots"));
        fs::create_dir_all(&state).with_context(|| format!("{} cannot be made", state.display()))?;
        fs::create_dir_all(&snapshots).with_context(|| format!("{} cannot be made", snapshots.display()))?;
        let this = Self {
            state,
            snapshots,
            newest: Mutex::new(None),
            making: Mutex::new(()),
            lent: root.join("lent"),
            lending: Arc::new(Semaphore::new(1)),
        };
        this.remove_lent()?;
        let found = folders(&this.state)?;
        if found.is_empty() {
            write_durably(&this.state.join(CURRENT), b"generation-1").context("the state cannot be written")?;
        }
        let current = this.current()?;
        // Whatever is not current is removed below: a damaged name must not cost the state itself.
        if !found.is_empty() && !found.contains(&current) {
            bail!("{} names {}, which is not there; {REPLACE}", this.state.join(CURRENT).display(), current.display());
        }
        for folder in found {
            if folder != current {
                fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
            }
        }
        Ok(this)
    }

    /// Finds the newest checkpoint. The database is opened first: its files are links to the same bytes, and if they are
    /// damaged, more is lost than a checkpoint.
    ///
    /// # Errors
    /// If one cannot be read; the message says what to do.
    pub fn find_newest_checkpoint(&self) -> Result<()> {
        let mut found: Vec<(Position, PathBuf)> = Vec::new();
        for folder in folders(&self.snapshots)? {
            if is_draft(&folder) {
                tracing::warn!(folder = %folder.display(), "a checkpoint that is not whole is removed");
                fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
            } else {
                found.push((Self::position_in_own(&folder)?, folder));
            }
        }
        found.sort_by_key(|(position, _)| position.last_applied);
        *self.newest_lock() = found.pop();
        Ok(())
    }

    /// The position in a checkpoint of this replica's own. A damaged one is left for somebody to look at: if the state
    /// is whole, nobody needs it, and if it is not, the replica says so once it is gone.
    fn position_in_own(checkpoint: &Path) -> Result<Position> {
        StateDb::position_in(checkpoint)
            .map_err(|error| anyhow!("{error:#}; remove this folder and start the replica again"))
    }

    fn newest_lock(&self) -> std::sync::MutexGuard<'_, Option<(Position, PathBuf)>> {
        self.newest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The folder of the generation in use.
    ///
    /// # Errors
    /// If `CURRENT` cannot be read or is damaged.
    pub fn current(&self) -> Result<PathBuf> {
        current_generation(&self.state)
    }

    /// Moves a received folder in as the next generation, not yet in use.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn adopt(&self, received: &Path) -> Result<PathBuf> {
        let newest = folders(&self.state)?.iter().filter_map(|folder| generation_number(folder)).max().unwrap_or(0);
        let path = self.state.join(generation_name(newest + 1));
        fs::rename(received, &path)
            .with_context(|| format!("{} cannot be moved to {}", received.display(), path.display()))?;
        fs::File::open(&self.state)?.sync_all()?;
        Ok(path)
    }

    /// Makes a generation the one in use, durably.
    ///
    /// # Errors
    /// If `CURRENT` cannot be written.
    pub fn switch_to(&self, generation: &Path) -> Result<()> {
        let name = generation.file_name().expect("generations have names").as_encoded_bytes();
        write_durably(&self.state.join(CURRENT), name).context("the state's CURRENT cannot be written")
    }

    /// Makes a checkpoint of the database and makes it the newest one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_checkpoint(&self, db: &StateDb) -> Result<(Position, PathBuf)> {
        let _one_at_a_time = self.making.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let draft = self.snapshots.join("draft");
        if draft.exists() {
            fs::remove_dir_all(&draft).context("an unfinished checkpoint cannot be removed")?;
        }
        db.checkpoint(&draft)?;
        // The state may have moved on since the checkpoint was asked for: only the checkpoint itself knows its position.
        let position = StateDb::position_in(&draft)?;
        let path = self.snapshots.join(checkpoint_name(position.last_applied));
        if path.exists() {
            fs::remove_dir_all(&draft).context("a repeated checkpoint cannot be removed")?;
        } else {
            fs::rename(&draft, &path).context("the checkpoint cannot be moved")?;
            fs::File::open(&self.snapshots)?.sync_all()?;
        }
        let mut newest = self.newest_lock();
        // A snapshot that was installed meanwhile may be ahead of one that was begun before it.
        if newest.as_ref().is_none_or(|(known, _)| known.last_applied <= position.last_applied) {
            *newest = Some((position.clone(), path.clone()));
        }
        drop(newest);
        self.remove_old_checkpoints()?;
        Ok((position, path))
    }

    /// Makes a checkpoint that is not one of the kept ones; `None` if one is lent out already.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn lend_checkpoint(&self, db: &StateDb) -> Result<Option<LentCheckpoint>> {
        let Ok(slot) = Arc::clone(&self.lending).try_acquire_owned() else { return Ok(None) };
        self.remove_lent()?;
        db.checkpoint(&self.lent)?;
        Ok(Some(LentCheckpoint { dir: SnapshotDir { path: self.lent.clone() }, _slot: slot }))
    }

    fn remove_lent(&self) -> Result<()> {
        if self.lent.exists() {
            fs::remove_dir_all(&self.lent).with_context(|| format!("{} cannot be removed", self.lent.display()))?;
        }
        Ok(())
    }

    /// The newest checkpoint.
    pub fn newest_checkpoint(&self) -> Option<(Position, PathBuf)> {
        self.newest_lock().clone()
    }

    fn remove_old_checkpoints(&self) -> Result<()> {
        let mut all: Vec<PathBuf> = folders(&self.snapshots)?.into_iter().filter(|folder| !is_draft(folder)).collect();
        all.sort();
        for folder in all.iter().rev().skip(CHECKPOINTS_KEPT) {
            let folder = self.set_aside(folder)?;
            fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
        }
        Ok(())
    }

    /// Takes a checkpoint's name away from its folder, durably: a crash while its files are removed must not leave half a
    /// checkpoint under that name.
    fn set_aside(&self, checkpoint: &Path) -> Result<PathBuf> {
        let aside = self.snapshots.join(SET_ASIDE);
        fs::rename(checkpoint, &aside)
            .with_context(|| format!("{} cannot be moved to {}", checkpoint.display(), aside.display()))?;
        fs::File::open(&self.snapshots)?.sync_all()?;
        Ok(aside)
    }
}

/// Makes the state of a new replica in `root` from a checkpoint: a copy of it as the first generation, and a checkpoint
/// of that, which others can be sent. What is made still has to be synced.
///
/// # Errors
/// If it cannot be read or written.
pub fn found_from(root: &Path, checkpoint: &SnapshotDir) -> Result<()> {
    let generations = Generations::open(root)?;
    let generation = generations.current()?;
    fs::create_dir(&generation).with_context(|| format!("{} cannot be made", generation.display()))?;
    for file in checkpoint.files()? {
        let (from, to) = (checkpoint.path.join(&file.name), generation.join(&file.name));
        fs::copy(&from, &to).with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))?;
    }
    let db = StateDb::open(&generation, Faults::new(None))?;
    generations.make_checkpoint(&db)?;
    Ok(())
}

/// The folder of the generation in use, in the folder `state` of a replica.
///
/// # Errors
/// If `CURRENT` cannot be read or is damaged.
pub fn current_generation(state: &Path) -> Result<PathBuf> {
    let file = state.join(CURRENT);
    let name = fs::read(&file).map_err(|error| anyhow!("{} cannot be read: {error}; {REPLACE}", file.display()))?;
    // Exactly a name: a path that ends in one could lead elsewhere.
    let is_name = |name: &str| generation_number(Path::new(name)).is_some_and(|number| name == generation_name(number));
    let name = String::from_utf8(name).ok().filter(|name| is_name(name));
    let name = name.with_context(|| format!("{} is damaged; {REPLACE}", file.display()))?;
    Ok(state.join(name))
}

/// Sorts like the log: names have fixed width.
fn checkpoint_name(last_applied: Option<LogId>) -> String {
    let (term, index) = last_applied.map_or((0, 0), |id| (id.leader_id.term, id.index));
    format!("checkpoint-{index:020}-term-{term:020}")
}

/// Whatever has no checkpoint's name is not whole: RocksDB fills `draft.tmp`, which then becomes `draft`; and [`SET_ASIDE`].
fn is_draft(folder: &Path) -> bool {
    !folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"checkpoint-"))
}

fn generation_name(number: u64) -> String {
    format!("generation-{number}")
}

fn generation_number(folder: &Path) -> Option<u64> {
    folder.file_name()?.to_str()?.strip_prefix("generation-")?.parse().ok()
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent).with_context(|| format!("{} cannot be read", parent.display()))?;
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.push(entry.path());
        }
    }
    Ok(all)
}
