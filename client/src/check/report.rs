//! What a check found, row by row.

use serde::{Deserialize, Serialize};

use crate::output::{Report, table, table_text, verdict_cell};

/// Most differences that one row quotes.
const DIFFERENCES_SHOWN_MAX: usize = 3;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What is checked.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was compared, or what is wrong.
    pub details: String,
}

impl Row {
    /// A check that holds.
    pub fn pass(name: &str, details: impl Into<String>) -> Self {
        Self { name: name.into(), passed: true, details: details.into() }
    }

    /// A check that does not hold.
    pub fn fail(name: &str, details: impl Into<String>) -> Self {
        Self { name: name.into(), passed: false, details: details.into() }
    }

    /// A check that holds if there is nothing to complain about.
    pub fn of(name: &str, complaints: &[String], when_passed: impl Into<String>) -> Self {
        if complaints.is_empty() {
            return Self::pass(name, when_passed);
        }
        let mut details = complaints[..complaints.len().min(DIFFERENCES_SHOWN_MAX)].join("; ");
        if complaints.len() > DIFFERENCES_SHOWN_MAX {
            details += &format!("; and {} more", complaints.len() - DIFFERENCES_SHOWN_MAX);
        }
        Self::fail(name, details)
    }
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// One by one.
    pub checks: Vec<Row>,
    /// Whether all hold.
    pub ok: bool,
}

impl CheckReport {
    /// The report of these checks.
    pub fn new(checks: Vec<Row>) -> Self {
        let ok = checks.iter().all(|check| check.passed);
        Self { checks, ok }
    }
}

impl Report for CheckReport {
    fn to_text(&self, colour: bool) -> String {
        let mut rows = table(&["RESULT", "CHECK", "DETAILS"], colour);
        for Row { name, passed, details } in &self.checks {
            let verdict = verdict_cell(if *passed { "PASS" } else { "FAIL" }, *passed);
            rows.add_row([verdict, name.into(), details.into()]);
        }
        format!("{}\n{}", table_text(&rows), if self.ok { "ok" } else { "FAILED" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_row_fails_the_report_and_the_last_line_says_so() {
        let good = CheckReport::new(vec![Row::pass("a", "1")]);
        assert_eq!(good.to_text(false).lines().last(), Some("ok"));
        let bad = CheckReport::new(vec![Row::pass("a", "1"), Row::fail("b", "2")]);
        assert!(!bad.ok);
        assert_eq!(bad.to_text(false).lines().last(), Some("FAILED"));
    }

    #[test]
    fn many_differences_are_counted_instead_of_listed() {
        let complaints: Vec<String> = (1..=5).map(|number| number.to_string()).collect();
        assert_eq!(Row::of("a", &complaints, "").details, "1; 2; 3; and 2 more");
        assert!(Row::of("a", &[], "fine").passed);
    }
}
