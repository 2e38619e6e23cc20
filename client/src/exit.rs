//! The exit codes: what a script can tell from how a command ended.

use std::process::ExitCode;

use bazaar_domain::ApiError;

use crate::api::Failure;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Success,
    /// Something else is wrong.
    Failed,
    /// The command line is wrong.
    Usage,
    /// Nobody answers, or the cluster cannot serve now.
    Unavailable,
    /// A trade may have happened or not.
    Unknown,
    /// The cluster refused what was asked.
    Refused,
    /// A signal ended it.
    Interrupted,
}

impl Exit {
    /// All of them, by code.
    pub const ALL: [Self; 7] =
        [Self::Success, Self::Failed, Self::Usage, Self::Unavailable, Self::Unknown, Self::Refused, Self::Interrupted];

    /// What the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::Unknown => 4,
            Self::Refused => 5,
            Self::Interrupted => 130,
        }
    }

    /// What it means, in one line.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "all went well",
            Self::Failed => "a check does not hold, a file cannot be used, or something else is wrong",
            Self::Usage => "the arguments are wrong; nothing was done",
            Self::Unavailable => "nobody answers, or the cluster cannot serve now; try again",
            Self::Unknown => "it is not known whether the trade happened; send it again with its key",
            Self::Refused => "the cluster refused: not found, not enough, a key of another trade",
            Self::Interrupted => "ended by Ctrl-C, SIGTERM or SIGHUP before it was done",
        }
    }

    /// The code of an error: its own word if it has one, or else how the request below it failed.
    pub fn of(error: &anyhow::Error) -> Self {
        let said = error.downcast_ref::<Ending>().map(|ending| ending.exit);
        let below = || error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map(Self::from);
        said.or_else(below).unwrap_or(Self::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<&Failure> for Exit {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Refused | Failure::Timeout | Failure::Broken(_) => Self::Unavailable,
            Failure::Answered { error, .. } => Self::from(error),
            // What a proxy says of a frontend that it does not reach.
            Failure::Foreign { status: 502..=504, .. } => Self::Unavailable,
            Failure::Foreign { .. } | Failure::Untrusted(_) => Self::Failed,
        }
    }
}

impl From<&ApiError> for Exit {
    fn from(error: &ApiError) -> Self {
        match error.code {
            504 => Self::Unknown,
            421 | 429 | 503 => Self::Unavailable,
            400..500 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// An error in one sentence whose exit code is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Ending {
    exit: Exit,
    sentence: String,
}

impl Ending {
    /// The error of this code that says this.
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into() }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use bazaar_domain::ErrorKind;

    use super::*;

    fn answered(kind: ErrorKind) -> Failure {
        Failure::Answered { error: ApiError::new(kind, "for a test"), retry_after: None }
    }

    #[test]
    fn codes_are_all_different_and_only_success_is_0() {
        let codes: std::collections::BTreeSet<u8> = Exit::ALL.into_iter().map(Exit::code).collect();
        assert_eq!(codes.len(), Exit::ALL.len());
        assert!(Exit::ALL.into_iter().all(|exit| (exit.code() == 0) == (exit == Exit::Success)));
    }

    #[test]
    fn a_failed_request_keeps_its_code_below_what_is_said_about_it() {
        let above = |failure: Failure| Exit::of(&Err::<(), _>(failure).context("what failed").unwrap_err());
        assert_eq!(above(Failure::Refused), Exit::Unavailable);
        assert_eq!(above(answered(ErrorKind::NoQuorum)), Exit::Unavailable);
        assert_eq!(above(answered(ErrorKind::OutcomeUnknown)), Exit::Unknown);
        assert_eq!(above(answered(ErrorKind::InsufficientQuantity)), Exit::Refused);
        assert_eq!(above(answered(ErrorKind::Internal)), Exit::Failed);
    }

    #[test]
    fn the_word_of_an_ending_wins_over_the_failure_below_it_and_all_else_is_a_failure() {
        let error = anyhow::Error::new(Failure::Timeout).context(Ending::new(Exit::Unknown, "who knows"));
        assert_eq!((Exit::of(&error), Exit::of(&anyhow!("no"))), (Exit::Unknown, Exit::Failed));
    }
}
