//! A power cut: what was not synced is gone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::{self, Write as _},
    fs::{self, File, Metadata},
    ops::AddAssign,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};

use crate::{chaos::Draw, disk::files};

/// What the library notes in place of a size when a sync fails.
pub(super) const FAILED: &str = "failed";
/// What it notes when it has made a sync slow.
pub(super) const SLOW: &str = "slow";
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

/// What tells a file from all others that are and were there: its inode and when it was made. The inode alone would not
/// do, since a new file often gets that of one that was removed.
type Identity = String;

/// What is on disk: how much of each file, and which names in each folder.
#[derive(Debug, Default)]
struct Synced {
    sizes: HashMap<Identity, u64>,
    folders: HashMap<Identity, BTreeMap<String, Identity>>,
}

/// As the library writes it.
fn identity(about: &Metadata) -> Identity {
    let made = about.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{}.{}", about.ino(), made.unwrap_or_default().as_nanos())
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
        let (file, written) = (identity(&about), about.len());
        let synced = synced.sizes.get(&file).copied().unwrap_or(0).min(written);
        // A checkpoint's files have two names.
        if !seen.insert(file) {
            continue;
        }
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
        return Ok(format!("{} {}\n", identity(&about), about.len()));
    }
    let (mut names, mut below) = (String::new(), String::new());
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        write!(names, "{}/{}/", identity(&entry.metadata()?), entry.file_name().to_string_lossy())?;
        below.push_str(&notes_of(&entry.path())?);
    }
    Ok(format!("{} {FOLDER}{names}\n{below}", identity(&about)))
}

impl Synced {
    /// The newest notes. What is written to a file after a sync that failed lies behind a hole, and does not count.
    fn noted(notes: &str) -> Result<Self> {
        let (mut synced, mut failed) = (Self::default(), HashSet::new());
        for line in notes.lines() {
            let wrong = || format!("not a note of a sync: {line}");
            let (file, what) = line.split_once(' ').with_context(wrong)?;
            if let Some(names) = what.strip_prefix(FOLDER) {
                synced.folders.insert(file.into(), parse_names(names).with_context(wrong)?);
            } else if what == FAILED {
                failed.insert(file);
            } else if what != SLOW && !failed.contains(file) {
                synced.sizes.insert(file.into(), what.parse().with_context(wrong)?);
            }
        }
        Ok(synced)
    }

    fn lose_names(&self, folder: &Path, lost: &mut Lost) -> Result<()> {
        let nothing = BTreeMap::new();
        let synced = self.folders.get(&identity(&folder.metadata()?)).unwrap_or(&nothing);
        for entry in fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()? {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let file = identity(&entry.metadata()?);
            let is_folder = entry.file_type()?.is_dir();
            // A name that was there before may have stood for another file; that one does not come back.
            if synced.contains_key(&name) {
                if is_folder {
                    self.lose_names(&path, lost)?;
                }
                continue;
            }
            lost.names += 1;
            let earlier = synced.iter().find(|(earlier, of)| **of == file && !folder.join(earlier).exists());
            match earlier {
                Some((earlier, _)) => fs::rename(path, folder.join(earlier))?,
                None if is_folder => fs::remove_dir_all(path)?,
                None => fs::remove_file(path)?,
            }
        }
        Ok(())
    }
}

/// The names of a line `file/name/file/name/`.
fn parse_names(line: &str) -> Option<BTreeMap<String, Identity>> {
    let mut names = BTreeMap::new();
    let mut words = line.split_terminator('/');
    while let Some(file) = words.next() {
        names.insert(words.next()?.to_owned(), file.to_owned());
    }
    Some(names)
}
