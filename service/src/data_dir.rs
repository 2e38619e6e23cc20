//! A process's data directory: made on the first start, locked while in use, and refused when it is somebody else's.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Names the kind of process that a directory belongs to, and the format of what is in it.
const MARKER: &str = "BAZAAR";
/// Locked by the process that uses the directory.
const LOCK: &str = "LOCK";

/// An opened data directory. The lock is held as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Whether this start made it.
    pub is_new: bool,
    _lock: File,
}

impl DataDir {
    /// Opens, or makes, the data directory of a process of this kind (`order-replica`, `catalog`) and format.
    ///
    /// # Errors
    /// If it cannot be written, belongs to something else, has another format, or is in use.
    pub fn open(path: &Path, kind: &str, format: u32) -> Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("the data directory {shown} cannot be made"))?;
        let marker = path.join(MARKER);
        let mark = format!("{kind} format {format}\n");
        let is_new = !marker.exists();
        if is_new {
            let foreign = fs::read_dir(path)
                .with_context(|| format!("the data directory {shown} cannot be read"))?
                .filter_map(Result::ok)
                .find(|entry| entry.file_name() != LOCK);
            if let Some(entry) = foreign {
                bail!(
                    "{shown} holds {:?} but is no data directory of the bazaar; give an empty or new one",
                    entry.file_name()
                );
            }
        } else {
            let found = fs::read_to_string(&marker).with_context(|| format!("{} cannot be read", marker.display()))?;
            if found != mark {
                bail!("{shown} is a data directory of '{}', this process needs '{}'", found.trim(), mark.trim());
            }
        }
        let lock =
            File::create(path.join(LOCK)).with_context(|| format!("the data directory {shown} cannot be written"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("the data directory {shown} is in use by another process"),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("{shown} cannot be locked")),
        }
        if is_new {
            write_durably(&marker, mark.as_bytes()).with_context(|| format!("{shown} cannot be written"))?;
        }
        Ok(Self { path: path.to_owned(), is_new, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a small file so that after a crash it has either its old content or all of the new one.
///
/// # Errors
/// If any step fails; the old content is then still there.
pub fn write_durably(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}
