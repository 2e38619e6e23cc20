//! The file of a backup: any bytes, and archives with right checksums, so that everything behind those is reached.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Cursor, Read, Write},
    rc::Rc,
};

use arbitrary::{Result, Unstructured};

use super::{selected, with_selector};
use crate::{
    backup::format::{Archive, ArchiveError, Files, MAGIC, Manifest, Sink, Verified, read_archive},
    snapshot_dir::{SnapshotFile, check_manifest},
};

/// As it comes; with the checksums made right; made up; made up, with one byte changed.
const KINDS: usize = 4;
/// Files of a made-up backup.
const FILES_MAX: usize = 5;
/// Bytes of one of them.
const FILE_BYTES_MAX: usize = 600;

/// Files in memory, as a source and as a sink. No name comes twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Contents(BTreeMap<String, Rc<RefCell<Vec<u8>>>>);

struct Written(Rc<RefCell<Vec<u8>>>);

impl Files for &Contents {
    type File = Cursor<Vec<u8>>;

    fn open(&mut self, file: &SnapshotFile) -> io::Result<Self::File> {
        Ok(Cursor::new(self.0[&file.name].borrow().clone()))
    }
}

impl Sink for Contents {
    type File = Written;

    fn create(&mut self, file: &SnapshotFile) -> io::Result<Written> {
        let content = Rc::default();
        let before = self.0.insert(file.name.clone(), Rc::clone(&content));
        assert!(before.is_none(), "'{}' is written twice", file.name);
        Ok(Written(content))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A backup, of the kind that the first byte chooses.
pub(crate) fn backups(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = selected(bytes, KINDS) else { return false };
    match kind {
        0 => taken(rest).is_some(),
        1 => taken(&with_right_checksums(rest)).is_some(),
        2 => made_up(&mut Unstructured::new(rest)).is_ok(),
        _ => changed(&mut Unstructured::new(rest)).unwrap_or(false),
    }
}

/// Reads an archive. One that is taken holds the files of its manifest, and is the only one that does.
fn taken(archive: &[u8]) -> Option<(Verified, Contents)> {
    let mut contents = Contents::default();
    let verified = read_archive(archive, &mut contents).ok()?;
    assert_eq!(verified.bytes, archive.len() as u64);
    let names: Vec<&String> = contents.0.keys().collect();
    assert_eq!(names.len(), verified.manifest.files.len());
    for file in &verified.manifest.files {
        let content = contents.0[&file.name].borrow();
        assert_eq!((content.len() as u64, crc32fast::hash(&content)), (file.bytes, file.crc32));
    }
    let again = write(&verified.manifest, &contents);
    let (second, same) = (&mut Contents::default(), &verified.manifest);
    let read = read_archive(&again[..], second).expect("what was written is read");
    assert_eq!((&read.manifest, &*second), (same, &contents));
    Some((verified, contents))
}

fn write(manifest: &Manifest, contents: &Contents) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut source = Archive::new(manifest, contents).expect("a manifest that was taken can be written");
    source.read_to_end(&mut archive).expect("reading from memory does not fail");
    archive
}

/// Takes the bytes for a manifest and, behind a zero byte, the content of its files, and puts an archive together in
/// which everything is right that can be computed.
fn with_right_checksums(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, content) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let text = manifest_that_fits(text, content).unwrap_or_else(|| text.to_vec());
    let length = u32::try_from(text.len()).expect("an input is small");
    let mut archive = [&MAGIC[..], &1_u32.to_be_bytes(), &length.to_be_bytes(), &text].concat();
    archive.extend_from_slice(&crc32fast::hash(&archive).to_be_bytes());
    archive.extend_from_slice(content);
    let whole = blake3::hash(&archive);
    archive.extend_from_slice(whole.as_bytes());
    archive
}

/// The manifest with the checksums that its files have, if it is one.
fn manifest_that_fits(text: &[u8], mut content: &[u8]) -> Option<Vec<u8>> {
    let mut manifest: Manifest = serde_json::from_slice(text).ok()?;
    for file in &mut manifest.files {
        let bytes = usize::try_from(file.bytes).unwrap_or(usize::MAX).min(content.len());
        let (own, rest) = content.split_at(bytes);
        (file.crc32, content) = (crc32fast::hash(own), rest);
    }
    serde_json::to_vec(&manifest).ok()
}

/// A backup of a few files is read back as it was written.
fn made_up(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut contents = Contents::default();
    for _ in 0..u.int_in_range(0..=FILES_MAX)? {
        let name = (*u.choose(&["CURRENT", "000012.sst", "MANIFEST-000005", "OPTIONS-000007", "a"])?).to_owned();
        let length = u.int_in_range(0..=FILE_BYTES_MAX)?.min(u.len());
        contents.0.insert(name, Rc::new(RefCell::new(u.bytes(length)?.to_vec())));
    }
    let manifest = manifest(&contents, u.arbitrary()?);
    check_manifest(&manifest.files).expect("the names are plain");
    let archive = write(&manifest, &contents);
    let (verified, found) = taken(&archive).expect("what was written is read");
    assert_eq!((verified.manifest, found), (manifest, contents));
    Ok(archive)
}

/// A backup with a byte that was changed, removed or added anywhere is refused, and not as something else than it is.
fn changed(u: &mut Unstructured<'_>) -> Result<bool> {
    let archive = made_up(u)?;
    let place = u.int_in_range(0..=archive.len() - 1)?;
    let mut damaged = archive.clone();
    match u.int_in_range(0..=2)? {
        0 => damaged[place] ^= u.int_in_range(1..=255_u8)?,
        1 => damaged.truncate(place),
        _ => damaged.insert(place, u.arbitrary()?),
    }
    let error = read_archive(&damaged[..], &mut Contents::default()).expect_err("a damaged backup is refused");
    assert!(!matches!(error, ArchiveError::Unreadable(_) | ArchiveError::Unwritable(_)), "{error}");
    Ok(true)
}

fn manifest(contents: &Contents, index: u64) -> Manifest {
    let files = contents.0.iter().map(|(name, content)| {
        let content = content.borrow();
        SnapshotFile { name: name.clone(), bytes: content.len() as u64, crc32: crc32fast::hash(&content) }
    });
    Manifest {
        cluster_id: "bazaar-0123456789abcdef".into(),
        replica: 2,
        term: 3,
        index,
        orders: 50,
        digest: "ab".repeat(32),
        taken_unix_s: 1_000_000_000,
        data_format: crate::run::DATA_FORMAT,
        files: files.collect(),
    }
}

/// A small backup, as it is, as its parts, and to be made up.
pub(crate) fn backup_seeds() -> Vec<Vec<u8>> {
    let files = [("CURRENT", b"MANIFEST-000005\n".as_slice()), ("000012.sst", b"some orders"), ("empty", b"")];
    let contents = files.map(|(name, content)| (name.to_owned(), Rc::new(RefCell::new(content.to_vec()))));
    let contents = Contents(contents.into());
    let manifest = manifest(&contents, 70);
    let text = serde_json::to_vec(&manifest).expect("a manifest is plain JSON");
    let all: Vec<u8> = contents.0.values().flat_map(|content| content.borrow().clone()).collect();
    let numbers: Vec<u8> = (0..200).collect();
    vec![
        with_selector(0, &write(&manifest, &contents)),
        with_selector(1, &[&text[..], &[0], &all].concat()),
        with_selector(2, &numbers),
        with_selector(3, &numbers),
    ]
}
