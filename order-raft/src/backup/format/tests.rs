//! The file of a backup: what is written is read back, and damage anywhere in it is found.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Files in memory, as a source and as a sink.
type Contents = BTreeMap<String, Vec<u8>>;

impl Files for &Contents {
    type File = Cursor<Vec<u8>>;

    fn open(&mut self, file: &SnapshotFile) -> io::Result<Self::File> {
        Ok(Cursor::new(self[&file.name].clone()))
    }
}

struct Written(std::rc::Rc<std::cell::RefCell<Contents>>);

struct WrittenFile(std::rc::Rc<std::cell::RefCell<Contents>>, String);

impl Sink for Written {
    type File = WrittenFile;

    fn create(&mut self, file: &SnapshotFile) -> io::Result<WrittenFile> {
        self.0.borrow_mut().insert(file.name.clone(), Vec::new());
        Ok(WrittenFile(std::rc::Rc::clone(&self.0), file.name.clone()))
    }
}

impl Write for WrittenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().get_mut(&self.1).unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives at most so many bytes at a time.
struct Slowly<R>(R, usize);

impl<R: Read> Read for Slowly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(self.1);
        self.0.read(&mut buffer[..wanted])
    }
}

fn manifest_of(contents: &Contents) -> Manifest {
    let files = contents.iter().map(|(name, content)| SnapshotFile {
        name: name.clone(),
        bytes: content.len() as u64,
        crc32: crc32fast::hash(content),
    });
    Manifest {
        cluster_id: "c".into(),
        replica: 2,
        term: 3,
        index: 70,
        orders: 50,
        digest: "ab".into(),
        taken_unix_s: 1_000_000_000,
        data_format: 2,
        files: files.collect(),
    }
}

fn archive_of(contents: &Contents) -> Vec<u8> {
    let mut bytes = Vec::new();
    Archive::new(&manifest_of(contents), contents).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn small() -> Vec<u8> {
    let contents = [("CURRENT", "MANIFEST-5\n"), ("empty", ""), ("000012.sst", "some orders")];
    archive_of(&contents.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into())
}

#[test]
fn every_flipped_byte_is_detected() {
    let archive = small();
    read_archive(&archive[..], &mut Nowhere).unwrap();
    for position in 0..archive.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut flipped = archive.clone();
            flipped[position] ^= flip;
            let found = read_archive(&flipped[..], &mut Nowhere);
            assert!(found.is_err(), "byte {position} ^ {flip:02x} of {} is not noticed", archive.len());
        }
    }
}

#[test]
fn every_truncation_is_called_one() {
    let archive = small();
    for length in 0..archive.len() {
        let error = read_archive(&archive[..length], &mut Nowhere).unwrap_err();
        assert!(matches!(error, ArchiveError::Truncated(_)), "{length} of {}: {error}", archive.len());
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    let mut archive = small();
    archive.push(0);
    let error = read_archive(&archive[..], &mut Nowhere).unwrap_err().to_string();
    assert!(error.contains("something follows its end"), "{error}");
}

#[test]
fn a_foreign_file_and_another_format_are_named() {
    let error = read_archive(&b"letters"[..], &mut Nowhere).unwrap_err();
    assert!(matches!(error, ArchiveError::Foreign), "{error}");
    let mut newer = small();
    newer[11] = 2;
    let error = read_archive(&newer[..], &mut Nowhere).unwrap_err().to_string();
    assert!(error.contains("format 2, this program reads format 1"), "{error}");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let mut contents = Contents::from([("a".to_owned(), b"long".to_vec())]);
    let manifest = manifest_of(&contents);
    contents.insert("a".into(), b"lo".to_vec());
    let error = Archive::new(&manifest, &contents).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("2 bytes shorter"), "{error}");
}

#[test]
fn names_that_could_leave_the_folder_are_refused_on_both_sides() {
    let contents = Contents::from([("../x".to_owned(), b"1".to_vec())]);
    Archive::new(&manifest_of(&contents), &contents).unwrap_err();
    let mut archive = head(&manifest_of(&contents)).unwrap();
    archive.push(b'1');
    let error = read_archive(&archive[..], &mut Nowhere).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged(_)), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read_in_whatever_pieces(
        contents in prop::collection::btree_map("[a-zA-Z0-9][a-z0-9._-]{0,12}", prop::collection::vec(any::<u8>(), 0..3_000), 0..6),
        pieces in 1..700_usize,
    ) {
        let archive = archive_of(&contents);
        let mut in_pieces = Vec::new();
        let source = Archive::new(&manifest_of(&contents), &contents).unwrap();
        Slowly(source, pieces).read_to_end(&mut in_pieces).unwrap();
        prop_assert_eq!(&in_pieces, &archive);
        let written = std::rc::Rc::default();
        let found = read_archive(Slowly(&archive[..], pieces), &mut Written(std::rc::Rc::clone(&written))).unwrap();
        prop_assert_eq!(&*written.borrow(), &contents);
        prop_assert_eq!(found.manifest, manifest_of(&contents));
        prop_assert_eq!(found.bytes, archive.len() as u64);
    }
}
