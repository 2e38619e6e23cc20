//! A snapshot as a flat folder of files, and the manifest by which its copy is checked.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Most files in a snapshot.
pub const SNAPSHOT_FILES_MAX: usize = 100_000;
/// How much is read at a time to compute a checksum.
const READ_BYTES: usize = 256 * 1024;

/// A folder that holds one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDir {
    /// Where it is.
    pub path: PathBuf,
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// Its name in the folder.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// CRC-32 of its content.
    pub crc32: u32,
}

impl SnapshotDir {
    /// The files with their sizes and checksums, by name. Reads all of them: call it where blocking is allowed.
    ///
    /// # Errors
    /// If the folder cannot be read, or holds anything but files.
    pub fn files(&self) -> io::Result<Vec<SnapshotFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name| self.invalid(&format!("the name {name:?}")))?;
            if !entry.file_type()?.is_file() {
                return Err(self.invalid(&format!("'{name}', which is not a file")));
            }
            let (bytes, crc32) = checksum(&entry.path())?;
            files.push(SnapshotFile { name, bytes, crc32 });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// Checks that the folder holds exactly the files of a manifest. Reads all of them: call it where blocking is
    /// allowed.
    ///
    /// # Errors
    /// If a file is missing, superfluous, or of another size or content; the message names it.
    pub fn verify(&self, manifest: &[SnapshotFile]) -> io::Result<()> {
        let found = self.files()?;
        for expected in manifest {
            match found.iter().find(|file| file.name == expected.name) {
                None => return Err(damaged(&format!("'{}' is missing", expected.name))),
                Some(file) if file != expected => {
                    return Err(damaged(&format!(
                        "'{}' has {} bytes with checksum {:08x}, expected were {} bytes with {:08x}",
                        file.name, file.bytes, file.crc32, expected.bytes, expected.crc32
                    )));
                }
                Some(_) => {}
            }
        }
        if found.len() == manifest.len() {
            Ok(())
        } else {
            Err(damaged(&format!("{} files were found, expected were {}", found.len(), manifest.len())))
        }
    }

    /// Makes the files and the folder durable. Blocks.
    ///
    /// # Errors
    /// If a file cannot be synced.
    pub fn sync(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            File::open(entry?.path())?.sync_all()?;
        }
        File::open(&self.path)?.sync_all()
    }

    fn invalid(&self, what: &str) -> io::Error {
        damaged(&format!("{} holds {what}", self.path.display()))
    }
}

/// Checks a manifest that came over the network before any of its names is used as a path.
///
/// # Errors
/// If there are too many files, a name is given twice, or is not a plain file name.
pub fn check_manifest(manifest: &[SnapshotFile]) -> io::Result<()> {
    if manifest.len() > SNAPSHOT_FILES_MAX {
        return Err(damaged(&format!("{} files are more than {SNAPSHOT_FILES_MAX}", manifest.len())));
    }
    let mut names = BTreeSet::new();
    for SnapshotFile { name, .. } in manifest {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 255 || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(damaged(&format!("{name:?} is not the name of a snapshot's file")));
        }
        if !names.insert(name) {
            return Err(damaged(&format!("'{name}' is given twice")));
        }
    }
    Ok(())
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot is damaged: {what}"))
}

/// Size in bytes and CRC-32 of a file.
fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hasher.finalize())),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (tempfile::TempDir, SnapshotDir) {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("CURRENT"), b"MANIFEST-000001\n").unwrap();
        fs::write(folder.path().join("000012.sst"), vec![3; READ_BYTES + 1]).unwrap();
        fs::write(folder.path().join("empty"), b"").unwrap();
        let dir = SnapshotDir { path: folder.path().to_owned() };
        (folder, dir)
    }

    fn refusal(dir: &SnapshotDir, manifest: &[SnapshotFile]) -> String {
        dir.verify(manifest).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_agrees_with_its_own_manifest() {
        let (_folder, dir) = filled();
        let files = dir.files().unwrap();
        let sizes: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(sizes, [("000012.sst", READ_BYTES as u64 + 1), ("CURRENT", 16), ("empty", 0)]);
        dir.verify(&files).unwrap();
        check_manifest(&files).unwrap();
        dir.sync().unwrap();
    }

    #[test]
    fn a_changed_missing_or_superfluous_file_is_found() {
        let (_folder, dir) = filled();
        let files = dir.files().unwrap();
        fs::write(dir.path.join("CURRENT"), b"MANIFEST-000002\n").unwrap();
        assert!(refusal(&dir, &files).contains("'CURRENT' has 16 bytes"));
        fs::remove_file(dir.path.join("CURRENT")).unwrap();
        assert!(refusal(&dir, &files).contains("'CURRENT' is missing"));
        assert!(refusal(&dir, &files[..1]).contains("2 files were found"));
    }

    #[test]
    fn a_folder_in_the_folder_is_refused() {
        let (_folder, dir) = filled();
        fs::create_dir(dir.path.join("inner")).unwrap();
        assert!(dir.files().unwrap_err().to_string().contains("'inner', which is not a file"));
    }

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b", ".hidden", "a\\b"] {
            let file = SnapshotFile { name: name.into(), bytes: 1, crc32: 0 };
            check_manifest(&[file]).unwrap_err();
        }
        let file = SnapshotFile { name: "a".into(), bytes: 1, crc32: 0 };
        check_manifest(std::slice::from_ref(&file)).unwrap();
        check_manifest(&[file.clone(), file]).unwrap_err();
    }
}
