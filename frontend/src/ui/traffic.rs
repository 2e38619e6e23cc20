//! What goes through this frontend, from the counters that it keeps anyway. Pure.

use std::collections::{BTreeMap, VecDeque};

use bazaar_service::meters::Metric;

use crate::meters;

/// Looks that the charts go back.
pub(crate) const SAMPLES_MAX: usize = 120;

/// The counters at one moment: each line of the metrics' text form, by its name with labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counters(BTreeMap<String, f64>);

impl Counters {
    /// Reads the lines that the page needs.
    pub(crate) fn parse(text: &str) -> Self {
        let wanted = |line: &&str| line.starts_with("bazaar_frontend_");
        let pairs = text.lines().filter(wanted).filter_map(|line| line.rsplit_once(' '));
        Self(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    fn get(&self, metric: &Metric) -> f64 {
        self.0.get(metric.name).copied().unwrap_or(0.0)
    }

    fn lookups(&self) -> f64 {
        self.get(&meters::CACHE_HITS) + self.get(&meters::CACHE_MISSES) + self.get(&meters::CACHE_BYPASSES)
    }

    fn errors(&self) -> BTreeMap<String, u64> {
        let prefix = format!("{}{{kind=\"", meters::FAILURES.name);
        let kinds = self.0.iter().filter_map(|(name, count)| {
            Some((name.strip_prefix(&prefix)?.strip_suffix("\"}")?.to_owned(), *count as u64))
        });
        kinds.filter(|(_, count)| *count > 0).collect()
    }

    /// The buckets of a type of request, as (upper bound in seconds, count up to it), in order.
    fn buckets(&self, request: &str) -> Vec<(f64, f64)> {
        let prefix = format!("{}_bucket{{type=\"{request}\",le=\"", meters::REQUEST_SECONDS.name);
        let mut buckets: Vec<(f64, f64)> = self
            .0
            .iter()
            .filter_map(|(name, count)| {
                let bound = name.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                Some((bound, *count))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        buckets
    }
}

/// A quantile of what was counted between two readings of the same buckets, in milliseconds; within its bucket it is
/// taken to lie where an even spread would put it. Nothing if nothing was counted, or it lies past the last bound.
fn quantile_ms(before: &[(f64, f64)], after: &[(f64, f64)], share: f64) -> Option<f64> {
    let earlier = |bound: f64| before.iter().find(|bucket| bucket.0 == bound).map_or(0.0, |bucket| bucket.1);
    let counts: Vec<(f64, f64)> = after.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect();
    let wanted = counts.last().map(|(_, all)| all * share).filter(|wanted| *wanted > 0.0)?;
    let at = counts.iter().position(|(_, count)| *count >= wanted)?;
    let (bound, count) = counts[at];
    let (lower, below) = at.checked_sub(1).map_or((0.0, 0.0), |at| counts[at]);
    let seconds = lower + (bound - lower) * (wanted - below) / (count - below);
    seconds.is_finite().then_some(seconds * 1_000.0)
}

/// How fast one type of request goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Pace {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

/// What the page says of this frontend's traffic.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Traffic {
    /// Trades, as they are sent to the leader.
    pub(crate) trades: Pace,
    /// Lookups of one stock.
    pub(crate) lookups: Pace,
    /// Trades and lookups a second at the last looks, oldest first.
    pub(crate) samples: Vec<(f64, f64)>,
    /// Errors that this process answered since its start, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Lookups that the cache answered, that asked the catalog, and that went past the cache, since the start.
    pub(crate) cache: [u64; 3],
    /// Pushes of the catalog that stocks are about to change, since the start.
    pub(crate) invalidations: u64,
}

/// Turns readings of the counters into rates.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    last: Option<(f64, Counters)>,
    samples: VecDeque<(f64, f64)>,
}

impl Meter {
    /// Takes a reading at a time in milliseconds.
    pub(crate) fn read(&mut self, at_ms: f64, counters: Counters) -> Traffic {
        let (last_at, last) = self.last.take().unwrap_or_else(|| (at_ms, counters.clone()));
        let seconds = (at_ms - last_at) / 1_000.0;
        let rate = |before: f64, after: f64| if seconds > 0.0 { (after - before).max(0.0) / seconds } else { 0.0 };
        let pace = |request: &str, per_second: f64| {
            let (before, after) = (last.buckets(request), counters.buckets(request));
            let [p50_ms, p99_ms] = [0.5, 0.99].map(|share| quantile_ms(&before, &after, share));
            Pace { per_second, p50_ms, p99_ms }
        };
        let trades =
            pace("trade", rate(last.get(&meters::GATEWAY_SENT_TRADES), counters.get(&meters::GATEWAY_SENT_TRADES)));
        let lookups = pace("lookup", rate(last.lookups(), counters.lookups()));
        if seconds > 0.0 {
            self.remember((trades.per_second, lookups.per_second));
        }
        let traffic = Traffic {
            trades,
            lookups,
            samples: self.samples.iter().copied().collect(),
            errors: counters.errors(),
            cache: [&meters::CACHE_HITS, &meters::CACHE_MISSES, &meters::CACHE_BYPASSES]
                .map(|metric| counters.get(metric) as u64),
            invalidations: counters.get(&meters::CACHE_INVALIDATIONS) as u64,
        };
        self.last = Some((at_ms, counters));
        traffic
    }

    /// Begins anew after a pause: rates over it would say nothing about now.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    fn remember(&mut self, sample: (f64, f64)) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(trades: u64, hits: u64, fast: u64, slow: u64) -> String {
        format!(
            "# TYPE bazaar_frontend_request_seconds histogram\n\
             bazaar_frontend_gateway_sent_trades_total {trades}\n\
             bazaar_frontend_cache_hits_total {hits}\n\
             bazaar_frontend_failures_total{{kind=\"no_leader\"}} 2\n\
             bazaar_express_requests_total 7\n\
             bazaar_frontend_request_seconds_bucket{{type=\"trade\",le=\"0.001\"}} {fast}\n\
             bazaar_frontend_request_seconds_bucket{{type=\"trade\",le=\"0.002\"}} {}\n\
             bazaar_frontend_request_seconds_bucket{{type=\"trade\",le=\"+Inf\"}} {}\n",
            fast + slow,
            fast + slow,
        )
    }

    #[test]
    fn rates_are_what_was_counted_between_two_looks() {
        let mut meter = Meter::default();
        let first = meter.read(1_000.0, Counters::parse(&text(100, 10, 50, 0)));
        assert_eq!((first.trades.per_second, first.trades.p50_ms, first.samples.len()), (0.0, None, 0));
        let second = meter.read(3_000.0, Counters::parse(&text(300, 70, 140, 10)));
        assert_eq!((second.trades.per_second, second.lookups.per_second), (100.0, 30.0));
        assert_eq!(second.samples, [(100.0, 30.0)]);
        assert_eq!(second.errors, BTreeMap::from([("no_leader".to_owned(), 2)]));
        assert_eq!(second.cache, [70, 0, 0]);
    }

    #[test]
    fn quantiles_are_of_the_requests_between_two_looks_only() {
        let mut meter = Meter::default();
        meter.read(0.0, Counters::parse(&text(0, 0, 1_000, 0)));
        let traffic = meter.read(1_000.0, Counters::parse(&text(0, 0, 1_090, 10)));
        assert!((traffic.trades.p50_ms.unwrap() - 50.0 / 90.0).abs() < 1e-9);
        assert!((traffic.trades.p99_ms.unwrap() - 1.9).abs() < 1e-9);
        assert_eq!(traffic.lookups.p50_ms, None);
    }

    #[test]
    fn a_quantile_past_the_last_bound_is_not_made_up() {
        assert_eq!(quantile_ms(&[], &[(0.001, 0.0), (f64::INFINITY, 4.0)], 0.5), None);
    }

    #[test]
    fn the_chart_keeps_the_newest_samples() {
        let mut meter = Meter::default();
        for second in 0..200_u32 {
            meter.read(f64::from(second) * 1_000.0, Counters::default());
        }
        assert_eq!(meter.read(200_000.0, Counters::default()).samples.len(), SAMPLES_MAX);
    }
}
