//! A part of a state: shared between states until one changes it, and hashed once.

use std::{
    cell::Cell,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    rc::Rc,
};

/// A part. Cloning it copies nothing.
#[derive(Debug)]
pub struct Part<T>(Rc<Hashed<T>>);

#[derive(Debug, Clone)]
struct Hashed<T> {
    value: T,
    /// The hash of the value, once somebody asked for it.
    hash: Cell<Option<u64>>,
}

impl<T> Part<T> {
    /// Makes a part of a value.
    pub fn new(value: T) -> Self {
        Self(Rc::new(Hashed { value, hash: Cell::new(None) }))
    }

    /// Whether this is the same part, not only an equal one.
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Clone> Part<T> {
    /// The value, to change; other states keep theirs.
    pub fn change(&mut self) -> &mut T {
        let hashed = Rc::make_mut(&mut self.0);
        hashed.hash.set(None);
        &mut hashed.value
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Hash> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let hash = self.0.hash.get().unwrap_or_else(|| {
            let mut hasher = DefaultHasher::new();
            self.0.value.hash(&mut hasher);
            hasher.finish()
        });
        self.0.hash.set(Some(hash));
        hash.hash(state);
    }
}
