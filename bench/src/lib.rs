//! What is only for measuring: the driver behind `scripts/bench`, and what it compares the service with.
//!
//! Everything that is measured runs as processes under the driver and ends with it. Users of the service need none of it.

pub mod answer;
pub mod args;
pub mod bazaar;
pub mod child;
pub mod document;
pub mod etcd;
pub mod goals;
pub mod machine;
pub mod ours;
pub mod peers;
pub mod plan;
pub mod point;
pub mod postgres;
pub mod procfs;
pub mod progress;
pub mod ratios;
pub mod repeat;
pub mod run;
pub mod soak;
pub mod table;
pub mod usage;
