//! What the tour ends with: each promise, and what was seen of it.

use std::time::Duration;

use serde::Serialize;

use crate::{
    check::report::Row,
    output::{Report, table, table_text, verdict_cell},
};

/// The result of a tour.
#[derive(Debug, Serialize)]
pub(super) struct TourReport {
    /// One by one.
    promises: Vec<Row>,
    /// Whether all were kept.
    pub(super) ok: bool,
    /// How long the tour took.
    elapsed_s: f64,
}

impl TourReport {
    pub(super) fn new(promises: Vec<Row>, elapsed: Duration) -> Self {
        let ok = promises.iter().all(|row| row.passed);
        Self { promises, ok, elapsed_s: elapsed.as_secs_f64() }
    }
}

impl Report for TourReport {
    fn to_text(&self, colour: bool) -> String {
        let mut rows = table(&["RESULT", "PROMISE", "SEEN"], colour);
        for Row { name, passed, details } in &self.promises {
            let verdict = verdict_cell(if *passed { "PASS" } else { "FAIL" }, *passed);
            rows.add_row([verdict, name.into(), details.into()]);
        }
        let verdict = if self.ok { "every promise was kept" } else { "A PROMISE WAS BROKEN" };
        format!("{}\n\n{verdict}, in {:.0} s", table_text(&rows), self.elapsed_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_promise_breaks_the_tour_and_the_last_line_says_so() {
        let last =
            |rows| TourReport::new(rows, Duration::from_secs(9)).to_text(false).lines().last().map(str::to_owned);
        let kept = || Row::pass("a", "1");
        assert_eq!(last(vec![kept()]).as_deref(), Some("every promise was kept, in 9 s"));
        let broken = TourReport::new(vec![kept(), Row::fail("b", "2")], Duration::ZERO);
        assert!(!broken.ok && broken.to_text(false).contains("A PROMISE WAS BROKEN"));
    }
}
