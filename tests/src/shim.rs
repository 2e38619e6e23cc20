//! What stands between a process and its disk and clock: a library that is loaded before all others (`LD_PRELOAD`).
//!
//! It notes how much of each file has been synced, so that a power cut can be played: kill the processes, then cut every
//! file back to where it was synced, or a little behind it. On command, syncs fail or take long, and the wall clock jumps.
//! The monotonic clock is never touched: leases rest on it, see `docs/leases.md`.
//!
//! What is left of a file is its beginning, as on a file system that makes a file longer only once the data is there (ext4
//! with ordered data, XFS); zeros or old blocks in its place are not played. Files that were removed or replaced do not
//! come back.

mod power;

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

pub use self::power::Lost;
use crate::{Name, chaos::Draw};

const SOURCE: &str = include_str!("shim/shim.c");

/// The library, and the folder with the switches of all processes.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    folder: PathBuf,
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

    /// How many syncs of a process's own files were made slow.
    ///
    /// # Errors
    /// If the notes cannot be read.
    pub fn slowed(&self, process: Name) -> Result<usize> {
        Ok(self.notes(process)?.lines().filter(|line| line.ends_with(power::SLOW)).count())
    }

    fn notes(&self, process: Name) -> Result<String> {
        match fs::read_to_string(self.switches(process).join("synced")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            notes => Ok(notes?),
        }
    }

    /// Takes what a process that has been killed had not synced: each of its files is cut somewhere between where it was
    /// synced and its end. With names, files are gone too, or have their earlier name, that were made or renamed since
    /// their folder was synced: POSIX promises no more, although most file systems do.
    ///
    /// # Errors
    /// If a file cannot be cut.
    pub fn cut_power(&self, process: Name, data: &Path, with_names: bool, draw: &mut Draw) -> Result<Lost> {
        let lost = power::cut(&self.notes(process)?, data, with_names, draw)?;
        // What is there when the power is back is there to stay.
        fs::write(self.switches(process).join("synced"), power::notes_of(data)?)?;
        Ok(lost)
    }
}
