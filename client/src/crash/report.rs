//! What the crashes did to the clients and to the databases.

use std::time::Duration;

use bazaar_domain::ReplicaId;
use serde::{Deserialize, Serialize};

use crate::{
    check::report::{CheckReport, Row},
    latency::ms,
    output::{Report, counted, table, table_text},
    workload::report::{RequestLine, WorkloadReport},
};

use super::CrashArgs;

/// The columns of the rounds.
const COLUMNS: [&str; 11] = [
    "KILLED",
    "LED",
    "AWAY S",
    "LOOKUPS",
    "TRADES",
    "ERRORS",
    "RETRIES",
    "TRADE P50 MS",
    "TRADE P99 MS",
    "LONGEST TRADE MS",
    "LONGEST LOOKUP MS",
];

/// One crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The replica that was killed.
    pub killed: ReplicaId,
    /// Whether it led.
    pub led: bool,
    /// From its death until it had caught up again.
    pub away_s: f64,
    /// What clients saw of lookups.
    pub lookup: RequestLine,
    /// What clients saw of trades.
    pub trade: RequestLine,
    /// What clients saw when they fetched their orders back.
    pub order_read: RequestLine,
    /// Trades that happened.
    pub accepted: u64,
    /// Trades that a repeated request found done.
    pub replayed: u64,
    /// What else clients must not see: stale answers, and orders that were lost, changed or could not be read.
    pub broken_promises: u64,
    /// The first few things that went wrong.
    pub complaints: Vec<String>,
}

impl Round {
    /// Of a replica that was away for so long, and of what the clients report.
    pub(super) fn new(killed: ReplicaId, led: bool, away: Duration, clients: &WorkloadReport) -> Self {
        Self {
            killed,
            led,
            away_s: (away.as_secs_f64() * 100.0).round() / 100.0,
            lookup: clients.lookup.clone(),
            trade: clients.trade.clone(),
            order_read: clients.order_read.clone(),
            accepted: clients.accepted,
            replayed: clients.replayed,
            broken_promises: clients.stale_reads + clients.mismatches + clients.unread,
            complaints: clients.complaints.clone(),
        }
    }

    fn errors(&self) -> u64 {
        self.requests().iter().map(|line| line.failed).sum()
    }

    fn retries(&self) -> u64 {
        self.requests().iter().map(|line| line.retries).sum()
    }

    fn requests(&self) -> [&RequestLine; 3] {
        [&self.lookup, &self.trade, &self.order_read]
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let (trade, lookup) = (&self.trade.latency, &self.lookup.latency);
        [
            format!("replica {}", self.killed),
            if self.led { "yes" } else { "no" }.into(),
            format!("{:.1}", self.away_s),
            self.lookup.count.to_string(),
            self.trade.count.to_string(),
            self.errors().to_string(),
            self.retries().to_string(),
            ms(trade.p50_ms),
            ms(trade.p99_ms),
            ms(trade.max_ms),
            ms(lookup.max_ms),
        ]
    }
}

/// All crashes, and the comparison of the databases after them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrashReport {
    /// Clients at a time.
    pub clients: u64,
    /// Probability of a trade after a lookup.
    pub probability: f64,
    /// Seed of the random choices.
    pub seed: u64,
    /// The crashes.
    pub rounds: Vec<Round>,
    /// The comparison.
    #[serde(flatten)]
    pub comparison: CheckReport,
}

impl CrashReport {
    /// The report of these crashes.
    pub(super) fn new(args: &CrashArgs, rounds: Vec<Round>, checks: Vec<Row>) -> Self {
        let CrashArgs { clients, prob: probability, seed, .. } = *args;
        Self { clients, probability, seed, rounds, comparison: CheckReport::new(checks) }
    }

    /// What went wrong, in one sentence; nothing if all went well.
    pub fn complaint(&self) -> Option<String> {
        let broken = self.sum(|round| round.broken_promises);
        let mut parts = Vec::new();
        if self.errors() > 0 {
            parts.push(format!("clients saw {}", counted(self.errors(), "error")));
        }
        if broken > 0 {
            parts.push(format!("{broken} answers were stale, or orders lost, changed or unreadable"));
        }
        if !self.comparison.ok {
            parts.push("not every check holds; see the rows marked FAIL".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join(", and "))
    }

    /// The findings as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has text keys and finite numbers") + "\n"
    }

    /// The findings as tables for a document.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("{}.\n\n", self.setup());
        text += &markdown_row(COLUMNS.map(str::to_lowercase));
        text += &markdown_row(COLUMNS.map(|_| "---".to_owned()));
        self.rounds.iter().for_each(|round| text += &markdown_row(round.cells()));
        text += "\n| check after the last crash | result | |\n|---|---|---|\n";
        for Row { name, passed, details } in &self.comparison.checks {
            text += &markdown_row([name.as_str(), if *passed { "holds" } else { "FAILS" }, details]);
        }
        format!("{text}\n{}.\n", self.sentence())
    }

    fn setup(&self) -> String {
        let Self { clients, probability, seed, .. } = self;
        format!("{}, {:.0} % trades, seed {seed}", counted(*clients, "client"), probability * 100.0)
    }

    fn sentence(&self) -> String {
        let leaders = self.rounds.iter().filter(|round| round.led).count() as u64;
        let longest = |line: fn(&Round) -> &RequestLine| {
            ms(self.rounds.iter().map(|round| line(round).latency.max_ms).fold(0.0, f64::max))
        };
        format!(
            "{}, {leaders} of them leading: {}, {}, {} acknowledged; the longest trade took {} ms, the longest lookup {} ms",
            counted(self.rounds.len() as u64, "killed replica"),
            counted(self.errors(), "error"),
            counted(self.sum(Round::retries), "repeated request"),
            counted(self.sum(|round| round.accepted), "order"),
            longest(|round| &round.trade),
            longest(|round| &round.lookup),
        )
    }

    fn errors(&self) -> u64 {
        self.sum(Round::errors)
    }

    fn sum(&self, value: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(value).sum()
    }
}

fn markdown_row<const N: usize>(cells: [impl AsRef<str>; N]) -> String {
    let cells = cells.iter().map(|cell| cell.as_ref().replace('|', "\\|"));
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

impl Report for CrashReport {
    fn to_text(&self, colour: bool) -> String {
        let mut rounds = table(&COLUMNS, colour);
        self.rounds.iter().for_each(|round| {
            rounds.add_row(round.cells());
        });
        let mut text = format!("{}\n\n{}", table_text(&rounds), self.comparison.to_text(colour));
        for complaint in self.rounds.iter().flat_map(|round| &round.complaints) {
            text += &format!("\n! {complaint}");
        }
        format!("{text}\n\n{}", self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::workload::tally::Tally;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CrashArgs,
    }

    fn report(change: impl FnOnce(&mut Tally), check: Row) -> CrashReport {
        let mut tally = Tally::default();
        tally.trades.count(0, Duration::from_millis(90), true);
        change(&mut tally);
        let clients = WorkloadReport::new(&tally, 1, true, Duration::from_secs(4));
        let round = Round::new("3".parse().unwrap(), true, Duration::from_millis(2_345), &clients);
        CrashReport::new(&Line::parse_from(["crash"]).args, vec![round], vec![check])
    }

    #[test]
    fn a_crash_that_nobody_noticed_is_no_complaint_and_is_read_back_as_it_was_written() {
        let good = report(|_| {}, Row::pass("digests are equal", "at number 5"));
        assert_eq!(good.complaint(), None);
        assert_eq!(serde_json::from_str::<CrashReport>(&good.to_json()).unwrap(), good);
        let text = good.to_markdown();
        assert!(text.contains("| replica 3 | yes | 2.4 |") || text.contains("| replica 3 | yes | 2.3 |"), "{text}");
        assert!(text.contains("| digests are equal | holds | at number 5 |"), "{text}");
        assert!(text.contains("1 killed replica, 1 of them leading: 0 errors"), "{text}");
    }

    #[test]
    fn whatever_clients_or_databases_complain_of_is_said() {
        let holds = || Row::pass("a", "b");
        let said = |report: CrashReport| report.complaint().unwrap();
        assert!(said(report(|tally| tally.lookups.failed = 2, holds())).contains("2 errors"));
        let broken: [fn(&mut Tally); 3] =
            [|tally| tally.stale_reads = 1, |tally| tally.mismatches = 1, |tally| tally.unread = 1];
        for change in broken {
            assert!(said(report(change, holds())).contains("1 answers were stale"));
        }
        let differs = report(|_| {}, Row::fail("digests | are equal", "2 differs"));
        assert!(said(differs.clone()).contains("FAIL"));
        assert!(differs.to_markdown().contains("| digests \\| are equal | FAILS | 2 differs |"));
    }
}
