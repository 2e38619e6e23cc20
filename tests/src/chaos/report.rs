//! What was done to a cluster, and how it bore it.

use std::{collections::BTreeMap, fmt};

use super::{Kind, recovery::Recovery};

/// Of one kind of fault.
#[derive(Debug, Default, Clone)]
struct Line {
    times: u64,
    slowest: Recovery,
    /// What showed that the last one happened.
    evidence: String,
}

/// How often each fault verifiably happened, and how long it took until all went on.
#[derive(Debug, Default, Clone)]
pub struct Report(BTreeMap<Kind, Line>);

impl Report {
    /// Notes a fault that happened.
    pub(super) fn add(&mut self, kind: Kind, evidence: String, slowest: Recovery) {
        self.merge(Self(BTreeMap::from([(kind, Line { times: 1, slowest, evidence })])));
    }

    /// Adds what another cluster suffered.
    pub fn merge(&mut self, other: Self) {
        for (kind, Line { times, slowest, evidence }) in other.0 {
            let line = self.0.entry(kind).or_default();
            line.times += times;
            line.slowest = line.slowest.slowest(slowest);
            line.evidence = evidence;
        }
    }

    /// All faults.
    pub fn faults(&self) -> u64 {
        self.0.values().map(|line| line.times).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<17} {:>5} {:>10} {:>10}  the last one", "fault", "times", "leader ms", "trade ms")?;
        for (kind, Line { times, slowest, evidence }) in &self.0 {
            let [leader, trade] = [slowest.leader, slowest.trade].map(|time| time.as_millis());
            writeln!(f, "{kind:<17} {times:>5} {leader:>10} {trade:>10}  {evidence}")?;
        }
        Ok(())
    }
}
