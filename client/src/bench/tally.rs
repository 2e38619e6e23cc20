//! What a measurement counts.

use std::time::Duration;

use crate::latency::Latencies;

use super::{Errors, generator::Outcome};

/// What a measurement counts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered requests.
    pub requests: u64,
    /// What they did: trades accepted, stocks or orders shown.
    pub operations: u64,
    /// Latencies of answered requests.
    pub latencies: Latencies,
    /// What failed.
    pub errors: Errors,
}

impl Tally {
    /// Counts an answered request.
    pub fn count(&mut self, outcome: &Outcome, latency: Duration) {
        self.requests += 1;
        self.operations += outcome.operations;
        self.latencies.record(latency);
        if let Some((kind, count)) = &outcome.error {
            self.error(kind.clone(), *count);
        }
    }

    /// Counts errors of a kind.
    pub fn error(&mut self, kind: String, count: u64) {
        *self.errors.entry(kind).or_default() += count;
    }
}
