//! A snapshot that arrives: what is installed is exactly what was offered, and nothing else leaves a trace.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use tempfile::TempDir;

use super::{meta, vote};
use crate::{
    fuzzed::{selected, with_selector},
    network::{
        frame::{self, Call, Request, SnapshotOffer},
        snapshot_receive::{IncomingRoot, IncomingSnapshot},
    },
    snapshot_dir::{SnapshotDir, SnapshotFile, check_manifest},
};

/// Messages as they come, and transfers whose checksums fit so that everything behind them is reached.
const KINDS: usize = 2;
/// Files of a made-up snapshot.
const FILES_MAX: usize = 5;
/// Bytes of one of them.
const FILE_BYTES_MAX: usize = 600;
/// Calls of a transfer: a long input must not fill the disk.
const CALLS_MAX: usize = 100;
/// Names that files could have, some of which would leave the folder.
const NAMES: [&str; 9] = ["CURRENT", "000012.sst", "MANIFEST-000005", "a", "../a", "/a", ".", "a/b", ".hidden"];

thread_local! {
    /// One folder for all runs: what a transfer leaves there is a fault.
    static FOLDER: TempDir = TempDir::new().expect("a temporary folder can be made");
}

fn folder() -> PathBuf {
    FOLDER.with(|folder| folder.path().to_owned())
}

/// A transfer, of the kind that the first byte chooses.
pub(crate) fn snapshots(bytes: &[u8]) -> bool {
    let Some((kind, transfer)) = selected(bytes, KINDS) else { return false };
    let taken = match kind {
        0 => receive(calls(transfer)).is_ok(),
        _ => made_up(&mut Unstructured::new(transfer)).unwrap_or(false),
    };
    let left = fs::read_dir(folder()).expect("the folder is there").count();
    assert_eq!(left, 0, "a transfer that is over leaves nothing behind");
    taken
}

/// Calls as records, each behind its length in two bytes.
fn calls(mut bytes: &[u8]) -> Vec<Call> {
    let mut calls = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>()
        && let Some((record, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        && let Ok(Request { call, .. }) = frame::decode(record)
    {
        calls.push(call);
        bytes = rest;
    }
    calls.truncate(CALLS_MAX);
    calls
}

/// Receives a snapshot as the server does, and checks what it would install.
fn receive(calls: Vec<Call>) -> io::Result<()> {
    let root = IncomingRoot::new(folder());
    let mut incoming = None;
    for call in calls {
        match (call, incoming.take()) {
            (Call::SnapshotBegin(offer), None) => {
                let files = offer.files.clone();
                incoming = Some((files, IncomingSnapshot::begin(&root, *offer)?));
            }
            (Call::SnapshotChunk(chunk), Some((files, mut snapshot))) => {
                snapshot.take(&chunk)?;
                incoming = Some((files, snapshot));
            }
            (Call::SnapshotEnd, Some((files, snapshot))) => {
                let received = snapshot.finish()?;
                received.described();
                check_received(received.path(), &files);
                return Ok(());
            }
            _ => break,
        }
    }
    Err(io::Error::other("a transfer without an end"))
}

/// The folder holds the files of the manifest, each once, with their sizes and checksums.
fn check_received(folder: &Path, manifest: &[SnapshotFile]) {
    let mut expected = manifest.to_vec();
    expected.sort_by(|a, b| a.name.cmp(&b.name));
    let found = SnapshotDir { path: folder.to_owned() }.files().expect("it was just received");
    assert_eq!(found, expected, "what is installed is what was offered");
    for file in manifest {
        let path = folder.join(&file.name);
        assert_eq!(path.parent(), Some(folder), "'{}' is no plain file name", file.name);
        let content = fs::read(&path).expect("it was just received");
        assert_eq!((content.len() as u64, crc32fast::hash(&content)), (file.bytes, file.crc32));
    }
}

/// What goes wrong with a transfer that was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A bit of a chunk flips.
    Flip(usize),
    /// The chunk at this place does not arrive.
    Lost(usize),
    /// It arrives twice.
    Twice(usize),
    /// The end comes instead of it.
    Early(usize),
}

/// A snapshot of a few files, sent in pieces, with at most one fault; it is taken if and only if there is none.
fn made_up(u: &mut Unstructured<'_>) -> Result<bool> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for _ in 0..u.int_in_range(0..=FILES_MAX)? {
        let name = (*u.choose(&NAMES)?).to_owned();
        let length = u.int_in_range(0..=FILE_BYTES_MAX)?;
        let length = length.min(u.len());
        files.push((name, u.bytes(length)?.to_vec()));
    }
    let piece = u.int_in_range(1..=FILE_BYTES_MAX)?;
    let mut chunks: Vec<Vec<u8>> =
        files.iter().flat_map(|(_, content)| content.chunks(piece).map(<[u8]>::to_vec)).collect();
    let manifest: Vec<SnapshotFile> = files.iter().map(|(name, content)| listed(name, content)).collect();
    let fault = fault(u, chunks.len())?;
    apply(fault, &mut chunks);
    let names_fit = check_manifest(&manifest).is_ok();
    assert_eq!(names_fit, are_plain(&manifest), "{manifest:?}");
    let begin = Call::SnapshotBegin(Box::new(SnapshotOffer { vote: vote(), meta: meta(), files: manifest }));
    let chunks = chunks.into_iter().map(|chunk| Call::SnapshotChunk(Bytes::from(chunk)));
    let taken = receive([begin].into_iter().chain(chunks).chain([Call::SnapshotEnd]).collect()).is_ok();
    assert_eq!(taken, names_fit && fault == Fault::None, "{fault:?}, names that fit: {names_fit}");
    Ok(taken)
}

fn listed(name: &str, content: &[u8]) -> SnapshotFile {
    SnapshotFile { name: name.to_owned(), bytes: content.len() as u64, crc32: crc32fast::hash(content) }
}

/// Whether all names are of files in the folder itself, and different: as the operating system sees them.
fn are_plain(manifest: &[SnapshotFile]) -> bool {
    let names: HashSet<&str> = manifest.iter().map(|file| file.name.as_str()).collect();
    let is_plain =
        |name: &&str| Path::new(name).file_name().is_some_and(|last| last == *name) && !name.starts_with('.');
    names.len() == manifest.len() && names.iter().all(is_plain)
}

fn fault(u: &mut Unstructured<'_>, chunks: usize) -> Result<Fault> {
    let Some(last) = chunks.checked_sub(1) else { return Ok(Fault::None) };
    let place = u.int_in_range(0..=last)?;
    let faults = [Fault::None, Fault::Flip(place), Fault::Lost(place), Fault::Twice(place), Fault::Early(place)];
    Ok(*u.choose(&faults)?)
}

fn apply(fault: Fault, chunks: &mut Vec<Vec<u8>>) {
    match fault {
        Fault::None => {}
        Fault::Flip(place) => chunks[place][0] ^= 1,
        Fault::Lost(place) => drop(chunks.remove(place)),
        Fault::Twice(place) => chunks.insert(place, chunks[place].clone()),
        Fault::Early(place) => chunks.truncate(place),
    }
}

/// A whole transfer, as messages, and one to be made up.
pub(crate) fn snapshot_seeds() -> Vec<Vec<u8>> {
    let contents = [("000012.sst", b"some orders".as_slice()), ("CURRENT", b"MANIFEST-000005\n"), ("empty", b"")];
    let files = contents.map(|(name, content)| listed(name, content)).to_vec();
    let begin = Call::SnapshotBegin(Box::new(SnapshotOffer { vote: vote(), meta: meta(), files }));
    let chunks = contents.into_iter().filter(|(_, content)| !content.is_empty());
    let chunks = chunks.map(|(_, content)| Call::SnapshotChunk(Bytes::from_static(content)));
    let calls = [begin].into_iter().chain(chunks).chain([Call::SnapshotEnd]).zip(1..);
    let records = calls.map(|(call, id)| frame::encode(&Request { id, call }));
    let sent = records.flat_map(|record| {
        let length = u16::try_from(record.len()).expect("small");
        [&length.to_be_bytes(), &record[..]].concat()
    });
    let sent: Vec<u8> = sent.collect();
    vec![with_selector(0, &sent), with_selector(1, &(0..200).collect::<Vec<u8>>())]
}
