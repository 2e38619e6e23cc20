//! bazaar, the client: trades and looks up through the frontend, drives the classic workload, measures, and checks
//! from the outside that the cluster keeps its promises.
//!
//! Each command lives in a file or folder of its own: it gathers data, decides with pure functions on that data,
//! prints a report, and returns an error (one sentence) if not all went well.

pub mod access;
pub mod admin;
pub mod api;
pub mod arguments;
pub mod away;
pub mod backup;
pub mod bench;
pub mod certs;
pub mod chart;
pub mod check;
pub mod cli;
pub mod crash;
mod crowd;
pub mod exit;
pub mod failover;
pub mod init;
pub mod interrupt;
pub mod latency;
pub mod log;
pub mod manual;
pub mod members;
pub mod order;
pub mod orders;
pub mod output;
pub mod query;
pub mod ready;
pub mod repeat;
pub mod restore;
pub mod retry;
pub mod script;
pub mod spread;
pub mod status;
pub mod stocks;
pub mod sweep;
pub mod terminal;
pub mod tokens;
pub mod tour;
pub mod trade;
pub mod whole;
pub mod workload;

pub use cli::{Cli, Command, Context, run};
