//! Keys that belong to a token: two tokens that send the same key mean two different things.

use std::{fmt, sync::Arc};

use crate::{
    limits::TOKEN_NAME_BYTES_MAX,
    words::{IdempotencyKey, InvalidWord},
};

/// Between a token's name and the client's key. No client can send it, since a key is printable ASCII.
pub(crate) const SCOPE_END: char = '\u{1f}';
/// What is shown of a key that is somebody else's: this, and its order's number. Nothing of the key goes into it, since
/// whatever could be computed from a key would let others try guesses.
const HIDDEN: &str = "hidden:";

/// The name of a token: 1 to 32 of `A-Z a-z 0-9 . _ -`. The keys that are sent with the token are its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyScope(Arc<str>);

impl KeyScope {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// If it is empty, too long, or holds another character.
    pub fn new(text: &str) -> Result<Self, InvalidWord> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > TOKEN_NAME_BYTES_MAX || !text.bytes().all(allowed) {
            let text = "a token's name is 1 to 32 characters, each a letter, a digit, '.', '_' or '-'";
            return Err(InvalidWord(text.into()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl IdempotencyKey {
    /// This key of a client, as the system keeps it for whoever sent it.
    #[must_use]
    pub fn scoped(&self, scope: Option<&KeyScope>) -> Self {
        match scope {
            Some(scope) => Self::of_record(format!("{scope}{SCOPE_END}{self}")),
            None => self.clone(),
        }
    }

    /// This key of the order with this number, as it is shown to somebody: to its sender as it was sent, to others as a
    /// word that tells it from the keys of all other orders and says nothing else. A key that belongs to no token is
    /// shown to all.
    #[must_use]
    pub fn seen_by(&self, scope: Option<&KeyScope>, number: u64) -> Self {
        match self.as_str().split_once(SCOPE_END) {
            None => self.clone(),
            Some((owner, key)) if scope.is_some_and(|scope| scope.as_str() == owner) => Self::of_record(key.into()),
            Some(_) => Self::of_record(format!("{HIDDEN}{number}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::new(text).unwrap()
    }

    #[test]
    fn the_same_key_of_two_tokens_is_two_keys_that_only_their_senders_see() {
        let (till, shop) = (KeyScope::new("till-1").unwrap(), KeyScope::new("shop").unwrap());
        let longest = "k".repeat(255);
        for text in ["k", "till-1", longest.as_str()] {
            let (of_till, of_shop) = (key(text).scoped(Some(&till)), key(text).scoped(Some(&shop)));
            assert_ne!(of_till, of_shop);
            assert_eq!(of_till.seen_by(Some(&till), 7), key(text));
            for stranger in [None, Some(&shop)] {
                let seen = of_till.seen_by(stranger, 7);
                assert!(IdempotencyKey::new(seen.as_str()).is_ok(), "{seen}");
                assert_eq!(seen.as_str(), "hidden:7", "nothing in it comes from the key");
                assert_ne!(seen, of_shop.seen_by(None, 8), "still told apart");
            }
        }
        assert_eq!(key("k").scoped(None).seen_by(Some(&till), 7), key("k"));
    }

    #[test]
    fn a_scoped_key_goes_through_records_and_never_comes_from_json() {
        let scoped = key("k").scoped(Some(&KeyScope::new("till-1").unwrap()));
        assert_eq!(codec::decode::<IdempotencyKey>(&codec::encode(&scoped)).unwrap(), scoped);
        let json = serde_json::to_string(&scoped).unwrap();
        assert!(serde_json::from_str::<IdempotencyKey>(&json).is_err(), "{json}");
        for text in ["\u{1f}k", "a b\u{1f}k", "till-1\u{1f}", "till-1\u{1f}k\u{1f}k", "a\u{1e}k"] {
            assert!(codec::decode::<IdempotencyKey>(&codec::encode(&text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_of_another_form_is_refused() {
        for text in ["", "a b", "a/b", "ä", &"x".repeat(33)] {
            assert!(KeyScope::new(text).is_err(), "{text}");
        }
    }
}
