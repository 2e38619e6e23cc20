//! A power cut: what was not synced is gone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::{self, Write as _},
    fs::{self, File},
    ops::AddAssign,
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::Path,
};

use anyhow::{Context, Result};

use crate::{chaos::Draw, disk::files};

/// What the library notes in place of a size when a sync fails.
pub(super) const FAILED: &str = "failed";
/// What it notes before the names in a folder.
const FOLDER: &str = "folder ";

/// What a power cut took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Files that became shorter.
    pub files: u64,
    /// Bytes that were written and never synced.
    pub bytes: u64,
    /// Files and folders that are gone, or have their earlier name, because the folder that they are in was not synced.
    pub names: u64,
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.names += other.names;
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes, names } = self;
        write!(f, "{bytes} bytes of {files} files, {names} names")
    }
}

/// What is on disk: how much of each file, and which names in each folder, all by their inodes.
#[derive(Debug, Default)]
struct Synced {
    sizes: HashMap<u64, u64>,
    folders: HashMap<u64, BTreeMap<String, u64>>,
}

/// Cuts each file somewhere between where it was synced and its end; and takes names, if told to.
pub(super) fn cut(notes: &str, data: &Path, with_names: bool, draw: &mut Draw) -> Result<Lost> {
    let synced = Synced::noted(notes)?;
    let mut lost = Lost::default();
    if with_names {
        synced.lose_names(data, &mut lost)?;
    }
    let mut seen = HashSet::new();
    for path in files(data)? {
        let about = path.metadata()?;
        let (inode, written) = (about.ino(), about.len());
        // A checkpoint's files have two names.
        if !seen.insert(inode) {
            continue;
        }
        let synced = synced.sizes.get(&inode).copied().unwrap_or(0).min(written);
        if written > synced {
            let left = cut_file(&path, synced, written, draw)?;
            lost.files += 1;
            lost.bytes += written - left;
        }
    }
    Ok(lost)
}

/// Cuts a file, mostly exactly where it was synced; returns its new length.
fn cut_file(path: &Path, synced: u64, written: u64, draw: &mut Draw) -> Result<u64> {
    let left = if draw.one_in(2) { synced } else { synced + draw.below(written - synced + 1) };
    File::options().write(true).open(path)?.set_len(left)?;
    Ok(left)
}

/// Notes that say that everything in a folder is on disk as it is.
pub(super) fn notes_of(data: &Path) -> Result<String> {
    let about = data.metadata()?;
    if !about.is_dir() {
        return Ok(format!("{} {}\n", about.ino(), about.len()));
    }
    let (mut names, mut below) = (String::new(), String::new());
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        write!(names, "{}/{}/", entry.ino(), entry.file_name().to_string_lossy())?;
        below.push_str(&notes_of(&entry.path())?);
    }
    Ok(format!("{} {FOLDER}{names}\n{below}", about.ino()))
}

impl Synced {
    /// The newest notes. What is written to a file after a sync that failed lies behind a hole, and does not count.
    fn noted(notes: &str) -> Result<Self> {
        let (mut synced, mut failed) = (Self::default(), HashSet::new());
        for line in notes.lines() {
            let wrong = || format!("not a note of a sync: {line}");
            let (inode, what) = line.split_once(' ').with_context(wrong)?;
            let inode: u64 = inode.parse().with_context(wrong)?;
            if let Some(names) = what.strip_prefix(FOLDER) {
                synced.folders.insert(inode, parse_names(names).with_context(wrong)?);
            } else if what == FAILED {
                failed.insert(inode);
            } else if !failed.contains(&inode) {
                synced.sizes.insert(inode, what.parse().with_context(wrong)?);
            }
        }
        Ok(synced)
    }

    fn lose_names(&self, folder: &Path, lost: &mut Lost) -> Result<()> {
        let nothing = BTreeMap::new();
        let synced = self.folders.get(&folder.metadata()?.ino()).unwrap_or(&nothing);
        for entry in fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()? {
            let (path, name, inode) = (entry.path(), entry.file_name().to_string_lossy().into_owned(), entry.ino());
            let is_folder = entry.file_type()?.is_dir();
            // A name that was there before may have stood for another file; that one does not come back.
            if synced.contains_key(&name) {
                if is_folder {
                    self.lose_names(&path, lost)?;
                }
                continue;
            }
            lost.names += 1;
            let earlier = synced.iter().find(|(earlier, of)| **of == inode && !folder.join(earlier).exists());
            match earlier {
                Some((earlier, _)) => fs::rename(path, folder.join(earlier))?,
                None if is_folder => fs::remove_dir_all(path)?,
                None => fs::remove_file(path)?,
            }
        }
        Ok(())
    }
}

/// The names of a line `inode/name/inode/name/`.
fn parse_names(line: &str) -> Option<BTreeMap<String, u64>> {
    let mut names = BTreeMap::new();
    let mut words = line.split_terminator('/');
    while let Some(inode) = words.next() {
        names.insert(words.next()?.to_owned(), inode.parse().ok()?);
    }
    Some(names)
}
