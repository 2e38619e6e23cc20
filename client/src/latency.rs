//! Latencies: a histogram, and the few numbers that are shown of it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is told apart; longer ones count as this.
const LATENCY_MICROS_MAX: u64 = 600_000_000;
/// Precision: three digits are exact.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Points of a percentile curve for each nine (90 %, 99 %, 99.9 %).
const CURVE_STEPS: u32 = 10;

/// A histogram of latencies, exact to three digits from a microsecond to ten minutes.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, SIGNIFICANT_DIGITS);
        Self(histogram.expect("the bounds are constants and valid"))
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts all of another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms here have the same bounds");
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The numbers to show.
    pub fn summary(&self) -> LatencySummary {
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        LatencySummary {
            p50_ms: at(0.50),
            p90_ms: at(0.90),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            mean_ms: self.0.mean().round() / 1_000.0,
            max_ms: self.0.max() as f64 / 1_000.0,
        }
    }

    /// The latencies by percentile, with equal steps from nine to nine, and no further than the count can tell.
    pub fn curve(&self) -> Vec<Percentile> {
        let steps = (self.count() as f64).log10() * f64::from(CURVE_STEPS);
        let reached = (0_u32..).take_while(|step| f64::from(*step) <= steps);
        let quantiles = reached.map(|step| 1.0 - 10_f64.powf(-f64::from(step) / f64::from(CURVE_STEPS)));
        let ms = |quantile| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        quantiles.map(|quantile| Percentile { percentile: quantile * 100.0, ms: ms(quantile) }).collect()
    }
}

/// A point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// So many in a hundred were not slower.
    pub percentile: f64,
    /// Than this.
    pub ms: f64,
}

/// Quantiles and mean of latencies, in milliseconds; all 0 if nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Half were faster.
    pub p50_ms: f64,
    /// Nine in ten were faster.
    pub p90_ms: f64,
    /// 99 in 100 were faster.
    pub p99_ms: f64,
    /// 999 in 1,000 were faster.
    pub p999_ms: f64,
    /// All together, divided by their number.
    pub mean_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// Milliseconds with two decimals.
pub fn ms(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_one_to_a_thousand_milliseconds_are_exact_to_three_digits() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|millis| latencies.record(Duration::from_millis(millis)));
        let summary = latencies.summary();
        let near = |found: f64, wanted: f64| (found - wanted).abs() <= wanted / 1_000.0;
        assert!(near(summary.p50_ms, 500.0), "{summary:?}");
        assert!(near(summary.p90_ms, 900.0), "{summary:?}");
        assert!(near(summary.p99_ms, 990.0), "{summary:?}");
        assert!(near(summary.max_ms, 1_000.0), "{summary:?}");
        assert!(near(summary.mean_ms, 500.5), "{summary:?}");
    }

    #[test]
    fn nothing_counted_shows_zeros_and_a_merge_keeps_all() {
        let mut all = Latencies::default();
        assert_eq!(all.summary(), LatencySummary::default());
        let mut one = Latencies::default();
        one.record(Duration::from_secs(3_600));
        all.merge(&one);
        all.merge(&one);
        assert_eq!(all.count(), 2);
        assert!(all.summary().max_ms >= 600_000.0, "longer than the bound counts as the bound");
    }

    #[test]
    fn a_curve_rises_from_the_fastest_to_the_last_percentile_that_the_count_can_tell() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.curve(), []);
        (1..=1_000).for_each(|millis| latencies.record(Duration::from_millis(millis)));
        let curve = latencies.curve();
        assert!(curve.is_sorted_by(|a, b| a.percentile < b.percentile && a.ms <= b.ms), "{curve:?}");
        let (first, last) = (curve[0], curve[curve.len() - 1]);
        assert_eq!((first.percentile, first.ms), (0.0, 1.0));
        assert!((last.percentile - 99.9).abs() < 0.001 && (last.ms - 999.0).abs() <= 1.0, "{last:?}");
    }
}
