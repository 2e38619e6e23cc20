//! Writing keys and certificates, so that nobody else reads a key and no reader sees half a file.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context, Result};

/// The mode of a key's file.
pub(super) const PRIVATE: u32 = 0o600;
/// The mode of a certificate's file.
pub(super) const PUBLIC: u32 = 0o644;

/// Makes the folder, if it is not there.
pub(super) fn make_folder(dir: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.with_context(|| format!("the folder {} cannot be made", dir.display()))
}

/// Writes a file that must not be there yet.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("{} cannot be written", path.display()))
}

/// Writes a file over the one that may be there.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    // One that was left by somebody who was stopped half-way.
    let _ = fs::remove_file(new);
    write_new(new, text, mode)?;
    fs::rename(new, path).with_context(|| format!("{} cannot be written", path.display()))
}
