//! A harness that runs the real processes of a cluster in a temporary folder, for the stories in `tests/`.
//!
//! Everything waits for conditions with a bound; nothing sleeps for luck. `scripts/test` builds the binaries first.

pub mod browser;
pub mod chaos;
pub mod cluster;
pub mod described;
pub mod disk;
pub mod history;
pub mod network;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod quantities;
pub mod recorder;
pub mod shim;
pub mod traffic;
pub mod wait;

pub use cluster::{Cluster, Name};
pub use wait::wait_until;
