//! What every process of the bazaar needs around its own part: configuration and logs at the start, listeners and
//! bounded HTTP serving, one mapping of errors to HTTP, calls between our processes, and an orderly stop.

pub mod auth;
pub mod call;
pub mod clock;
pub mod data_dir;
pub mod describe;
pub mod express;
pub mod failure;
mod framing;
pub mod http;
pub mod meters;
pub mod origin;
pub mod payload;
pub mod process;
mod reload;
pub mod remarks;
mod rewound;
mod security;
pub mod serve;
mod stall;
pub mod start;
pub mod supervise;
pub mod tls;
pub mod traces;

pub use auth::Auth;
pub use call::{CallError, Caller};
pub use clock::Clock;
pub use failure::ApiFailure;
pub use http::RequestId;
pub use origin::Origin;
pub use payload::{Json, Payload, Query, Record};
pub use security::SecurityArgs;
pub use serve::{HttpLimits, serve, serve_express};
pub use start::{CommonArgs, bind};
pub use supervise::ended_early;
pub use tls::Tls;
