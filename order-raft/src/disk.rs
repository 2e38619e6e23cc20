//! What to do about a disk that failed or lost something: said here, at the end of every message about it.

use bazaar_domain::codec::DecodeError;
use rocksdb::ErrorKind;

/// For what is damaged or missing. Nothing on this disk can stand in for it, but the other replicas have it.
pub const REPLACE: &str = "empty the replica's whole directory and replace the replica (bazaar members replace N)";
/// For a write that found no room.
const MAKE_ROOM: &str = "make room on the disk and start the replica again";
/// For a disk that refuses to read or write.
const LOOK_AFTER: &str = "look after the disk and start the replica again";

/// What an operator does about an error of RocksDB.
pub fn advice(error: &rocksdb::Error) -> &'static str {
    let text: &str = error.as_ref();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    // RocksDB hands the system's own words on, and nothing else that tells these apart.
    match error.kind() {
        _ if says(&["No space left", "File too large", "quota exceeded"]) => MAKE_ROOM,
        ErrorKind::Corruption | ErrorKind::NotFound | ErrorKind::NotSupported | ErrorKind::InvalidArgument => REPLACE,
        _ if says(&["No such file"]) => REPLACE,
        _ => LOOK_AFTER,
    }
}

/// An error of RocksDB in its own words, with what to do about it.
pub fn explained(error: &rocksdb::Error) -> String {
    format!("{error}; {}", advice(error))
}

/// Whether an error says that what was written is there, but not as it was written.
pub fn is_damage(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::Corruption && !error.as_ref().contains("No such file")
}

/// Whether an error only says that a file failed earlier: whoever used it then knows why.
pub fn is_aftermath(text: &str) -> bool {
    text.contains("Seen error")
}

/// A record that cannot be decoded, with what to do about it. One of another version is whole: it needs another build.
pub fn undecodable(error: &DecodeError) -> String {
    match error {
        DecodeError::Version { .. } => error.to_string(),
        _ => format!("{error}; {REPLACE}"),
    }
}

#[cfg(test)]
mod tests {
    use rocksdb::{DB, Options};

    use super::{REPLACE, explained, is_damage};

    #[test]
    fn a_damaged_or_missing_file_asks_for_a_replacement() {
        let folder = tempfile::tempdir().unwrap();
        drop(DB::open_default(folder.path()).unwrap());
        std::fs::write(folder.path().join("CURRENT"), "nonsense").unwrap();
        let damaged = DB::open_default(folder.path()).unwrap_err();
        assert!(is_damage(&damaged));
        assert!(explained(&damaged).ends_with(REPLACE), "{damaged}");
        std::fs::write(folder.path().join("CURRENT"), "MANIFEST-000099\n").unwrap();
        let missing = DB::open_default(folder.path()).unwrap_err();
        assert!(!is_damage(&missing));
        assert!(explained(&missing).ends_with(REPLACE), "{missing}");
    }

    #[test]
    fn a_disk_that_refuses_asks_for_somebody_to_look() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        let refused = DB::open(&options, file.join("inside")).unwrap_err();
        assert!(explained(&refused).contains("look after the disk"), "{refused}");
    }
}
