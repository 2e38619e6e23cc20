//! What was done to a cluster, and how it bore it.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::Kind;

/// Of one kind of fault.
#[derive(Debug, Default, Clone)]
struct Line {
    times: u64,
    /// From the end of a fault until there was a leader, and until trades had gone on at every frontend.
    longest_leader: Duration,
    longest_trades: Duration,
    /// What showed that the last one happened.
    evidence: String,
}

/// How often each fault verifiably happened, and how long it took until all went on.
#[derive(Debug, Default, Clone)]
pub struct Report(BTreeMap<Kind, Line>);

impl Report {
    /// Notes a fault that happened.
    pub(super) fn add(&mut self, kind: Kind, evidence: String, leader: Duration, trades: Duration) {
        let line = Line { times: 1, longest_leader: leader, longest_trades: trades, evidence };
        self.merge(Self(BTreeMap::from([(kind, line)])));
    }

    /// Adds what another cluster suffered.
    pub fn merge(&mut self, other: Self) {
        for (kind, Line { times, longest_leader, longest_trades, evidence }) in other.0 {
            let line = self.0.entry(kind).or_default();
            line.times += times;
            line.longest_leader = line.longest_leader.max(longest_leader);
            line.longest_trades = line.longest_trades.max(longest_trades);
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
        writeln!(f, "{:<17} {:>5} {:>10} {:>10}  the last one", "fault", "times", "leader ms", "trades ms")?;
        for (kind, Line { times, longest_leader, longest_trades, evidence }) in &self.0 {
            let [leader, trades] = [longest_leader, longest_trades].map(Duration::as_millis);
            writeln!(f, "{kind:<17} {times:>5} {leader:>10} {trades:>10}  {evidence}")?;
        }
        Ok(())
    }
}
