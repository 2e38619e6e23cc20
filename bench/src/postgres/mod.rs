//! PostgreSQL with a quorum of three: a primary and two standbys of which one must have synced each commit.

pub mod pgbench;
pub mod script;
pub mod servers;

pub use script::Script;
pub use servers::Postgres;
