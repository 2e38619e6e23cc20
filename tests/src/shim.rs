//! What stands between a process and its disk and clock: a library that is loaded before all others (`LD_PRELOAD`).
//!
//! It notes how much of each file has been synced, so that a power cut can be played: kill the processes, then cut every
//! file back to where it was synced, or a little behind it. On command, syncs fail, take long or do nothing, and the wall
//! clock jumps. The monotonic clock is never touched: leases rest on it, see `docs/leases.md`.
//!
//! What it does not lose: names. A file that was made, renamed or removed stays so, although its folder was not synced.
//! What is left of a file is its beginning, as on a file system that makes a file longer only once the data is there (ext4
//! with ordered data, XFS); zeros or old blocks in its place are not played.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{Name, chaos::Draw, disk::files};

const SOURCE: &str = include_str!("shim/shim.c");
/// What the library notes in place of a size.
const FAILED: &str = "failed";

/// The library, and the folder with the switches of all processes.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    folder: PathBuf,
}

/// What a power cut took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Files that became shorter or were removed.
    pub files: u64,
    /// Bytes that were written and never synced.
    pub bytes: u64,
}

impl Shim {
    /// Compiles the library into this folder; `None`, with the reason printed, where there is no C compiler.
    ///
    /// # Errors
    /// If there is one, and it fails.
    pub fn compile(folder: &Path) -> Result<Option<Self>> {
        let folder = folder.join("shim");
        fs::create_dir_all(&folder)?;
        let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
        fs::write(&source, SOURCE)?;
        let flags = ["-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o"];
        match Command::new("cc").args(flags).args([&library, &source]).arg("-ldl").output() {
            Ok(output) if output.status.success() => Ok(Some(Self { library, folder })),
            Ok(output) => bail!("cc failed: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("skipped: there is no C compiler (Debian: build-essential)");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The variables under which a process has to be started; its files are in `data`.
    ///
    /// # Errors
    /// If its switches cannot be made.
    pub fn variables(&self, process: Name, data: &Path) -> Result<[String; 3]> {
        let folder = self.switches(process);
        fs::create_dir_all(&folder)?;
        let clock = folder.join("clock");
        if !clock.exists() {
            fs::write(clock, [0; 16])?;
        }
        let set = |name: &str, path: &Path| format!("{name}={}", path.display());
        Ok([set("LD_PRELOAD", &self.library), set("SHIM_FOLDER", &folder), set("SHIM_DATA", data)])
    }

    fn switches(&self, process: Name) -> PathBuf {
        self.folder.join(process.folder())
    }

    fn switch(&self, process: Name, name: &str, content: Option<&str>) -> Result<()> {
        let file = self.switches(process).join(name);
        match content {
            Some(content) => fs::write(file, content)?,
            None => match fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            },
        }
        Ok(())
    }

    /// From now on every sync of this process fails, or no longer.
    ///
    /// # Errors
    /// If the switch cannot be set.
    pub fn fail_syncs(&self, process: Name, fail: bool) -> Result<()> {
        self.switch(process, "fail", fail.then_some(""))
    }

    /// From now on every sync of this process takes so many milliseconds longer; with `None`, no longer.
    ///
    /// # Errors
    /// If the switch cannot be set.
    pub fn slow_syncs(&self, process: Name, milliseconds: Option<u64>) -> Result<()> {
        self.switch(process, "slow", milliseconds.map(|it| it.to_string()).as_deref())
    }

    /// From now on the disk of this process lies: a sync succeeds and keeps nothing.
    ///
    /// # Errors
    /// If the switch cannot be set.
    pub fn lie(&self, process: Name) -> Result<()> {
        self.switch(process, "lie", Some(""))
    }

    /// Puts a process's wall clock so many seconds ahead of the real one, or behind it.
    ///
    /// # Errors
    /// If it cannot be set.
    pub fn set_clock(&self, process: Name, seconds: i64) -> Result<()> {
        let clock = OpenOptions::new().write(true).open(self.switches(process).join("clock"))?;
        Ok(clock.write_all_at(&(seconds * 1_000_000_000).to_ne_bytes(), 0)?)
    }

    /// How often a process has read a wall clock that was wrong.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn wrong_times(&self, process: Name) -> Result<i64> {
        let mut count = [0; 8];
        File::open(self.switches(process).join("clock"))?.read_exact_at(&mut count, 8)?;
        Ok(i64::from_ne_bytes(count))
    }

    /// How often a process has synced a file of its own.
    ///
    /// # Errors
    /// If the notes cannot be read.
    pub fn syncs(&self, process: Name) -> Result<usize> {
        Ok(self.notes(process)?.lines().filter(|line| !line.ends_with(FAILED)).count())
    }

    fn notes(&self, process: Name) -> Result<String> {
        match fs::read_to_string(self.switches(process).join("synced")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            notes => Ok(notes?),
        }
    }

    /// Takes what a process that has been killed had not synced: each of its files is cut somewhere between where it was
    /// synced and its end.
    ///
    /// # Errors
    /// If a file cannot be cut.
    pub fn cut_power(&self, process: Name, data: &Path, draw: &mut Draw) -> Result<Lost> {
        let synced = parse(&self.notes(process)?)?;
        let mut lost = Lost::default();
        let mut kept = String::new();
        let mut seen = HashSet::new();
        for path in files(data)? {
            let about = path.metadata()?;
            let (inode, written) = (about.ino(), about.len());
            // A checkpoint's files have two names.
            if !seen.insert(inode) {
                continue;
            }
            let synced = synced.get(&inode).copied().unwrap_or(0).min(written);
            if written > synced {
                let left = cut(&path, synced, written, draw)?;
                lost.files += 1;
                lost.bytes += written - left;
            }
            // What is there when the power is back is there to stay.
            kept.push_str(&format!("{inode} {}\n", path.metadata()?.len()));
        }
        fs::write(self.switches(process).join("synced"), kept)?;
        Ok(lost)
    }
}

/// How much of each inode is on disk. What is written after a sync that failed lies behind a hole: it does not count.
fn parse(notes: &str) -> Result<HashMap<u64, u64>> {
    let (mut sizes, mut failed) = (HashMap::new(), HashSet::new());
    for line in notes.lines() {
        let wrong = || format!("not a note of a sync: {line}");
        let (inode, size) = line.split_once(' ').with_context(wrong)?;
        let inode: u64 = inode.parse().with_context(wrong)?;
        if size == FAILED {
            failed.insert(inode);
        } else if !failed.contains(&inode) {
            sizes.insert(inode, size.parse().with_context(wrong)?);
        }
    }
    Ok(sizes)
}

/// Cuts a file, mostly exactly where it was synced; returns its new length.
fn cut(path: &Path, synced: u64, written: u64, draw: &mut Draw) -> Result<u64> {
    let left = if draw.one_in(2) { synced } else { synced + draw.below(written - synced + 1) };
    File::options().write(true).open(path)?.set_len(left)?;
    Ok(left)
}
