//! Verdicts in words.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    check::{Unknown, Verdict, Violation, check},
    record::{Op, Recorded, StockHistory},
    search::{Bounds, Why},
    stock::{Answer, Shown, State, Stock},
};

/// Operations in each part of an explanation, the newest ones.
const OPERATIONS_SHOWN_MAX: usize = 20;

/// The verdict on one stock.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What was checked.
    pub history: StockHistory<'a>,
    /// What came out.
    pub verdict: Verdict<State>,
    /// How long it took.
    pub took: Duration,
}

impl<'a> Report<'a> {
    /// Checks one stock.
    pub fn on(history: StockHistory<'a>, bounds: &Bounds) -> Self {
        let begun = Instant::now();
        let verdict = check::<Stock>(&history.start, &history.operations, bounds);
        Self { history, verdict, took: begun.elapsed() }
    }

    fn violation(&self, f: &mut fmt::Formatter<'_>, violation: &Violation<State>) -> fmt::Result {
        let Violation { answers, explained, last, under_way, order, state } = violation;
        let State { quantity, version, .. } = state;
        writeln!(f)?;
        self.operations(f, &format!("One order that explains the first {explained} answers"), order)?;
        writeln!(f, "  The stock is then at quantity {quantity}, version {version}.")?;
        self.operations(f, "Under way at the moment of the violation, or never answered", under_way)?;
        self.operations(f, &format!("Answer {answers}, with which no order explains them all"), &[*last])?;
        match violation.is_shortest() {
            true => write!(f, "  Up to the answer before this one, all can be explained."),
            false => write!(f, "  Whether all between these answers can be explained was not found out in time."),
        }
    }

    fn operations(&self, f: &mut fmt::Formatter<'_>, title: &str, operations: &[usize]) -> fmt::Result {
        if operations.is_empty() {
            return Ok(());
        }
        let left_out = operations.len().saturating_sub(OPERATIONS_SHOWN_MAX);
        match left_out {
            0 => writeln!(f, "  {title}:")?,
            _ => writeln!(f, "  {title} ({left_out} operations left out):")?,
        }
        operations[left_out..].iter().try_for_each(|operation| writeln!(f, "    {}", self.history.records[*operation]))
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Violation(_) => "violation",
            Verdict::Unknown(_) => "unknown",
        };
        let StockHistory { stock, operations, .. } = &self.history;
        write!(f, "{stock}: {word}, {} operations, {:.3} s", operations.len(), self.took.as_secs_f64())?;
        match &self.verdict {
            Verdict::Ok => Ok(()),
            Verdict::Violation(violation) => self.violation(f, violation),
            Verdict::Unknown(Unknown { why, explained, answers }) => {
                let why = match why {
                    Why::Time => "the time was over",
                    Why::Entries => "the memory was full",
                };
                write!(f, "\n  {why}; the first {explained} of {answers} answers were explained")
            }
        }
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10} .. ", self.call_us)?;
        match self.return_us {
            Some(returned) => write!(f, "{returned:>10} us")?,
            None => write!(f, "{:>10}   ", "")?,
        }
        let what = match self.op {
            Op::Listed => "listed",
            Op::Buy => "buy",
            Op::Sell => "sell",
            Op::Lookup => "lookup",
        };
        write!(f, "  {}: {what}", self.client)?;
        if let Some(quantity) = self.quantity {
            write!(f, " {quantity}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " under {key}")?;
        }
        match &self.answer {
            Some(answer) => write!(f, ": {answer}"),
            None => write!(f, ": no answer"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, shown) = match self {
            Self::Accepted(shown) => ("accepted", shown),
            Self::Rejected(shown) => ("rejected", shown),
            Self::Shown(shown) => ("shown", shown),
        };
        write!(f, "{word}{shown}")
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, number) in [("quantity", self.quantity), ("version", self.version)] {
            if let Some(number) = number {
                write!(f, ", {word} {number}")?;
            }
        }
        Ok(())
    }
}
