//! An exhaustive search over the leases (`docs/model.md`).
//!
//! The leader's [`Release`](bazaar_order_raft::release::Release), the catalog's
//! [`Ledger`](bazaar_catalog::ledger::Ledger) and the frontend's [`Cache`](bazaar_frontend::cache::Cache) are the real
//! ones. Around them is an environment that lets happen whatever may happen, in every order: elections, crashes, late,
//! lost and repeated messages, frozen processes. After each step all answers that could be given are compared with all
//! that were given before.

pub mod action;
pub mod bounds;
pub mod goals;
pub mod log;
pub mod network;
pub mod part;
pub mod properties;
pub mod replica;
pub mod scenarios;
pub mod search;
pub mod state;
pub mod step;
pub mod trace;
