//! The file of a backup, over [`Read`] and [`Write`].
//!
//! ```text
//! head     "BAZAARBK", format (u32), length of the manifest (u32), manifest (JSON), CRC-32 of all that (u32)
//! files    their bytes, in the order of the manifest, which has their sizes and CRC-32
//! trailer  BLAKE3 of head and files (32 bytes); nothing follows it
//! ```
//!
//! Numbers are big-endian. The checksums of head and files say where a damage is, the trailer that nothing is missing.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Cursor, Read, Write},
};

use bazaar_domain::ReplicaId;
use serde::{Deserialize, Serialize};

use crate::snapshot_dir::{SnapshotDir, SnapshotFile, check_manifest};

pub(crate) const MAGIC: [u8; 8] = *b"BAZAARBK";
const FORMAT: u32 = 1;
/// Largest manifest: that of a snapshot with as many files as there may be, with room to spare.
const MANIFEST_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// How much of a file is read at a time.
const READ_BYTES: usize = 256 * 1024;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The cluster it was taken from.
    pub cluster_id: String,
    /// The replica that made it.
    pub replica: ReplicaId,
    /// Term of the last applied log entry.
    pub term: u64,
    /// Index of the last applied log entry.
    pub index: u64,
    /// How many orders it holds.
    pub orders: u64,
    /// The digest over the orders, in hexadecimal.
    pub digest: String,
    /// When it was taken, in seconds since 1970 by the replica's clock.
    pub taken_unix_s: u64,
    /// Format of the data directory that the files are from.
    pub data_format: u32,
    /// The files of the state database.
    pub files: Vec<SnapshotFile>,
}

/// A backup that was read to its end and is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// What it holds.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Size of the whole, in bytes.
    pub bytes: u64,
    /// The checksum of the whole (BLAKE3), in hexadecimal.
    pub checksum: String,
}

/// What is wrong with a backup.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It begins otherwise.
    #[error("it is no backup of the bazaar")]
    Foreign,
    /// It was written in a form that is not known here.
    #[error("it has backup format {0}, this program reads format {FORMAT}")]
    OtherFormat(u32),
    /// It ends too early.
    #[error("it is truncated: it ends within {0}")]
    Truncated(String),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It could not be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// What is in it could not be stored.
    #[error("its content cannot be written: {0}")]
    Unwritable(io::Error),
}

/// Where the files of a backup come from.
pub trait Files {
    /// An open file.
    type File: Read;

    /// Opens a file of the manifest.
    ///
    /// # Errors
    /// If it cannot be opened.
    fn open(&mut self, file: &SnapshotFile) -> io::Result<Self::File>;
}

impl Files for SnapshotDir {
    type File = File;

    fn open(&mut self, file: &SnapshotFile) -> io::Result<File> {
        File::open(self.path.join(&file.name))
    }
}

/// Where the files of a backup go.
pub trait Sink {
    /// An open file.
    type File: Write;

    /// Makes a file of the manifest. Its name was checked: it is a plain file name, given once.
    ///
    /// # Errors
    /// If it cannot be made.
    fn create(&mut self, file: &SnapshotFile) -> io::Result<Self::File>;
}

impl Sink for SnapshotDir {
    type File = File;

    fn create(&mut self, file: &SnapshotFile) -> io::Result<File> {
        File::create_new(self.path.join(&file.name))
    }
}

/// Keeps nothing: the backup is only checked.
#[derive(Debug)]
pub struct Nowhere;

impl Sink for Nowhere {
    type File = io::Sink;

    fn create(&mut self, _file: &SnapshotFile) -> io::Result<io::Sink> {
        Ok(io::sink())
    }
}

/// A backup being made: reading from it gives the bytes of the backup, one file open at a time.
#[derive(Debug)]
pub struct Archive<F: Files> {
    files: F,
    left: VecDeque<SnapshotFile>,
    part: Part<F::File>,
    whole: blake3::Hasher,
}

#[derive(Debug)]
enum Part<R> {
    Head(Cursor<Vec<u8>>),
    File(io::Take<R>),
    Trailer(Cursor<Vec<u8>>),
}

impl<F: Files> Archive<F> {
    /// The backup with this manifest and the files that it names.
    ///
    /// # Errors
    /// If the manifest is too large, or has names that nobody would take.
    pub fn new(manifest: &Manifest, files: F) -> io::Result<Self> {
        check_manifest(&manifest.files)?;
        Ok(Self {
            files,
            left: manifest.files.iter().cloned().collect(),
            part: Part::Head(Cursor::new(head(manifest)?)),
            whole: blake3::Hasher::new(),
        })
    }

    fn next_part(&mut self) -> io::Result<Part<F::File>> {
        if let Part::File(file) = &self.part
            && file.limit() > 0
        {
            let what = format!("a file of the backup became {} bytes shorter", file.limit());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        match self.left.pop_front() {
            Some(file) => Ok(Part::File(self.files.open(&file)?.take(file.bytes))),
            None => Ok(Part::Trailer(Cursor::new(self.whole.finalize().as_bytes().to_vec()))),
        }
    }
}

impl<F: Files> Read for Archive<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            let read = match &mut self.part {
                Part::Head(head) => head.read(buffer)?,
                Part::File(file) => file.read(buffer)?,
                Part::Trailer(trailer) => return trailer.read(buffer),
            };
            if read > 0 {
                self.whole.update(&buffer[..read]);
                return Ok(read);
            }
            self.part = self.next_part()?;
        }
        Ok(0)
    }
}

fn head(manifest: &Manifest) -> io::Result<Vec<u8>> {
    let manifest = serde_json::to_vec(manifest).expect("a manifest is plain JSON");
    let length = u32::try_from(manifest.len()).ok().filter(|length| *length <= MANIFEST_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("the manifest of the backup is too large"))?;
    let mut head = [&MAGIC[..], &FORMAT.to_be_bytes(), &length.to_be_bytes(), &manifest].concat();
    let crc32 = crc32fast::hash(&head);
    head.extend_from_slice(&crc32.to_be_bytes());
    Ok(head)
}

/// Reads a backup to its end, checks all of it, and gives its files to `sink`. What went there is good only if this
/// succeeds.
///
/// # Errors
/// As [`ArchiveError`] says.
pub fn read_archive<S: Sink>(input: impl Read, sink: &mut S) -> Result<Verified, ArchiveError> {
    let mut input = Input { inner: input, whole: blake3::Hasher::new(), bytes: 0 };
    let manifest = read_head(&mut input)?;
    let mut buffer = vec![0; READ_BYTES];
    for file in &manifest.files {
        read_file(&mut input, file, sink, &mut buffer)?;
    }
    let expected = input.whole.finalize();
    let mut trailer = [0; blake3::OUT_LEN];
    input.exact(&mut trailer, "the checksum at its end")?;
    if trailer != *expected.as_bytes() {
        return Err(ArchiveError::Damaged("the checksum at its end does not match".into()));
    }
    if input.some(&mut [0])? > 0 {
        return Err(ArchiveError::Damaged("something follows its end".into()));
    }
    Ok(Verified { manifest, bytes: input.bytes, checksum: expected.to_hex().to_string() })
}

fn read_head(input: &mut Input<impl Read>) -> Result<Manifest, ArchiveError> {
    let mut magic = [0; MAGIC.len()];
    let found = input.up_to(&mut magic)?;
    if magic[..found] != MAGIC[..found] {
        return Err(ArchiveError::Foreign);
    }
    if found < magic.len() {
        return Err(truncated_head());
    }
    let (format, length) = (input.number()?, input.number()?);
    if format != FORMAT {
        return Err(ArchiveError::OtherFormat(format));
    }
    if length > MANIFEST_BYTES_MAX {
        return Err(ArchiveError::Damaged("its manifest is too large".into()));
    }
    let mut text = Vec::new();
    // The length is not trusted yet: memory is taken for what is there.
    let read = input.by_ref().take(length.into()).read_to_end(&mut text).map_err(ArchiveError::Unreadable)?;
    if read < length as usize {
        return Err(truncated_head());
    }
    let head = [&MAGIC[..], &format.to_be_bytes(), &length.to_be_bytes(), &text].concat();
    if input.number()? != crc32fast::hash(&head) {
        return Err(ArchiveError::Damaged("its head does not have its checksum".into()));
    }
    let damaged = |error: &dyn std::error::Error| ArchiveError::Damaged(format!("its manifest is wrong: {error}"));
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
    check_manifest(&manifest.files).map_err(|error| damaged(&error))?;
    Ok(manifest)
}

fn read_file<S: Sink>(
    input: &mut Input<impl Read>,
    file: &SnapshotFile,
    sink: &mut S,
    buffer: &mut [u8],
) -> Result<(), ArchiveError> {
    let mut output = sink.create(file).map_err(ArchiveError::Unwritable)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut left = file.bytes;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = input.some(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(ArchiveError::Truncated(format!("file '{}', {left} bytes before its end", file.name)));
        }
        hasher.update(&buffer[..read]);
        output.write_all(&buffer[..read]).map_err(ArchiveError::Unwritable)?;
        left -= read as u64;
    }
    output.flush().map_err(ArchiveError::Unwritable)?;
    if hasher.finalize() == file.crc32 {
        Ok(())
    } else {
        Err(ArchiveError::Damaged(format!("file '{}' does not have its checksum", file.name)))
    }
}

fn truncated_head() -> ArchiveError {
    ArchiveError::Truncated("its head".into())
}

/// Counts and hashes what is read.
struct Input<R> {
    inner: R,
    whole: blake3::Hasher,
    bytes: u64,
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.whole.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<R: Read> Input<R> {
    /// Reads what there is, at most a buffer full; 0 is the end.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        loop {
            match self.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(ArchiveError::Unreadable),
            }
        }
    }

    /// Fills the buffer as far as the input goes.
    fn up_to(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    fn exact(&mut self, buffer: &mut [u8], what: &str) -> Result<(), ArchiveError> {
        let found = self.up_to(buffer)?;
        if found == buffer.len() { Ok(()) } else { Err(ArchiveError::Truncated(what.into())) }
    }

    /// A number of the head.
    fn number(&mut self) -> Result<u32, ArchiveError> {
        let mut bytes = [0; 4];
        self.exact(&mut bytes, "its head")?;
        Ok(u32::from_be_bytes(bytes))
    }
}
