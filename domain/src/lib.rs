//! The words of the system and the trade rule, without I/O.
//!
//! Every process speaks these types: a value that exists is valid (names, keys, quantities are checked where
//! they are made), money is whole cents, and the decision whether a trade happens is one pure function,
//! [`inventory::decide`], that the order replicas and the catalog both call.

pub mod address;
pub mod api;
pub mod codec;
pub mod command;
pub mod condition;
pub mod config;
pub mod digest;
pub mod error;
pub mod gap;
pub mod internal;
pub mod inventory;
pub mod limits;
pub mod moment;
pub mod mutants;
pub mod order;
mod schemas;
pub mod scope;
pub mod words;

pub use address::Address;
pub use command::{Command, Listing, ListingChange, Trade};
pub use error::{ApiError, ErrorKind, TradeFate};
pub use inventory::{Rejection, Stock};
pub use moment::Moment;
pub use order::{Order, Outcome};
pub use scope::KeyScope;
pub use words::{Cents, IdempotencyKey, Quantity, ReplicaId, Side, StockName};
