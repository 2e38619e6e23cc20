//! Finds the gap that a failover left in the answers, and says what its parts were. Pure.

use serde::Serialize;

/// When a trade was answered, in milliseconds since 1970, with fractions.
pub type AnsweredAt = f64;

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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

/// The longest time without an answer, among answers in any order; nothing if there are fewer than two.
pub fn longest_pause(answers: &mut [AnsweredAt]) -> Option<(AnsweredAt, AnsweredAt)> {
    answers.sort_unstable_by(f64::total_cmp);
    let pauses = answers.windows(2).map(|pair| (pair[0], pair[1]));
    pauses.max_by(|one, other| (one.1 - one.0).total_cmp(&(other.1 - other.0)))
}

/// Splits a pause by the milestones that lie within it.
pub fn split((begin, end): (AnsweredAt, AnsweredAt), milestones: Milestones) -> Gap {
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

/// The value in the middle; of an even count, the higher of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_is_found_whatever_the_order() {
        assert_eq!(longest_pause(&mut [5.0, 1.0, 2.0, 90.0, 6.0]), Some((6.0, 90.0)));
        assert_eq!(longest_pause(&mut [1.0]), None);
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

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([]), None);
    }
}
