//! What a measurement found.

use serde::{Deserialize, Serialize};

use crate::{
    latency::{LatencySummary, ms},
    output::{Report, table, table_text},
};

use super::{BenchArgs, Errors, Kind, tally::Tally};

/// What a measurement found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// What was measured.
    pub kind: Kind,
    /// Connections.
    pub connections: u64,
    /// Trades in one request, for batches.
    pub batch_size: Option<usize>,
    /// How long.
    pub duration_s: u64,
    /// Answered requests.
    pub requests: u64,
    /// Trades accepted, stocks or orders shown.
    pub operations: u64,
    /// Operations a second.
    pub rate_per_s: f64,
    /// Latencies of requests.
    #[serde(flatten)]
    pub latency: LatencySummary,
    /// What failed.
    pub errors: Errors,
}

impl BenchReport {
    /// The report of a measurement.
    pub fn new(args: &BenchArgs, tally: &Tally) -> Self {
        Self {
            kind: args.kind,
            connections: args.connections,
            batch_size: (args.kind == Kind::Batch).then_some(args.batch_size),
            duration_s: args.duration_s,
            requests: tally.requests,
            operations: tally.operations,
            rate_per_s: tally.operations as f64 / args.duration_s as f64,
            latency: tally.latencies.summary(),
            errors: tally.errors.clone(),
        }
    }

    /// Errors of all kinds.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Report for BenchReport {
    fn to_text(&self, colour: bool) -> String {
        let header = [
            "KIND",
            "CONNECTIONS",
            "RATE/S",
            "P50 MS",
            "P90 MS",
            "P99 MS",
            "P99.9 MS",
            "MAX MS",
            "OPERATIONS",
            "ERRORS",
        ];
        let mut rows = table(&header, colour);
        let LatencySummary { p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = self.latency;
        let kind = format!("{:?}", self.kind).to_lowercase();
        let kind = self.batch_size.map_or(kind.clone(), |size| format!("{kind} of {size}"));
        let head = [kind, self.connections.to_string(), format!("{:.0}", self.rate_per_s)];
        let tail = [self.operations.to_string(), self.errors_total().to_string()];
        rows.add_row(head.into_iter().chain([p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(ms)).chain(tail));
        let errors = self.errors.iter().map(|(kind, count)| format!("\n{count} x {kind}"));
        table_text(&rows) + &errors.collect::<String>()
    }
}
