//! An order replica: keeps every order in RocksDB, replicated through a Raft log.
//!
//! The way of a trade through this crate: [`http`] takes the request, [`intake`] puts it into a log entry, Raft brings
//! the entry to a quorum of [`log_store`]s, [`state_machine`] applies it, [`publish`] tells the catalog, [`gate`]
//! releases the answer.

pub mod admin;
pub mod backup;
pub mod caretaker;
mod describe;
pub mod detector;
pub mod disk;
pub mod events;
pub mod followers;
pub mod founding;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzzed;
pub mod gate;
pub mod handover;
pub mod http;
pub mod identity;
pub mod intake;
pub mod intake_task;
pub mod joining;
pub mod log_store;
pub mod members;
pub mod meters;
pub mod network;
pub mod node;
pub mod preference;
pub mod publish;
pub mod publish_task;
pub mod raft_types;
pub mod release;
mod run;
pub mod snapshot_dir;
pub mod standing;
pub mod state_machine;

pub use run::{Listeners, Options, run};
