//! An order replica: keeps every order in RocksDB, replicated through a Raft log.

pub mod raft_types;
