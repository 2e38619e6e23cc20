//! Protocol buffers, as far as etcd's messages need them: numbers and bytes. Pure.

use anyhow::{Context, Result, bail};

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

/// A message that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// Adds a number.
    #[must_use]
    pub fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(value);
        self
    }

    /// Adds bytes, a text or a message.
    #[must_use]
    pub fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.varint(field << 3 | LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The value of a field that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
}

/// All fields of a message, in their order.
///
/// # Errors
/// If it ends early or holds a kind of field that etcd does not send.
pub fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = read_varint(&mut bytes)?;
        let value = match tag & 7 {
            VARINT => Value::Number(read_varint(&mut bytes)?),
            LENGTH_DELIMITED => {
                let length = usize::try_from(read_varint(&mut bytes)?)?;
                let (value, rest) = bytes.split_at_checked(length).context("a message ends within a field")?;
                bytes = rest;
                Value::Bytes(value)
            }
            kind => bail!("a field of kind {kind}"),
        };
        found.push((tag >> 3, value));
    }
    Ok(found)
}

/// The number in a field; 0, as the format wants it, if it is not there.
///
/// # Errors
/// If the message is damaged.
pub fn number(message: &[u8], field: u64) -> Result<u64> {
    let found = fields(message)?.into_iter().rev().find(|(name, _)| *name == field);
    Ok(match found {
        Some((_, Value::Number(value))) => value,
        _ => 0,
    })
}

/// The bytes in each occurrence of a field.
///
/// # Errors
/// If the message is damaged.
pub fn all_bytes(message: &[u8], field: u64) -> Result<Vec<&[u8]>> {
    let bytes_of = |(name, value)| match value {
        Value::Bytes(bytes) if name == field => Some(bytes),
        _ => None,
    };
    Ok(fields(message)?.into_iter().filter_map(bytes_of).collect())
}

/// The bytes in a field; none, as the format wants it, if it is not there.
///
/// # Errors
/// If the message is damaged.
pub fn bytes(message: &[u8], field: u64) -> Result<&[u8]> {
    Ok(all_bytes(message, field)?.last().copied().unwrap_or_default())
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().context("a message ends within a number")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number of more than ten bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_formats_own_documentation() {
        assert_eq!(Message::default().number(1, 150).0, [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().bytes(2, "testing").0, b"\x12\x07testing");
    }

    #[test]
    fn what_was_written_is_read() {
        let inner = Message::default().number(3, u64::MAX).number(6, 0);
        let outer = Message::default().bytes(1, &inner).bytes(2, "one").bytes(2, "two").number(9, 1 << 35);
        assert_eq!(number(bytes(&outer.0, 1).unwrap(), 3).unwrap(), u64::MAX);
        assert_eq!(all_bytes(&outer.0, 2).unwrap(), [b"one", b"two"]);
        assert_eq!(number(&outer.0, 9).unwrap(), 1 << 35);
        assert_eq!((number(&outer.0, 4).unwrap(), bytes(&outer.0, 4).unwrap()), (0, &[][..]));
    }

    #[test]
    fn damaged_messages_are_refused() {
        for damaged in [&b"\x08"[..], b"\x12\x07test", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x0d1234"]
        {
            assert!(fields(damaged).is_err(), "{damaged:x?}");
        }
    }
}
