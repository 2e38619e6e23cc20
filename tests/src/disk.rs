//! Disks of replicas: small ones, copies of their folders.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Bytes that are written at once to fill a disk, and then to fill what is left.
const FILLED_AT_ONCE: [usize; 2] = [1 << 20, 4_096];

/// A file system of its own for one folder, gone when this is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Makes the folder, on a file system of so many MiB; `None`, with the reason printed, where that is not allowed.
    ///
    /// # Errors
    /// If the folder is there already, or `mount` cannot be run.
    pub fn mount(folder: &Path, mebibytes: u64) -> Result<Option<Self>> {
        fs::create_dir(folder)?;
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output()?;
        if mounted.status.success() {
            return Ok(Some(Self(folder.to_owned())));
        }
        println!("skipped: no file system can be mounted: {}", String::from_utf8_lossy(&mounted.stderr).trim());
        Ok(None)
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// If the file that fills it cannot be made.
    pub fn fill(&self) -> Result<Ballast> {
        let path = self.0.join("incoming").join("ballast");
        let mut ballast = Ballast { file: File::create(&path)?, path };
        ballast.fill();
        Ok(ballast)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached at once, and gone as soon as its last file is closed.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The file that fills a disk, gone when this is dropped.
#[derive(Debug)]
pub struct Ballast {
    file: File,
    path: PathBuf,
}

impl Ballast {
    /// Takes what has become free.
    pub fn fill(&mut self) {
        for bytes in FILLED_AT_ONCE {
            while self.file.write_all(&vec![0; bytes]).is_ok() {}
        }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Copies a folder with all that is in it, as it is.
///
/// # Errors
/// If it cannot.
pub fn copied(from: &Path, to: &Path) -> Result<()> {
    ensure!(Command::new("cp").arg("-a").args([from, to]).status()?.success(), "{} was not copied", from.display());
    Ok(())
}

/// Removes everything that a folder holds, but not the folder, on which a disk may be mounted.
///
/// # Errors
/// If it cannot.
pub fn emptied(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

/// All files below a folder, in order of their paths.
///
/// # Errors
/// If it cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
