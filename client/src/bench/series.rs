//! The course of a measurement: what the threads hand over once a second becomes one point. Pure.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::latency::ms;

use super::tally::Tally;

/// One second of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Which one: 1 is the first after the warm-up.
    pub second: u64,
    /// Operations a second.
    pub rate_per_s: f64,
    /// Half of the requests were faster.
    pub p50_ms: f64,
    /// 99 in 100 were faster.
    pub p99_ms: f64,
    /// What failed.
    pub errors: u64,
}

/// What one thread counted in one second.
#[derive(Debug)]
pub struct Handover {
    /// Which second, from 1.
    pub second: u64,
    /// How long it really was.
    pub lasted: Duration,
    /// What was counted.
    pub tally: Tally,
}

/// Puts the threads' parts together.
#[derive(Debug)]
pub struct Series {
    threads: u64,
    /// Seconds for which parts are missing, with those that are there.
    incomplete: BTreeMap<u64, (u64, Duration, Tally)>,
    /// The whole measurement so far.
    pub total: Tally,
    /// How long that was.
    pub measured: Duration,
    /// Its seconds.
    pub points: Vec<Point>,
}

impl Series {
    /// Nothing was measured yet; each of so many threads will hand over its part of each second, in order.
    pub fn new(threads: u64) -> Self {
        let (total, measured) = (Tally::default(), Duration::ZERO);
        Self { threads, incomplete: BTreeMap::new(), total, measured, points: Vec::new() }
    }

    /// Adds one thread's part; returns the point that it completes.
    pub fn add(&mut self, part: Handover) -> Option<Point> {
        let (parts, lasted, tally) = self.incomplete.entry(part.second).or_default();
        *parts += 1;
        *lasted = part.lasted.max(*lasted);
        tally.merge(part.tally);
        if *parts < self.threads {
            return None;
        }
        let (_, lasted, tally) = self.incomplete.remove(&part.second)?;
        let point = point(part.second, lasted, &tally);
        self.points.push(point);
        self.measured += lasted;
        self.total.merge(tally);
        Some(point)
    }

    /// The live line: the newest second, and the errors of all.
    pub fn live(&self, point: &Point, duration_s: u64) -> String {
        let Point { second, rate_per_s, p50_ms, p99_ms, .. } = point;
        let (p50, p99, errors) = (ms(*p50_ms), ms(*p99_ms), self.total.errors_total());
        format!("{second}/{duration_s} s: {rate_per_s:.0}/s, p50 {p50} ms, p99 {p99} ms, {errors} errors")
    }
}

fn point(second: u64, lasted: Duration, tally: &Tally) -> Point {
    let latency = tally.latencies.summary();
    let rate_per_s = tally.operations as f64 / lasted.as_secs_f64().max(0.001);
    Point { second, rate_per_s, p50_ms: latency.p50_ms, p99_ms: latency.p99_ms, errors: tally.errors_total() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::generator::Outcome;

    fn part(second: u64, millis: u64, requests: u64, latency_ms: u64) -> Handover {
        let mut tally = Tally::default();
        for _ in 0..requests {
            tally.count(Outcome { operations: 1, error: None }, Duration::from_millis(latency_ms));
        }
        Handover { second, lasted: Duration::from_millis(millis), tally }
    }

    #[test]
    fn a_second_is_a_point_once_all_threads_have_handed_it_over() {
        let mut series = Series::new(2);
        assert_eq!(series.add(part(1, 1_000, 30, 2)), None);
        assert_eq!(series.add(part(2, 1_000, 10, 2)), None);
        let first = series.add(part(1, 1_250, 20, 8)).unwrap();
        assert_eq!((first.second, first.rate_per_s), (1, 40.0));
        assert!((first.p50_ms - 2.0).abs() < 0.01 && (first.p99_ms - 8.0).abs() < 0.01, "{first:?}");
        assert_eq!(series.add(part(2, 1_000, 0, 0)).unwrap().rate_per_s, 10.0);
        assert_eq!((series.total.requests, series.measured), (60, Duration::from_millis(2_250)));
        assert_eq!(series.points.len(), 2);
    }

    #[test]
    fn an_interval_without_answers_is_a_point_of_zeros_that_keeps_its_errors() {
        let mut series = Series::new(1);
        let mut nothing = part(1, 1_000, 0, 0);
        nothing.tally.error("connection refused".into(), 7);
        let point = series.add(nothing).unwrap();
        assert_eq!(point, Point { second: 1, rate_per_s: 0.0, p50_ms: 0.0, p99_ms: 0.0, errors: 7 });
        assert_eq!(series.live(&point, 10), "1/10 s: 0/s, p50 0.00 ms, p99 0.00 ms, 7 errors");
        assert_eq!(series.total.errors["connection refused"], 7);
    }
}
