//! Stored and sent records: a version byte, then postcard.

use serde::{Serialize, de::DeserializeOwned};

/// The version that this build writes.
pub const RECORD_VERSION: u8 = 1;
/// The media type of a record in an HTTP body.
pub const RECORD_MEDIA_TYPE: &str = "application/vnd.bazaar.record";

/// Why a record could not be read. Never replaced by a default: the caller refuses the message, or stops.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There is not even a version byte.
    #[error("an empty record")]
    Empty,
    /// A record of another version.
    #[error("record version {found}, this build reads version {RECORD_VERSION}; was it written by a newer build?")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// The bytes do not form the record.
    #[error("a damaged record: {0}")]
    Damaged(#[from] postcard::Error),
    /// The record is followed by bytes that do not belong to it.
    #[error("{0} bytes after the end of the record")]
    Trailing(usize),
}

/// Writes a record.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_into(value, Vec::with_capacity(128))
}

/// Appends a record to `bytes`.
pub fn encode_into<T: Serialize>(value: &T, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(RECORD_VERSION);
    postcard::to_extend(value, bytes).expect("our records have no unserializable part")
}

/// Reads a record that fills `bytes`.
///
/// # Errors
/// If the version is another one, or the bytes are not exactly one record.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != RECORD_VERSION {
        return Err(DecodeError::Version { found: *version });
    }
    let (value, rest) = postcard::take_from_bytes(body)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(rest.len())) }
}
