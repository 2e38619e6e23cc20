//! When a failed request is sent again. The decision is pure; [`retrying`] is its shell.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::api::Failure;

/// Longest wait before the next attempt, whatever `Retry-After` says: a failover takes less than that.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Wait before the second attempt when the server named none; doubled each time.
const WAIT_FIRST: Duration = Duration::from_millis(25);
/// Attempts after which the wait no longer grows.
const DOUBLINGS_MAX: u32 = 6;

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same request again, after a wait.
    Again(Duration),
    /// The failure is final.
    Stop,
}

/// Decides after attempt `attempt` (from 1) has failed, `elapsed` after the first one was sent.
pub fn after_failure(failure: &Failure, attempt: u32, elapsed: Duration, budget: Duration) -> Next {
    if !passes_by_itself(failure) {
        return Next::Stop;
    }
    let wait = match failure {
        Failure::Answered { retry_after: Some(wait), .. } => (*wait).min(WAIT_MAX),
        _ => (WAIT_FIRST * 2u32.pow((attempt - 1).min(DOUBLINGS_MAX))).min(WAIT_MAX),
    };
    if elapsed + wait < budget { Next::Again(wait) } else { Next::Stop }
}

/// Whether sending the same request again can help: nobody answered, or the answer was "not now" (429, 503) or
/// "not known" (504, and 502 of whoever stands before the frontend). With the same idempotency key this is safe for
/// trades too.
pub fn passes_by_itself(failure: &Failure) -> bool {
    match (failure, failure.status()) {
        (Failure::Untrusted(_), _) => false,
        (_, None) => true,
        (_, Some(status)) => matches!(status, 429 | 502 | 503 | 504),
    }
}

/// A request with all its attempts.
#[derive(Debug)]
pub struct Attempted<T> {
    /// How the last attempt ended.
    pub result: Result<T, Failure>,
    /// Attempts after the first.
    pub retries: u64,
    /// From the first attempt's start to the last one's end.
    pub elapsed: Duration,
}

/// Sends a request until it is answered, the failure is final, or the budget is used up.
pub async fn retrying<T, Fut>(budget: Duration, mut send: impl FnMut() -> Fut) -> Attempted<T>
where
    Fut: Future<Output = Result<T, Failure>>,
{
    let start = Instant::now();
    let mut attempt = 1;
    loop {
        let result = send().await;
        let elapsed = start.elapsed();
        let next = match &result {
            Ok(_) => Next::Stop,
            Err(failure) => after_failure(failure, attempt, elapsed, budget),
        };
        match next {
            Next::Stop => return Attempted { result, retries: u64::from(attempt - 1), elapsed },
            Next::Again(wait) => tokio::time::sleep(wait).await,
        }
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{ApiError, ErrorKind};

    use super::*;

    const BUDGET: Duration = Duration::from_secs(60);

    fn answered(kind: ErrorKind, retry_after_secs: Option<u64>) -> Failure {
        Failure::Answered {
            error: ApiError::new(kind, "for a test"),
            retry_after: retry_after_secs.map(Duration::from_secs),
        }
    }

    #[test]
    fn what_passes_by_itself_is_sent_again() {
        for failure in [
            Failure::Refused,
            Failure::Timeout,
            Failure::Broken("reset".into()),
            answered(ErrorKind::NoLeader, None),
            answered(ErrorKind::OutcomeUnknown, None),
            Failure::Foreign { status: 503, text: String::new() },
            Failure::Foreign { status: 502, text: "Bad Gateway".into() },
        ] {
            assert!(matches!(after_failure(&failure, 1, Duration::ZERO, BUDGET), Next::Again(_)), "{failure:?}");
        }
    }

    #[test]
    fn a_final_answer_is_not_asked_for_again() {
        for kind in [
            ErrorKind::InvalidRequest,
            ErrorKind::StockNotFound,
            ErrorKind::InsufficientQuantity,
            ErrorKind::KeyReused,
            ErrorKind::Internal,
        ] {
            assert_eq!(after_failure(&answered(kind, None), 1, Duration::ZERO, BUDGET), Next::Stop, "{kind:?}");
        }
        let untrusted = Failure::Untrusted("UnknownIssuer".into());
        assert_eq!(after_failure(&untrusted, 1, Duration::ZERO, BUDGET), Next::Stop);
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_cap() {
        let next = |secs| after_failure(&answered(ErrorKind::Overloaded, Some(secs)), 1, Duration::ZERO, BUDGET);
        assert_eq!(next(0), Next::Again(Duration::ZERO));
        assert_eq!(next(1), Next::Again(Duration::from_secs(1)));
        assert_eq!(next(3_600), Next::Again(WAIT_MAX));
    }

    #[test]
    fn waits_grow_to_the_cap_and_end_with_the_budget() {
        let wait = |attempt| after_failure(&Failure::Refused, attempt, Duration::ZERO, BUDGET);
        assert_eq!(wait(1), Next::Again(Duration::from_millis(25)));
        assert_eq!(wait(2), Next::Again(Duration::from_millis(50)));
        assert_eq!(wait(1_000_000), Next::Again(WAIT_MAX));
        assert_eq!(after_failure(&Failure::Refused, 1, BUDGET, BUDGET), Next::Stop);
        assert_eq!(after_failure(&Failure::Refused, 1, Duration::ZERO, Duration::ZERO), Next::Stop);
    }
}
