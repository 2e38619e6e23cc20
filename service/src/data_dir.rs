//! A process's data directory: made on the first start, locked while in use, and refused when it is somebody else's.

use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};

/// Names the kind of process that a directory belongs to, and the format of what is in it.
const MARKER: &str = "BAZAAR";
/// Locked by the process that uses the directory.
const LOCK: &str = "LOCK";

/// An opened data directory. The lock is held as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
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
        refuse_foreign(path, &marker)?;
        let lock =
            File::create(path.join(LOCK)).with_context(|| format!("the data directory {shown} cannot be written"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("the data directory {shown} is in use by another process"),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("{shown} cannot be locked")),
        }
        let mark = format!("{kind} format {format}\n");
        if marker.exists() {
            let found = fs::read_to_string(&marker).with_context(|| format!("{} cannot be read", marker.display()))?;
            if found != mark {
                bail!("{shown} is a data directory of '{}', {}", found.trim(), remedy(found.trim(), kind, format));
            }
        } else {
            write_durably(&marker, mark.as_bytes()).with_context(|| format!("{shown} cannot be written"))?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Opens the data directory of a process that does not run, to look inside: nothing in it is changed, and no process
    /// starts on it as long as this lives.
    ///
    /// # Errors
    /// If it is no such directory, or a process uses it.
    pub fn look_into(path: &Path, kind: &str, format: u32) -> Result<Self> {
        let shown = path.display();
        if !path.is_dir() {
            bail!("there is no folder {shown}");
        }
        let found = fs::read_to_string(path.join(MARKER)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("{shown} is no data directory of the bazaar{}", those_within(path)),
            _ => anyhow!("{} cannot be read: {error}", path.join(MARKER).display()),
        })?;
        if found != format!("{kind} format {format}\n") {
            bail!("{shown} is a data directory of '{}', {}", found.trim(), remedy(found.trim(), kind, format));
        }
        let lock = File::open(path.join(LOCK)).with_context(|| format!("the lock of {shown} cannot be read"))?;
        match lock.try_lock_shared() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!("the data directory {shown} is in use by a running process"),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{shown} cannot be locked")),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The replicas whose directories lie in a folder, for whoever named the folder of all of them.
fn those_within(path: &Path) -> String {
    let names = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names = names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("replica-"));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    if names.is_empty() { String::new() } else { format!("; it holds {}", names.join(", ")) }
}

/// Why a directory with another marker cannot be used, and what to do.
fn remedy(found: &str, kind: &str, format: u32) -> String {
    let needs = format!("this process needs '{kind} format {format}'");
    match found.rsplit_once(" format ").map(|(found_kind, number)| (found_kind == kind, number.parse::<u32>())) {
        Some((true, Ok(number))) if number > format => {
            format!("which is newer: {needs}; start the newer version that wrote it, or give another directory")
        }
        Some((true, Ok(_))) => {
            format!("which is older: {needs}; start the older version that wrote it, or give another directory")
        }
        Some((false, Ok(_))) => format!("{needs}; give the directory of this process"),
        _ => format!("which is no such name: {needs}; the file {MARKER} is damaged, so do not trust the rest"),
    }
}

/// Refuses a folder that holds something and was not made by us; nothing is written there.
fn refuse_foreign(path: &Path, marker: &Path) -> Result<()> {
    let shown = path.display();
    // What a first start leaves behind that was cut off before it wrote the marker.
    let leftovers = [Path::new(LOCK).to_owned(), draft_of(Path::new(MARKER))];
    let foreign = fs::read_dir(path)
        .with_context(|| format!("the data directory {shown} cannot be read"))?
        .filter_map(Result::ok)
        .find(|entry| !leftovers.iter().any(|name| entry.file_name() == *name.as_os_str()));
    match foreign {
        Some(entry) if !marker.exists() => {
            bail!(
                "{shown} holds {:?} but is no data directory of the bazaar; give an empty or new one",
                entry.file_name()
            )
        }
        _ => Ok(()),
    }
}

fn draft_of(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Writes a small file so that after a crash it has either its old content or all of the new one.
///
/// # Errors
/// If any step fails; the old content is then still there.
pub fn write_durably(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let draft = draft_of(path);
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::DataDir;

    #[test]
    fn a_first_start_that_was_cut_off_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("BAZAAR.new"), "cat").unwrap();
        fs::write(folder.path().join("LOCK"), "").unwrap();
        drop(DataDir::open(folder.path(), "catalog", 1).unwrap());
        DataDir::open(folder.path(), "catalog", 1).unwrap();
    }

    #[test]
    fn a_folder_of_another_kind_or_format_or_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataDir::open(folder.path(), "catalog", 1).unwrap();
        let refused = |kind, format| DataDir::open(folder.path(), kind, format).unwrap_err().to_string();
        assert!(refused("catalog", 1).contains("in use"));
        drop(held);
        assert!(refused("order-replica", 1).contains("is a data directory of 'catalog format 1'"));
        assert!(refused("catalog", 2).contains("which is older: this process needs 'catalog format 2'"));
        fs::write(folder.path().join("BAZAAR"), "catalog format 7\n").unwrap();
        assert!(refused("catalog", 2).contains("which is newer: this process needs 'catalog format 2'"));
        fs::write(folder.path().join("BAZAAR"), "cathlog formau 1\n").unwrap();
        assert!(refused("catalog", 1).contains("is damaged"));
    }
}
