//! What the figures should be, and whether they are. Pure.

use serde::Serialize;

use crate::{
    bazaar::bytes::OrderBytes,
    plan::{BARE, LOOKUPS},
    point::Point,
};

/// Replicas, whose bytes on the disk count.
pub const REPLICA_GROUPS: [&str; 3] = ["leader", "follower_a", "follower_b"];
/// The row at which CPU and bytes of a trade are told.
pub const COSTS: &str = "trades-64";

/// One goal and what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The row that it is about.
    pub row: String,
    /// What should be: `at least 30000/s`.
    pub goal: String,
    /// What was found, in the goal's unit.
    pub found: f64,
    /// Whether it is so.
    pub met: bool,
}

/// A figure of a row and its bound.
enum Bound {
    RateMin(f64),
    P50Max(f64),
    P99Max(f64),
}

use Bound::{P50Max, P99Max, RateMin};

/// Goals of single rows.
const ROWS: [(&str, &[Bound]); 5] = [
    ("trades-1", &[RateMin(2_000.0), P50Max(0.5)]),
    ("trades-64", &[RateMin(30_000.0), P99Max(8.0)]),
    ("trades-256", &[RateMin(40_000.0), P99Max(25.0)]),
    ("batch-64", &[RateMin(60_000.0)]),
    ("reads-64", &[RateMin(35_000.0)]),
];
/// Goals of the best batch size.
const BEST_BATCH: &[Bound] = &[RateMin(160_000.0), P99Max(115.0)];
/// Lookups against the bare web server.
const LOOKUP_SHARE_MIN: f64 = 0.8;
/// CPU of all processes together for a trade.
const TRADE_CPU_US_MAX: f64 = 60.0;
/// Bytes that all replicas write for a trade, as a multiple of what its client sent.
const WRITTEN_TIMES_MAX: f64 = 12.0;

/// All goals that the measured rows say something about.
pub fn verdicts(points: &[Point], order: Option<OrderBytes>) -> Vec<Verdict> {
    let named = |name: &str| points.iter().find(|point| point.name == name);
    let mut verdicts = Vec::new();
    for (name, bounds) in &ROWS {
        verdicts.extend(named(name).into_iter().flat_map(|point| bounds.iter().map(|bound| judge(point, bound))));
    }
    verdicts
        .extend(best_batch(points).into_iter().flat_map(|point| BEST_BATCH.iter().map(|bound| judge(point, bound))));
    if let Some((lookups, bare)) = named(LOOKUPS).zip(named(BARE)) {
        let found = lookups.rate_per_s.median / bare.rate_per_s.median;
        let goal = format!("at least {:.0} % of a bare handler", 100.0 * LOOKUP_SHARE_MIN);
        verdicts.push(Verdict { row: LOOKUPS.into(), goal, found: 100.0 * found, met: found >= LOOKUP_SHARE_MIN });
    }
    if let Some(point) = named(COSTS) {
        verdicts.push(at_most(point, "us of CPU for a trade", point.cpu_us_total(), TRADE_CPU_US_MAX));
        let times = order.map(|order| replica_bytes(point) / order.sent);
        verdicts.extend(times.map(|times| at_most(point, "x the order's bytes to disk", times, WRITTEN_TIMES_MAX)));
    }
    verdicts
}

/// The batches of 1,000 and more with the highest rate.
pub fn best_batch(points: &[Point]) -> Option<&Point> {
    let large = points.iter().filter(|point| point.name.starts_with("batch-") && point.name != "batch-64");
    large.max_by(|one, other| one.rate_per_s.median.total_cmp(&other.rate_per_s.median))
}

/// Bytes that all replicas together wrote for one operation.
pub fn replica_bytes(point: &Point) -> f64 {
    REPLICA_GROUPS.iter().filter_map(|group| point.written_bytes_per_operation.get(*group)).sum()
}

fn judge(point: &Point, bound: &Bound) -> Verdict {
    match bound {
        RateMin(min) => {
            let found = point.rate_per_s.median;
            Verdict { row: point.name.clone(), goal: format!("at least {min:.0}/s"), found, met: found >= *min }
        }
        P50Max(max) => at_most(point, "ms p50", point.p50_ms.median, *max),
        P99Max(max) => at_most(point, "ms p99", point.p99_ms.median, *max),
    }
}

fn at_most(point: &Point, unit: &str, found: f64, max: f64) -> Verdict {
    Verdict { row: point.name.clone(), goal: format!("at most {max} {unit}"), found, met: found <= max }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::tests::one;

    fn point(name: &str, rate_per_s: f64) -> Point {
        Point::new(name, 64, vec![one(rate_per_s, 0.03, 0.0)])
    }

    fn found(verdicts: &[Verdict]) -> Vec<(&str, &str, f64, bool)> {
        verdicts.iter().map(|one| (one.row.as_str(), one.goal.as_str(), one.found.round(), one.met)).collect()
    }

    #[test]
    fn only_measured_rows_are_judged() {
        assert_eq!(verdicts(&[point("mixed-64", 1.0)], None), []);
    }

    #[test]
    fn a_trade_is_judged_by_rate_latency_cpu_and_bytes() {
        let order = Some(OrderBytes { sent: 40.0, stored: 30.0 });
        assert_eq!(
            found(&verdicts(&[point("trades-64", 29_999.0)], order)),
            [
                ("trades-64", "at least 30000/s", 29_999.0, false),
                ("trades-64", "at most 8 ms p99", 7.0, true),
                ("trades-64", "at most 60 us of CPU for a trade", 40.0, true),
                ("trades-64", "at most 12 x the order's bytes to disk", 13.0, false),
            ]
        );
    }

    #[test]
    fn of_the_large_batches_the_fastest_counts() {
        let points = [point("batch-64", 60_000.0), point("batch-1000", 170_000.0), point("batch-8192", 90_000.0)];
        assert_eq!(
            found(&verdicts(&points, None)),
            [
                ("batch-64", "at least 60000/s", 60_000.0, true),
                ("batch-1000", "at least 160000/s", 170_000.0, true),
                ("batch-1000", "at most 115 ms p99", 7.0, true),
            ]
        );
    }

    #[test]
    fn lookups_are_compared_with_the_bare_server() {
        let points = [point(LOOKUPS, 79.0), point(BARE, 100.0)];
        assert_eq!(found(&verdicts(&points, None)), [(LOOKUPS, "at least 80 % of a bare handler", 79.0, false)]);
    }
}
