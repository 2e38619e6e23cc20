//! Routes that carry their own description (OpenAPI 3.1).
//!
//! A route enters a listener together with what is said of it, in one call: neither can be there without the other. The
//! description of a listener is at its `GET /openapi.json`.

mod body;
mod failures;
pub mod headers;
mod operation;
mod routes;
pub mod schemas;

pub use self::{
    body::Body,
    operation::Operation,
    routes::{About, Routes},
};
