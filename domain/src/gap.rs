//! The gap that a failover leaves in the answers, and its parts. Pure.

use serde::{Deserialize, Serialize};

/// When something happened, in milliseconds since 1970, with fractions.
pub type UnixMs = f64;

/// What a replica writes down when it was elected.
pub const ELECTED: &str = "elected leader";
/// Part of what it writes down when it stands for election.
pub const STANDS: &str = "stands for election";
/// The beginning of what it writes down when it takes trades.
pub const TAKES_TRADES: &str = "takes trades";
/// Part of what it writes down when it finds another replica lost.
pub const IS_LOST: &str = "is lost";
/// The beginning of what it writes down when it hands its leadership over.
pub const HANDS_OVER: &str = "leadership is handed to";

/// Something that a replica wrote down about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// In which term.
    pub term: u64,
    /// What happened, in words.
    pub what: String,
}

impl Event {
    /// Whether it was elected.
    pub fn is_election(&self) -> bool {
        self.what == ELECTED
    }

    /// Whether it stood for election, or found the leader lost and did so.
    pub fn is_candidacy(&self) -> bool {
        self.what.contains(STANDS)
    }

    /// Whether it took trades from here on: it had committed and applied an entry of its own term.
    pub fn is_readiness(&self) -> bool {
        self.what.contains(TAKES_TRADES)
    }

    /// Whether it says why another replica is to lead: the leader was lost, or hands the leadership over.
    pub fn is_cause(&self) -> bool {
        self.what.contains(IS_LOST) || self.what.contains(HANDS_OVER)
    }
}

/// What a surviving replica wrote down about the failover, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Milestones {
    /// A replica stood for election.
    pub stood: Option<f64>,
    /// It was elected.
    pub elected: Option<f64>,
    /// It had committed and applied an entry of its own term, and took trades.
    pub ready: Option<f64>,
}

/// The gap in milliseconds, and its parts as far as the replicas' events tell them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// From the last answer before to the first one after.
    pub total_ms: f64,
    /// Until a replica stood for election.
    pub detect_ms: Option<f64>,
    /// From there until it was elected.
    pub elect_ms: Option<f64>,
    /// From there until it had committed an entry of its own term.
    pub first_commit_ms: Option<f64>,
    /// From there until a trade was answered.
    pub re_route_ms: Option<f64>,
}

impl Milestones {
    /// The first ones since a moment, from the events of the replica that was elected.
    pub fn since(since: UnixMs, events: &[Event]) -> Self {
        // Events have whole milliseconds, cut off: they may seem to lie just before what caused them.
        let first = |is_it: fn(&Event) -> bool| {
            let mut found = events.iter().filter(|event| is_it(event)).map(|event| event.unix_ms as UnixMs);
            found.find(|at| *at >= since - 1.0)
        };
        Self {
            stood: first(Event::is_candidacy),
            elected: first(Event::is_election),
            ready: first(Event::is_readiness),
        }
    }
}

/// Splits a pause by the milestones that lie within it.
pub fn split((begin, end): (UnixMs, UnixMs), milestones: Milestones) -> Gap {
    // Events have whole milliseconds, cut off: they may seem to lie just before what caused them.
    let within = |at: Option<f64>| at.filter(|at| (begin - 1.0..=end).contains(at));
    let between = |from: Option<f64>, to: Option<f64>| Some((to? - from?).max(0.0));
    let [stood, elected, ready] = [milestones.stood, milestones.elected, milestones.ready].map(within);
    Gap {
        total_ms: end - begin,
        detect_ms: between(Some(begin), stood),
        elect_ms: between(stood, elected),
        first_commit_ms: between(elected, ready),
        re_route_ms: between(ready, Some(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_milestones_of_an_earlier_failover_do_not_count() {
        let event = |unix_ms, what: &str| Event { unix_ms, term: 3, what: what.into() };
        let events = [
            event(40, "elected leader"),
            event(100, "replica 1 is lost, its process is gone: stands for election"),
            event(104, "elected leader"),
            event(106, "takes trades: an entry of its own term is applied"),
        ];
        let found = Milestones::since(100.4, &events);
        assert_eq!(found, Milestones { stood: Some(100.0), elected: Some(104.0), ready: Some(106.0) });
    }

    #[test]
    fn a_pause_is_split_by_what_the_replicas_wrote_down() {
        let milestones = Milestones { stood: Some(104.0), elected: Some(110.0), ready: Some(113.0) };
        let gap = split((100.0, 120.0), milestones);
        let parts = [gap.detect_ms, gap.elect_ms, gap.first_commit_ms, gap.re_route_ms];
        assert_eq!((gap.total_ms, parts), (20.0, [Some(4.0), Some(6.0), Some(3.0), Some(7.0)]));
    }

    #[test]
    fn a_milestone_outside_the_pause_belongs_to_another_failover() {
        let gap = split((100.0, 120.0), Milestones { stood: Some(40.0), elected: Some(130.0), ready: None });
        assert_eq!((gap.detect_ms, gap.elect_ms, gap.re_route_ms), (None, None, None));
    }
}
