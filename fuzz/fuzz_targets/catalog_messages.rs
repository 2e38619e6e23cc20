//! See `bazaar_catalog::fuzzed`.
#![no_main]

bazaar_fuzz::search!("catalog_messages");
