//! A simulation of the whole service: the real decisions of gateway, intake, books, publisher, release gate, ledger, leases
//! and cache, driven by seeded chance in virtual time, while messages are lost, late and repeated, processes die, stand
//! still and are cut off, disks lose what was not synced, and clocks are wrong. What clients are shown is compared with what
//! was promised. `docs/simulation.md` says what is real here and what is not.

pub mod catalog;
pub mod clock;
mod ending;
mod faults;
pub mod frontend;
pub mod message;
pub mod plan;
pub mod queue;
pub mod raft;
pub mod replica;
mod scenes;
mod script;
pub mod seen;
pub mod shrink;
pub mod slot;
pub mod state;
pub mod truth;
pub mod world;
