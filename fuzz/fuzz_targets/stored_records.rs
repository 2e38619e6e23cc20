//! See `bazaar_order_raft::fuzzed`.
#![no_main]

bazaar_fuzz::search!("stored_records");
