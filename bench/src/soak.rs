//! Trades for a long time: does anything get slower or larger?

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::{
    bazaar::{Bazaar, Load},
    machine,
    progress::say,
    repeat::repeat,
    usage::resident_mib,
};

/// The load.
const LOAD: Load = Load { kind: "trade", connections: 64, batch_size: None };
const MINUTE_S: u64 = 60;
/// A soak ends early rather than fill the disk of the machine.
const FREE_BYTES_MIN: u64 = 2 << 30;

/// One minute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Minute {
    /// From 1.
    pub minute: u64,
    /// Trades a second.
    pub rate_per_s: f64,
    /// 99 in 100 were faster.
    pub p99_ms: f64,
    /// Requests that failed.
    pub errors: u64,
    /// The share of the machine's CPU that went to others.
    pub others_percent: f64,
    /// Resident memory of each process.
    pub resident_mib: BTreeMap<String, f64>,
    /// Elections since the soak began.
    pub elections: u64,
    /// Orders in the store.
    pub orders: u64,
}

/// A whole soak.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Soak {
    /// Its minutes.
    pub minutes: Vec<Minute>,
    /// The mean rate of the last tenth by that of the first.
    pub last_tenth_by_first: f64,
}

impl Soak {
    /// Soaks a cluster for so many minutes and says a line about each.
    ///
    /// # Errors
    /// If the load cannot start, a process is gone, or the disk is nearly full; the minutes until then are kept.
    pub async fn run(&mut self, bazaar: &Bazaar, minutes: u64) -> Result<()> {
        let first_term = bazaar.standing().await?.term;
        for minute in 1..=minutes {
            let groups = bazaar.groups().await?;
            let one = repeat(&groups, bazaar.load(LOAD, MINUTE_S, None)).await?;
            let standing = bazaar.standing().await?;
            let line = Minute {
                minute,
                rate_per_s: one.answer.rate_per_s,
                p99_ms: one.answer.p99_ms,
                errors: one.answer.errors,
                others_percent: one.usage.others_percent + one.usage.stolen_percent,
                // After an election others lead.
                resident_mib: resident_mib(&bazaar.groups().await?)?,
                elections: standing.term.saturating_sub(first_term),
                orders: standing.orders,
            };
            say(&line.to_string());
            self.minutes.push(line);
            self.last_tenth_by_first = ratio(&self.minutes.iter().map(|minute| minute.rate_per_s).collect::<Vec<_>>());
            let free = machine::free_bytes()?;
            ensure!(
                free > FREE_BYTES_MIN,
                "the soak ends after {minute} minutes: the disk has only {} MiB left",
                free >> 20
            );
        }
        Ok(())
    }

    /// What it shows.
    pub fn conclusion(&self) -> String {
        let elections = self.minutes.last().map_or(0, |minute| minute.elections);
        let times = self.last_tenth_by_first;
        format!(
            "{} minutes; rate of the last tenth by the first: {times:.3}; elections: {elections}",
            self.minutes.len()
        )
    }
}

impl std::fmt::Display for Minute {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let memory: Vec<String> = self.resident_mib.iter().map(|(name, mib)| format!("{name} {mib:.0}")).collect();
        let Self { minute, rate_per_s, p99_ms, errors, others_percent, elections, orders, .. } = self;
        write!(
            out,
            "minute {minute}: {rate_per_s:.0}/s, p99 {p99_ms:.2} ms, {errors} errors, {elections} elections, {orders} orders, \
             others {others_percent:.0} %, MiB: {}",
            memory.join(", ")
        )
    }
}

/// The mean of the last tenth, but at least one, by that of the first.
fn ratio(rates: &[f64]) -> f64 {
    let tenth = rates.len().div_ceil(10);
    let first: f64 = rates.iter().take(tenth).sum();
    let last: f64 = rates.iter().rev().take(tenth).sum();
    last / first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_is_compared_with_the_first() {
        let mut rates = vec![100.0; 60];
        rates[..6].fill(200.0);
        rates[54..].fill(150.0);
        assert_eq!(ratio(&rates), 0.75);
        assert_eq!(ratio(&[100.0, 300.0, 90.0]), 0.9);
        assert_eq!(ratio(&[100.0]), 1.0);
    }

    #[test]
    fn a_line_tells_the_memory_of_each_process() {
        let minute = Minute {
            minute: 3,
            rate_per_s: 1_234.5,
            p99_ms: 7.25,
            errors: 0,
            others_percent: 1.2,
            resident_mib: [("catalog".to_owned(), 40.2), ("leader".to_owned(), 300.7)].into(),
            elections: 1,
            orders: 99,
        };
        let line = minute.to_string();
        assert!(line.starts_with("minute 3: 1234/s, p99 7.25 ms, 0 errors, 1 elections"), "{line}");
        assert!(line.ends_with("catalog 40, leader 301"), "{line}");
    }
}
