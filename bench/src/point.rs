//! One row of the table: what the repeats of a load gave together.

use std::collections::BTreeMap;

use anyhow::Result;
use bazaar_client::spread::Spread;
use serde::Serialize;

use crate::{
    repeat::Repeat,
    usage::{Group, resident_mib},
};

/// Above this share of the machine's CPU in other hands, a row is marked.
pub const NOISE_PERCENT_MAX: f64 = 10.0;

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Its name, as `--only` takes it.
    pub name: String,
    /// Connections or clients.
    pub clients: u64,
    /// Operations a second.
    pub rate_per_s: Spread,
    /// Half of the requests were faster.
    pub p50_ms: Spread,
    /// 99 in 100 were faster.
    pub p99_ms: Spread,
    /// Operations that failed, in all repeats.
    pub errors: u64,
    /// Attempts that another client was faster than, for each operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflicts_per_operation: Option<Spread>,
    /// The largest share of the machine's CPU that went to others in a repeat, other guests of the host included.
    pub others_percent: f64,
    /// The share of the machine's CPU that was at work.
    pub busy_percent: Spread,
    /// CPU of each group for one operation, in microseconds.
    pub cpu_us_per_operation: BTreeMap<String, f64>,
    /// Bytes that each group wrote to the disk for one operation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub written_bytes_per_operation: BTreeMap<String, f64>,
    /// Resident memory of each group at the end.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resident_mib: BTreeMap<String, f64>,
    /// Mean time of each stage of a trade, in microseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stages_us: BTreeMap<String, f64>,
    /// The repeats.
    pub repeats: Vec<Repeat>,
}

impl Point {
    /// A row of these repeats.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(name: impl Into<String>, clients: u64, repeats: Vec<Repeat>) -> Self {
        let spread = |figure: &dyn Fn(&Repeat) -> f64| Spread::of(repeats.iter().map(figure)).expect("repeats");
        let others = |repeat: &Repeat| repeat.usage.others_percent + repeat.usage.stolen_percent;
        Self {
            name: name.into(),
            clients,
            rate_per_s: spread(&|repeat| repeat.answer.rate_per_s),
            p50_ms: spread(&|repeat| repeat.answer.p50_ms),
            p99_ms: spread(&|repeat| repeat.answer.p99_ms),
            errors: repeats.iter().map(|repeat| repeat.answer.errors).sum(),
            conflicts_per_operation: Spread::of(repeats.iter().filter_map(|one| one.answer.conflicts_per_operation)),
            others_percent: spread(&others).max,
            busy_percent: spread(&|repeat| repeat.usage.busy_percent),
            cpu_us_per_operation: per_operation(&repeats, |repeat| &repeat.usage.cpu_s, |cpu_s| cpu_s * 1e6),
            written_bytes_per_operation: per_operation(
                &repeats,
                |repeat| &repeat.usage.written_bytes,
                |bytes| bytes as f64,
            ),
            resident_mib: BTreeMap::new(),
            stages_us: BTreeMap::new(),
            repeats,
        }
    }

    /// The same with the memory of these processes as it is now.
    ///
    /// # Errors
    /// If one of them is gone.
    pub fn with_memory(mut self, groups: &[Group]) -> Result<Self> {
        self.resident_mib = resident_mib(groups)?;
        Ok(self)
    }

    /// The same without the bytes written, where processes come and go and theirs would be missing.
    pub fn without_written_bytes(mut self) -> Self {
        self.written_bytes_per_operation.clear();
        self
    }

    /// CPU of all processes together for one operation, in microseconds.
    pub fn cpu_us_total(&self) -> f64 {
        self.cpu_us_per_operation.values().sum()
    }

    /// Whether so much CPU went to others that the figures say little.
    pub fn is_noisy(&self) -> bool {
        self.others_percent > NOISE_PERCENT_MAX
    }
}

/// What all repeats together took of each group, divided by all their operations.
fn per_operation<T: Copy>(
    repeats: &[Repeat],
    taken: impl Fn(&Repeat) -> &BTreeMap<String, T>,
    value: impl Fn(T) -> f64,
) -> BTreeMap<String, f64> {
    let operations: u64 = repeats.iter().map(|repeat| repeat.answer.operations).sum();
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (name, amount) in repeats.iter().flat_map(&taken) {
        *sums.entry(name.clone()).or_default() += value(*amount) / operations.max(1) as f64;
    }
    sums
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{answer::Answer, usage::Usage};

    /// A repeat of 1,000 operations in which `leader` took this much CPU.
    pub(crate) fn one(rate_per_s: f64, leader_cpu_s: f64, others_percent: f64) -> Repeat {
        let usage = Usage {
            others_percent,
            stolen_percent: 1.0,
            busy_percent: 90.0,
            cpu_s: [("leader".to_owned(), leader_cpu_s), ("client".to_owned(), 0.01)].into(),
            written_bytes: [("leader".to_owned(), 500_000)].into(),
        };
        let answer = Answer {
            operations: 1_000,
            rate_per_s,
            p50_ms: 1.0,
            p99_ms: 7.0,
            errors: 2,
            conflicts_per_operation: None,
        };
        Repeat { answer, usage }
    }

    #[test]
    fn a_row_has_medians_sums_of_errors_and_costs_for_one_operation() {
        let point =
            Point::new("trades-64", 64, vec![one(100.0, 0.02, 1.0), one(300.0, 0.04, 9.5), one(200.0, 0.03, 2.0)]);
        assert_eq!(point.rate_per_s, Spread { median: 200.0, min: 100.0, max: 300.0 });
        assert_eq!(point.errors, 6);
        assert!((point.cpu_us_per_operation["leader"] - 30.0).abs() < 1e-9);
        assert!((point.cpu_us_total() - 40.0).abs() < 1e-9);
        assert_eq!(point.written_bytes_per_operation["leader"].round(), 500.0);
        assert_eq!((point.others_percent, point.is_noisy()), (10.5, true), "the worst repeat tells, guests included");
    }

    #[test]
    fn repeats_in_which_nothing_succeeded_cost_something_finite() {
        let mut repeat = one(0.0, 0.5, 0.0);
        repeat.answer.operations = 0;
        assert!(Point::new("x", 1, vec![repeat]).cpu_us_total().is_finite());
    }

    #[test]
    fn what_a_row_does_not_have_is_not_in_its_json() {
        let point = Point::new("trades-64", 64, vec![one(100.0, 0.02, 1.0)]);
        let text = serde_json::to_string(&point).unwrap();
        assert!(!text.contains("resident_mib") && !text.contains("conflicts"), "{text}");
    }
}
