//! `-n N`: the same request several times, with its latencies.

use std::time::Duration;

use serde::Serialize;

use crate::{
    latency::{Latencies, LatencySummary, ms},
    output::{table, table_text},
};

/// Most repetitions that one command takes.
pub const REPEATS_MAX: u64 = 10_000_000;

/// Latencies of repeated requests, as they are shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repeated {
    /// How many were sent.
    pub count: u64,
    /// Their latencies.
    #[serde(flatten)]
    pub latency: LatencySummary,
}

impl Repeated {
    /// What is shown of repeated requests; nothing for a single one.
    pub fn of(latencies: &Latencies) -> Option<Self> {
        (latencies.count() > 1).then(|| Self { count: latencies.count(), latency: latencies.summary() })
    }

    /// The form for people.
    pub fn to_text(&self, colour: bool) -> String {
        let mut table = table(&["REQUESTS", "P50 MS", "P90 MS", "P99 MS", "MAX MS"], colour);
        let LatencySummary { p50_ms, p90_ms, p99_ms, max_ms, .. } = self.latency;
        table.add_row([self.count.to_string(), ms(p50_ms), ms(p90_ms), ms(p99_ms), ms(max_ms)]);
        table_text(&table)
    }
}

/// Joins the main table with the repetitions' one.
pub fn with_repeats(main: String, repeated: Option<&Repeated>, colour: bool) -> String {
    match repeated {
        Some(repeated) => format!("{main}\n\n{}", repeated.to_text(colour)),
        None => main,
    }
}

/// Runs one request and counts its latency.
pub async fn timed<T>(latencies: &mut Latencies, request: impl Future<Output = T>) -> T {
    let start = std::time::Instant::now();
    let answer = request.await;
    latencies.record(start.elapsed().max(Duration::from_micros(1)));
    answer
}
