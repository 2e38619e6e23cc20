//! etcd: three members as processes, and a client that puts and trades.
//!
//! The client speaks gRPC with the few lines that it needs: a generator for protocol buffers would share crates with the
//! build of RocksDB, which then takes a quarter of an hour more for everybody.

pub mod grpc;
pub mod kv;
pub mod load;
pub mod members;
pub mod protobuf;
