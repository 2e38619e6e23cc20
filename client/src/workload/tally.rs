//! What clients count while they run.

use std::time::Duration;

use crate::{latency::Latencies, query::CacheCounts};

/// Most sentences about what went wrong that are kept.
const COMPLAINTS_MAX: usize = 10;

/// One type of request.
#[derive(Debug, Default, Clone)]
pub struct RequestTally {
    /// Requests whose retries were used up, or that got an unexpected answer.
    pub failed: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// From the first attempt to the last answer.
    pub latencies: Latencies,
}

impl RequestTally {
    /// Counts a request.
    pub fn count(&mut self, retries: u64, elapsed: Duration, well: bool) {
        self.failed += u64::from(!well);
        self.retries += retries;
        self.latencies.record(elapsed);
    }

    fn merge(&mut self, other: &Self) {
        self.failed += other.failed;
        self.retries += other.retries;
        self.latencies.merge(&other.latencies);
    }
}

/// All that one client counts.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Iterations that were started.
    pub iterations: u64,
    /// Lookups.
    pub lookups: RequestTally,
    /// Trades.
    pub trades: RequestTally,
    /// Orders fetched back.
    pub order_reads: RequestTally,
    /// How lookups were answered.
    pub cache: CacheCounts,
    /// Trades that happened.
    pub accepted: u64,
    /// Trades that were rejected by the trade rule.
    pub rejected: u64,
    /// Accepted trades whose answer was a replay: a retry found that the first attempt had happened.
    pub replayed: u64,
    /// Answers older than what the client had seen before.
    pub stale_reads: u64,
    /// Acknowledged orders that are missing or differ.
    pub mismatches: u64,
    /// Acknowledged orders that could not be read back.
    pub unread: u64,
    /// What went wrong, in sentences; the first few.
    pub complaints: Vec<String>,
}

impl Tally {
    /// Keeps a sentence about what went wrong.
    pub fn complain(&mut self, sentence: impl FnOnce() -> String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(sentence());
        }
    }

    /// Adds another client's counts.
    pub fn merge(&mut self, other: &Self) {
        self.iterations += other.iterations;
        self.lookups.merge(&other.lookups);
        self.trades.merge(&other.trades);
        self.order_reads.merge(&other.order_reads);
        self.cache.hit += other.cache.hit;
        self.cache.miss += other.cache.miss;
        self.cache.bypass += other.cache.bypass;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.replayed += other.replayed;
        self.stale_reads += other.stale_reads;
        self.mismatches += other.mismatches;
        self.unread += other.unread;
        for complaint in &other.complaints {
            self.complain(|| complaint.clone());
        }
    }
}
