//! The keys of the two column families.

/// Column family of the log: entry index to entry.
pub(super) const LOG: &str = "log";
/// Column family of what Raft must remember besides the log.
pub(super) const META: &str = "meta";

/// Key in [`META`] of whose log this is.
pub(super) const OWNER: &[u8] = b"owner";
/// Key in [`META`] of the vote.
pub(super) const VOTE: &[u8] = b"vote";
/// Key in [`META`] of the last log id that was known to be committed.
pub(super) const COMMITTED: &[u8] = b"committed";
/// Key in [`META`] of the last log id that was purged.
pub(super) const PURGED: &[u8] = b"purged";

/// The key of a log entry: big-endian, so that RocksDB's byte order is the order of the log.
pub(super) fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// The index that a key stands for, or `None` if it is not a key of ours.
pub(super) fn index_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_like_indexes() {
        let indexes = [0, 1, 255, 256, 65_535, 65_536, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        for pair in indexes.windows(2) {
            assert!(log_key(pair[0]) < log_key(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_key_gives_its_index_back_and_other_bytes_give_none() {
        assert_eq!(index_of(&log_key(81_985_529_216_486_895)), Some(81_985_529_216_486_895));
        assert_eq!(index_of(b"short"), None);
        assert_eq!(index_of(b"nine byte"), None);
    }
}
