//! What a sweep found: for each probability and each cache, the latencies by type of request.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    output::{Report, counted, table, table_text},
    spread::Spread,
    workload::report::{RequestLine, WorkloadReport},
};

use super::SweepArgs;

/// Whether the frontend answered from a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// The frontend of `--url`.
    On,
    /// The frontend of `--url-uncached`.
    Off,
}

impl Cache {
    /// `cache on`, `cache off`.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "cache on",
            Self::Off => "cache off",
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A type of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// `GET /stocks/{name}`.
    Lookup,
    /// `POST /orders`.
    Trade,
    /// `GET /orders/{number}`.
    OrderRead,
}

impl Request {
    /// All of them, in the order of the experiment.
    pub const ALL: [Self; 3] = [Self::Lookup, Self::Trade, Self::OrderRead];

    /// Its name in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Trade => "trade",
            Self::OrderRead => "order read",
        }
    }

    fn line(self, report: &WorkloadReport) -> &RequestLine {
        match self {
            Self::Lookup => &report.lookup,
            Self::Trade => &report.trade,
            Self::OrderRead => &report.order_read,
        }
    }
}

/// Latencies of one type of request at one point, in milliseconds; each a median of the repeats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// How many requests, in all repeats.
    pub count: u64,
    /// The mean.
    pub mean_ms: Spread,
    /// Half were faster.
    pub p50_ms: Spread,
    /// 99 in 100 were faster.
    pub p99_ms: Spread,
}

impl Figures {
    /// Of the repeats; nothing if there was no such request.
    fn of(lines: &[&RequestLine]) -> Option<Self> {
        let lines: Vec<&RequestLine> = lines.iter().copied().filter(|line| line.count > 0).collect();
        let spread = |value: fn(&RequestLine) -> f64| Spread::of(lines.iter().map(|line| value(line)));
        Some(Self {
            count: lines.iter().map(|line| line.count).sum(),
            mean_ms: spread(|line| line.latency.mean_ms)?,
            p50_ms: spread(|line| line.latency.p50_ms)?,
            p99_ms: spread(|line| line.latency.p99_ms)?,
        })
    }
}

/// One point of the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Probability of a trade after a lookup.
    pub probability_percent: u8,
    /// Whether the frontend has a cache.
    pub cache: Cache,
    /// Lookups that were answered from it.
    pub hits_percent: Spread,
    /// Requests that were sent again, in all repeats.
    pub retries: u64,
    /// The latencies. At 0 % there are no trades, and so no orders to read.
    pub latencies: BTreeMap<Request, Figures>,
}

impl Point {
    /// A point of these repeats.
    pub(super) fn new(probability_percent: u8, cache: Cache, repeats: &[&WorkloadReport]) -> Self {
        let lines = |request: Request| repeats.iter().map(|report| request.line(report)).collect::<Vec<_>>();
        let figures = Request::ALL.map(|request| Some((request, Figures::of(&lines(request))?)));
        let hits = repeats.iter().map(|report| percent(report.cache.hit, report.lookup.count));
        Self {
            probability_percent,
            cache,
            hits_percent: Spread::of(hits).expect("a point has at least one repeat"),
            retries: Request::ALL.iter().flat_map(|request| lines(*request)).map(|line| line.retries).sum(),
            latencies: figures.into_iter().flatten().collect(),
        }
    }
}

/// With one decimal.
fn percent(part: u64, whole: u64) -> f64 {
    (part as f64 / whole.max(1) as f64 * 1_000.0).round() / 10.0
}

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Clients at a time.
    pub clients: u64,
    /// Iterations of all clients together, for each repeat of a point.
    pub requests: u64,
    /// Measurements of each point.
    pub repeats: u64,
    /// Seed of the random choices.
    pub seed: u64,
    /// Processors that the client sees.
    pub processors: usize,
    /// The points, by probability.
    pub points: Vec<Point>,
}

impl SweepReport {
    /// The report of these points.
    pub(super) fn new(args: &SweepArgs, points: Vec<Point>) -> Self {
        let SweepArgs { clients, requests, repeats, seed, .. } = *args;
        let processors = std::thread::available_parallelism().map_or(1, Into::into);
        Self { clients, requests, repeats, seed, processors, points }
    }

    /// The points with this cache, by probability.
    pub fn with(&self, cache: Cache) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.cache == cache)
    }

    /// How it was measured, in one sentence.
    pub fn setup(&self) -> String {
        let Self { clients, requests, repeats, processors, .. } = self;
        let repeated = match repeats {
            1 => "one of each".to_owned(),
            _ => format!("medians of {repeats} repeats (smallest to largest)"),
        };
        format!(
            "{}, {requests} iterations for each measurement, {repeated}, {} for everything",
            counted(*clients, "client"),
            counted(*processors as u64, "processor"),
        )
    }

    /// A single measurement has no spread.
    fn shown(&self, spread: &Spread) -> String {
        if self.repeats == 1 { format!("{:.2}", spread.median) } else { format!("{spread:.2}") }
    }
}

impl Report for SweepReport {
    fn to_text(&self, colour: bool) -> String {
        let header = ["REQUEST", "TRADES %", "CACHE", "HITS %", "COUNT", "MEAN MS", "P50 MS", "P99 MS"];
        let mut rows = table(&header, colour);
        for request in Request::ALL {
            for point in &self.points {
                let Some(figures) = point.latencies.get(&request) else { continue };
                let Figures { count, mean_ms, p50_ms, p99_ms } = figures;
                let percent = point.probability_percent.to_string();
                let hits =
                    if request == Request::Lookup { format!("{:.1}", point.hits_percent.median) } else { "-".into() };
                let head = [request.name().into(), percent, point.cache.to_string(), hits, count.to_string()];
                rows.add_row(head.into_iter().chain([mean_ms, p50_ms, p99_ms].map(|spread| self.shown(spread))));
            }
        }
        format!("{}\n\n{}", table_text(&rows), self.setup())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::workload::tally::Tally;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SweepArgs,
    }

    /// A run of two lookups, one of them a hit, and one trade, each of so many milliseconds.
    fn run(lookup_ms: u64, trade_ms: Option<u64>) -> WorkloadReport {
        let mut tally = Tally::default();
        tally.lookups.count(0, Duration::from_millis(lookup_ms), true);
        tally.lookups.count(1, Duration::from_millis(lookup_ms), true);
        tally.cache.hit = 1;
        trade_ms.into_iter().for_each(|millis| tally.trades.count(0, Duration::from_millis(millis), true));
        WorkloadReport::new(&tally, 2, false, Duration::from_secs(1))
    }

    fn point(percent: u8, cache: Cache, runs: &[WorkloadReport]) -> Point {
        Point::new(percent, cache, &runs.iter().collect::<Vec<_>>())
    }

    /// 0 and 20 % with a cache and without; without it a lookup takes twice as long.
    pub(in crate::sweep) fn report() -> SweepReport {
        let points = [(Cache::On, 4), (Cache::Off, 8)].into_iter().flat_map(|(cache, millis)| {
            [point(0, cache, &[run(millis, None)]), point(20, cache, &[run(millis, Some(16))])]
        });
        SweepReport::new(&Line::parse_from(["sweep", "--repeats", "1"]).args, points.collect())
    }

    #[test]
    fn a_point_has_the_medians_of_its_repeats_and_the_sums_of_their_counts() {
        let point = point(20, Cache::On, &[run(4, Some(16)), run(8, Some(16)), run(6, None)]);
        let lookups = point.latencies[&Request::Lookup];
        assert_eq!((lookups.count, lookups.mean_ms.min.round(), lookups.mean_ms.max.round()), (6, 4.0, 8.0));
        assert_eq!((lookups.mean_ms.median.round(), lookups.p99_ms.median.round()), (6.0, 6.0));
        assert_eq!((point.hits_percent.median, point.retries), (50.0, 3));
        assert_eq!(point.latencies[&Request::Trade].count, 2, "a repeat without trades says nothing about trades");
        assert!(!point.latencies.contains_key(&Request::OrderRead));
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written_and_one_measurement_is_shown_without_a_spread() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<SweepReport>(&text).unwrap(), report);
        let text = report.to_text(false);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let trades: Vec<_> =
            text.lines().map(words).filter(|words| words.first().is_some_and(|it| it == "trade")).collect();
        assert_eq!(trades.len(), 2, "{text}");
        assert_eq!(trades[1][..6], ["trade", "20", "cache", "off", "-", "1"], "{text}");
        assert!(!trades[1][6].contains('('), "{text}");
    }
}
