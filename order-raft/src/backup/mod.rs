//! Backups: the applied state of one replica as a file, and a new cluster from such a file.
//!
//! [`format`] is the file: what is written and how it is checked. [`serve`] makes one from a running replica,
//! [`restore`] makes the data directories of a new cluster from one.

pub mod format;
pub mod restore;
pub mod serve;
#[cfg(test)]
mod tests;
