//! What finds out that something is wrong.

use std::fmt;

use anyhow::anyhow;

use crate::history::Violation;

/// A check that failed. It is put around the error that says how, see [`Check::that_failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// What clients were shown went back, or a key was answered in two ways.
    Shown,
    /// A client got an answer that no fault excuses.
    Answers,
    /// No order of the operations explains what clients were shown.
    Linearizability,
    /// A quantity that was shown is not what the orders make of it.
    Quantities,
    /// Numbers, keys, acknowledged orders and digests of all keepers (`bazaar check`).
    Orders,
    /// After a fault all goes on, in time.
    Recovery,
    /// A replica whose disk failed to sync ends.
    FailedSync,
    /// A process that is told to stop ends with success, and no other one ends.
    Ends,
    /// No thread panics.
    Panics,
}

impl Check {
    /// Whether it is about what clients are promised of their orders, which is what a broken rule has to show in.
    pub fn is_of_promises(self) -> bool {
        matches!(self, Self::Shown | Self::Answers | Self::Linearizability | Self::Quantities | Self::Orders)
    }

    /// The error of this check.
    pub(super) fn failed(self, how: String) -> anyhow::Error {
        anyhow!(how).context(self)
    }

    /// The check that an error comes from; `None` if the fault could not be done.
    pub fn that_failed(error: &anyhow::Error) -> Option<Self> {
        error.downcast_ref().copied().or_else(|| error.is::<Violation>().then_some(Self::Shown))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shown => "what clients were shown",
            Self::Answers => "answers to clients",
            Self::Linearizability => "linearizability",
            Self::Quantities => "quantities",
            Self::Orders => "orders of all replicas",
            Self::Recovery => "recovery after a fault",
            Self::FailedSync => "the end after a failed sync",
            Self::Ends => "how processes end",
            Self::Panics => "no panics",
        })
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_check_is_found_below_what_was_said_around_it() {
        let failed = anyhow!("too late").context(Check::Recovery).context("fault 3, kill");
        assert_eq!(Check::that_failed(&failed), Some(Check::Recovery));
    }

    #[test]
    fn a_violation_is_one_of_what_clients_were_shown() {
        let violation: anyhow::Error = Violation("an answer went back".into()).into();
        assert_eq!(Check::that_failed(&violation.context("fault 3, kill")), Some(Check::Shown));
    }

    #[test]
    fn a_fault_that_could_not_be_done_is_no_failed_check() {
        let error = Err::<(), _>(anyhow!("no such command")).context("fault 3, loss").unwrap_err();
        assert_eq!(Check::that_failed(&error), None);
    }
}
