//! What is counted while requests run.

use std::time::Duration;

use crate::latency::Latencies;

use super::{Errors, generator::Outcome};

/// What one thread counts in one interval, or all threads in all of them.
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
    pub fn count(&mut self, outcome: Outcome, latency: Duration) {
        self.requests += 1;
        self.operations += outcome.operations;
        self.latencies.record(latency);
        if let Some((kind, count)) = outcome.error {
            self.error(kind, count);
        }
    }

    /// Counts errors of a kind.
    pub fn error(&mut self, kind: String, count: u64) {
        *self.errors.entry(kind).or_default() += count;
    }

    /// Errors of all kinds.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Counts all that another one has counted.
    pub fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.operations += other.operations;
        self.latencies.merge(&other.latencies);
        for (kind, count) in other.errors {
            self.error(kind, count);
        }
    }
}
