//! What a workload found.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    latency::{LatencySummary, ms},
    output::{Report, counted, table, table_text},
    query::CacheCounts,
};

use super::tally::{RequestTally, Tally};

/// One type of request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestLine {
    /// How many were sent, without retries.
    pub count: u64,
    /// How many failed for good.
    pub failed: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Latencies, retries included.
    #[serde(flatten)]
    pub latency: LatencySummary,
}

impl From<&RequestTally> for RequestLine {
    fn from(tally: &RequestTally) -> Self {
        let RequestTally { failed, retries, latencies } = tally;
        Self { count: latencies.count(), failed: *failed, retries: *retries, latency: latencies.summary() }
    }
}

/// What a workload found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkloadReport {
    /// Iterations asked for.
    pub requests: u64,
    /// Iterations done.
    pub iterations: u64,
    /// Whether a signal ended it early.
    pub interrupted: bool,
    /// How long it took.
    pub elapsed_s: f64,
    /// Lookups.
    pub lookup: RequestLine,
    /// Trades.
    pub trade: RequestLine,
    /// Orders fetched back.
    pub order_read: RequestLine,
    /// How lookups were answered.
    pub cache: CacheCounts,
    /// Trades that happened.
    pub accepted: u64,
    /// Trades that the trade rule rejected.
    pub rejected: u64,
    /// Accepted trades that a retry found done.
    pub replayed: u64,
    /// Answers older than what the same client had seen.
    pub stale_reads: u64,
    /// Acknowledged orders that are missing or differ.
    pub mismatches: u64,
    /// Acknowledged orders that could not be read back.
    pub unread: u64,
    /// The first few things that went wrong.
    pub complaints: Vec<String>,
}

impl WorkloadReport {
    /// The report of a run.
    pub fn new(tally: &Tally, requests: u64, interrupted: bool, elapsed: Duration) -> Self {
        Self {
            requests,
            iterations: tally.iterations,
            interrupted,
            elapsed_s: elapsed.as_secs_f64(),
            lookup: (&tally.lookups).into(),
            trade: (&tally.trades).into(),
            order_read: (&tally.order_reads).into(),
            cache: tally.cache,
            accepted: tally.accepted,
            rejected: tally.rejected,
            replayed: tally.replayed,
            stale_reads: tally.stale_reads,
            mismatches: tally.mismatches,
            unread: tally.unread,
            complaints: tally.complaints.clone(),
        }
    }

    /// Why this run did not go well, in one sentence; nothing if it did.
    pub fn complaint(&self) -> Option<String> {
        let failed = self.lookup.failed + self.trade.failed;
        let mut parts = Vec::new();
        let mut add = |count: u64, noun: &str| {
            if count > 0 {
                parts.push(counted(count, noun));
            }
        };
        add(self.mismatches, "lost or changed order");
        add(self.unread, "unreadable order");
        add(self.stale_reads, "stale read");
        add(failed, "failed request");
        if self.iterations < self.requests && !self.interrupted {
            parts.push(format!("only {} of {} requests before the deadline", self.iterations, self.requests));
        }
        (!parts.is_empty()).then(|| format!("the workload found {}; run 'bazaar check' next", parts.join(", ")))
    }
}

impl Report for WorkloadReport {
    fn to_text(&self, colour: bool) -> String {
        let header = ["REQUEST", "COUNT", "FAILED", "RETRIES", "P50 MS", "P90 MS", "P99 MS", "MAX MS"];
        let mut lines = table(&header, colour);
        for (name, line) in [("lookup", &self.lookup), ("trade", &self.trade), ("order read", &self.order_read)] {
            let LatencySummary { p50_ms, p90_ms, p99_ms, max_ms, .. } = line.latency;
            let counts = [line.count, line.failed, line.retries].map(|count| count.to_string());
            let latencies = [p50_ms, p90_ms, p99_ms, max_ms].map(ms);
            lines.add_row([name.to_owned()].into_iter().chain(counts).chain(latencies));
        }
        let CacheCounts { hit, miss, bypass } = self.cache;
        let mut text = table_text(&lines);
        let rate = (self.lookup.count + self.trade.count) as f64 / self.elapsed_s.max(0.001);
        text += &format!(
            "\n\niterations: {} of {} in {:.1} s ({rate:.0} requests/s)",
            self.iterations, self.requests, self.elapsed_s
        );
        if self.interrupted {
            text += ", stopped early";
        }
        text += &format!("\nlookups by X-Cache: {hit} hit, {miss} miss, {bypass} bypass");
        text +=
            &format!("\ntrades: {} accepted, {} rejected, {} replayed", self.accepted, self.rejected, self.replayed);
        for complaint in &self.complaints {
            text += &format!("\n! {complaint}");
        }
        if self.unread > 0 {
            text += &format!("\nunread orders: {}", self.unread);
        }
        text + &format!("\nstale reads: {}\nmismatches: {}", self.stale_reads, self.mismatches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(change: impl FnOnce(&mut Tally)) -> WorkloadReport {
        let mut tally = Tally { iterations: 10, ..Tally::default() };
        change(&mut tally);
        WorkloadReport::new(&tally, 10, false, Duration::from_secs(1))
    }

    #[test]
    fn a_run_without_findings_has_no_complaint_and_prints_the_two_lines_that_scripts_look_for() {
        let good = report(|tally| tally.rejected = 3);
        assert_eq!(good.complaint(), None);
        let text = good.to_text(false);
        assert!(text.lines().any(|line| line == "stale reads: 0"), "{text}");
        assert!(text.lines().any(|line| line == "mismatches: 0"), "{text}");
    }

    #[test]
    fn every_kind_of_finding_is_a_complaint() {
        let changes: [fn(&mut Tally); 6] = [
            |tally| tally.mismatches = 1,
            |tally| tally.unread = 1,
            |tally| tally.stale_reads = 1,
            |tally| tally.lookups.failed = 1,
            |tally| tally.trades.failed = 1,
            |tally| tally.iterations = 9,
        ];
        for change in changes {
            assert!(report(change).complaint().is_some());
        }
    }

    #[test]
    fn a_run_that_was_stopped_early_by_its_user_may_go_well() {
        let tally = Tally { iterations: 4, ..Tally::default() };
        assert_eq!(WorkloadReport::new(&tally, 10, true, Duration::from_secs(1)).complaint(), None);
    }
}
