//! What a measurement found.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    latency::{LatencySummary, Percentile, ms},
    output::{Report, table, table_text},
};

use super::{
    BenchArgs, Errors, Kind,
    cpu::micros_each,
    series::{Point, Series},
};

/// A wanted rate counts as reached if at most one request in so many, and one more, is unanswered.
const MISSING_FRACTION: u64 = 100;

/// When requests were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loop {
    /// Each after the answer to the one before.
    Closed,
    /// On a fixed schedule.
    Open,
}

/// What a measurement found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// The frontend.
    pub url: String,
    /// What was measured.
    pub kind: Kind,
    /// When requests were sent.
    #[serde(rename = "loop")]
    pub load: Loop,
    /// Connections.
    pub connections: u64,
    /// Threads of the client.
    pub threads: usize,
    /// Trades in one request, for batches.
    pub batch_size: Option<usize>,
    /// How long was asked for.
    pub duration_s: u64,
    /// How long requests were sent before anything counted.
    pub warm_up_s: u64,
    /// How long was measured, to the moment.
    pub measured_s: f64,
    /// Answered requests.
    pub requests: u64,
    /// Answered requests a second.
    pub requests_per_s: f64,
    /// Trades accepted, stocks or orders shown.
    pub operations: u64,
    /// Operations a second.
    pub rate_per_s: f64,
    /// Requests a second that were wanted, in an open loop.
    pub wanted_requests_per_s: Option<u64>,
    /// Whether they were reached, in an open loop.
    pub wanted_rate_reached: Option<bool>,
    /// How many fewer requests were answered than were due while it was measured, in an open loop. The latencies show
    /// only answered ones.
    pub unanswered: Option<u64>,
    /// Latencies of requests.
    #[serde(flatten)]
    pub latency: LatencySummary,
    /// CPU time of this client, in user mode and in the kernel.
    pub client_cpu_us_per_request: f64,
    /// What failed.
    pub errors: Errors,
    /// Latencies by percentile.
    pub percentiles: Vec<Percentile>,
    /// The seconds of the measurement.
    pub series: Vec<Point>,
}

impl BenchReport {
    /// The report of a measurement that cost so much CPU time.
    pub fn new(url: &str, args: &BenchArgs, series: Series, cpu: Duration) -> Self {
        let Series { total, measured, points, .. } = series;
        let measured_s = measured.as_secs_f64();
        let each_second = |count: u64| count as f64 / measured_s.max(0.001);
        let due = args.rate.map(|rate| rate * args.duration_s);
        let unanswered = due.map(|due| due.saturating_sub(total.requests));
        Self {
            url: url.to_owned(),
            kind: args.kind,
            load: if args.rate.is_some() { Loop::Open } else { Loop::Closed },
            connections: args.connections,
            threads: args.threads,
            batch_size: (args.kind == Kind::Batch).then_some(args.batch_size),
            duration_s: args.duration_s,
            warm_up_s: args.warm_up_s,
            measured_s,
            requests: total.requests,
            requests_per_s: each_second(total.requests),
            operations: total.operations,
            rate_per_s: each_second(total.operations),
            wanted_requests_per_s: args.rate,
            wanted_rate_reached: due.zip(unanswered).map(|(due, missing)| missing <= due / MISSING_FRACTION + 1),
            unanswered,
            latency: total.latencies.summary(),
            client_cpu_us_per_request: micros_each(cpu, total.requests),
            percentiles: total.latencies.curve(),
            series: points,
            errors: total.errors,
        }
    }

    /// Errors of all kinds.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// What was measured, in words.
    pub fn kind_text(&self) -> String {
        let kind = self.kind.name();
        self.batch_size.map_or(kind.clone(), |size| format!("{kind} of {size}"))
    }

    /// When requests were sent and how that went, one sentence a line.
    pub fn load_text(&self) -> Vec<String> {
        let achieved = format!("{:.0} requests/s", self.requests_per_s);
        let (Some(wanted), Some(unanswered)) = (self.wanted_requests_per_s, self.unanswered) else {
            return vec![format!("closed loop: each connection sent after its answer; {achieved}")];
        };
        let mut lines = vec![format!(
            "open loop: {wanted} requests/s wanted, {achieved} achieved; latencies count from the intended time"
        )];
        if self.wanted_rate_reached == Some(false) {
            lines.push(format!(
                "THE WANTED RATE WAS NOT REACHED: {unanswered} of {} requests were not answered in time, and the \
                 latencies do not show them",
                wanted * self.duration_s
            ));
        }
        lines
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
        let LatencySummary { p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = self.latency;
        let head = [self.kind_text(), self.connections.to_string(), format!("{:.0}", self.rate_per_s)];
        let tail = [self.operations.to_string(), self.errors_total().to_string()];
        rows.add_row(head.into_iter().chain([p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(ms)).chain(tail));
        let mut text = table_text(&rows);
        for line in self.load_text() {
            text += &format!("\n{line}");
        }
        text += &format!("\nclient: {:.1} us of CPU a request", self.client_cpu_us_per_request);
        for (kind, count) in &self.errors {
            text += &format!("\n{count} x {kind}");
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;
    use crate::bench::{generator::Outcome, series::Handover, tally::Tally};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    /// A report of so many answers (the n-th took n milliseconds) in each of two seconds.
    pub(in crate::bench) fn report(flags: &[&str], answers: u64) -> BenchReport {
        let args = Line::parse_from([&["bench", "--duration-s", "2"], flags].concat()).args;
        let mut series = Series::new(1);
        for second in 1..=2 {
            let mut tally = Tally::default();
            for millis in 1..=answers {
                tally.count(Outcome { operations: 1, error: None }, Duration::from_millis(millis));
            }
            series.add(Handover { second, lasted: Duration::from_secs(1), tally });
        }
        BenchReport::new("http://127.0.0.1:8080", &args, series, Duration::from_millis(2))
    }

    #[test]
    fn a_closed_loop_says_what_it_is_and_what_it_cost() {
        let report = report(&[], 500);
        assert_eq!((report.rate_per_s, report.client_cpu_us_per_request), (500.0, 2.0));
        let text = report.to_text(false);
        assert!(text.contains("\nclosed loop: ") && text.contains("500 requests/s"), "{text}");
        assert!(text.ends_with("\nclient: 2.0 us of CPU a request"), "{text}");
        let fields = serde_json::to_value(&report).unwrap();
        assert_eq!((&fields["loop"], &fields["wanted_requests_per_s"]), (&"closed".into(), &().into()));
        assert_eq!(fields["series"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_wanted_rate_that_was_not_reached_is_said_plainly() {
        let reached = report(&["--rate", "500"], 497);
        assert_eq!((reached.wanted_rate_reached, reached.unanswered), (Some(true), Some(6)));
        assert!(!reached.to_text(false).contains("NOT REACHED"));
        let missed = report(&["--rate", "1000"], 500);
        assert_eq!((missed.wanted_rate_reached, missed.unanswered), (Some(false), Some(1_000)));
        let text = missed.to_text(false);
        assert!(text.contains("open loop: 1000 requests/s wanted, 500 requests/s achieved"), "{text}");
        assert!(text.contains("\nTHE WANTED RATE WAS NOT REACHED: 1000 of 2000 requests"), "{text}");
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let report = report(&["--kind", "batch", "--batch-size", "7", "--rate", "9"], 3);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<BenchReport>(&text).unwrap(), report);
        assert_eq!(report.kind_text(), "batch of 7");
    }
}
