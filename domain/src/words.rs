//! Small value types: each can only be made valid.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    limits::{KEY_BYTES_MAX, PRICE_CENTS_MAX, STOCK_NAME_BYTES_MAX, TRADE_QUANTITY_MAX},
    scope::{KeyScope, SCOPE_END},
};

/// The number of an order replica, from 1.
pub type ReplicaId = u64;

/// Why a word was refused; the text says what is wrong and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidWord(pub String);

/// A stock's name: 1 to 32 of `A-Z a-z 0-9 . _ -`. Kept inline, so copying one allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StockName {
    len: u8,
    bytes: [u8; STOCK_NAME_BYTES_MAX],
}

impl StockName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// If it is empty, too long, or holds another character.
    pub fn new(text: &str) -> Result<Self, InvalidWord> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > STOCK_NAME_BYTES_MAX || !text.bytes().all(allowed) {
            return Err(InvalidWord(
                "a stock's name is 1 to 32 characters, each a letter, a digit, '.', '_' or '-'".into(),
            ));
        }
        let mut bytes = [0; STOCK_NAME_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { len: u8::try_from(text.len()).expect("checked: at most 32"), bytes })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("checked: ASCII")
    }

    fn read_record(text: &str) -> Result<Self, InvalidWord> {
        Self::new(text)
    }

    /// The name as ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PartialOrd for StockName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StockName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The bytes order as the text does, and need not be checked to be text again: apply compares names all the time.
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// A client's idempotency key: 1 to 255 printable ASCII characters (0x20 to 0x7e). In records it may have the name of the
/// token before it that it was sent with, see [`KeyScope`]; nothing that a client sends is read like that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Checks and keeps a key.
    ///
    /// # Errors
    /// If it is empty, too long, or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, InvalidWord> {
        if text.is_empty() || text.len() > KEY_BYTES_MAX || !text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
            return Err(InvalidWord("an idempotency key is 1 to 255 printable ASCII characters".into()));
        }
        Ok(Self(text.into()))
    }

    /// Checks and keeps a key of a record.
    fn read_record(text: &str) -> Result<Self, InvalidWord> {
        Self::new(text).or_else(|invalid| {
            let (scope, key) = text.split_once(SCOPE_END).ok_or(invalid)?;
            KeyScope::new(scope)?;
            Self::new(key)?;
            Ok(Self(text.into()))
        })
    }

    /// A key whose parts are valid.
    pub(crate) fn of_record(text: String) -> Self {
        Self(text.into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_word {
    ($word:ty) => {
        impl fmt::Display for $word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl FromStr for $word {
            type Err = InvalidWord;
            fn from_str(text: &str) -> Result<Self, InvalidWord> {
                Self::new(text)
            }
        }
        impl Serialize for $word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $word {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor {
                    is_record: bool,
                }
                impl de::Visitor<'_> for TextVisitor {
                    type Value = $word;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$word, E> {
                        if self.is_record { <$word>::read_record(text) } else { <$word>::new(text) }.map_err(E::custom)
                    }
                }
                let is_record = !deserializer.is_human_readable();
                deserializer.deserialize_str(TextVisitor { is_record })
            }
        }
    };
}
text_word!(StockName);
text_word!(IdempotencyKey);

/// Money in whole cents. In JSON a number with two decimals (`15.99`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(u64);

impl Cents {
    /// An amount from 0 to [`PRICE_CENTS_MAX`].
    ///
    /// # Errors
    /// If it is larger.
    pub fn new(cents: u64) -> Result<Self, InvalidWord> {
        if cents > PRICE_CENTS_MAX {
            return Err(InvalidWord(format!("a price is at most {}", Cents(PRICE_CENTS_MAX))));
        }
        Ok(Self(cents))
    }

    /// The amount in cents.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Reads an amount with at most two decimals, as it stands in JSON and TOML.
    ///
    /// # Errors
    /// If it is negative, not finite, too large, or has more than two decimals.
    pub fn from_decimal(amount: f64) -> Result<Self, InvalidWord> {
        let cents = (amount * 100.0).round();
        let exact = amount.is_finite() && amount >= 0.0 && (cents / 100.0 - amount).abs() < 1e-7;
        if !exact || cents > PRICE_CENTS_MAX as f64 {
            return Err(InvalidWord("a price is a number from 0 with at most two decimals".into()));
        }
        Self::new(cents as u64)
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Serialize for Cents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            // As text of our own, so that the two decimals are always there (`42.00`), and never more.
            let number = RawValue::from_string(self.to_string()).map_err(ser::Error::custom)?;
            number.serialize(serializer)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Cents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Self::from_decimal(f64::deserialize(deserializer)?).map_err(de::Error::custom)
        } else {
            Self::new(u64::deserialize(deserializer)?).map_err(de::Error::custom)
        }
    }
}

/// The quantity of one trade: 1 to [`TRADE_QUANTITY_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(u64);

impl Quantity {
    /// Checks and keeps a quantity.
    ///
    /// # Errors
    /// If it is 0 or too large.
    pub fn new(quantity: u64) -> Result<Self, InvalidWord> {
        if (1..=TRADE_QUANTITY_MAX).contains(&quantity) {
            Ok(Self(quantity))
        } else {
            Err(InvalidWord("a quantity is a whole number from 1 to 1000000000".into()))
        }
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Which way a trade goes, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The client buys: the stock's quantity falls.
    Buy,
    /// The client sells to us: the stock's quantity grows.
    Sell,
}

impl Side {
    /// `buy` or `sell`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Side {
    type Err = InvalidWord;
    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        match text {
            "buy" => Ok(Self::Buy),
            "sell" => Ok(Self::Sell),
            _ => Err(InvalidWord("a trade's type is 'buy' or 'sell'".into())),
        }
    }
}
