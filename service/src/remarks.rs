//! Log lines about requests that were slow or failed: the ones that somebody will look for.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::response::Response;
use bazaar_domain::{ApiError, ErrorKind};

use crate::{meters::SUPPRESSED_LOG_LINES, origin::Origin};

/// Requests that take longer are remarked upon, unless told.
pub const SLOW_REQUEST_MS_DEFAULT: u64 = 1_000;
/// Lines in one second, at most: an overloaded process must not spend its time on telling so.
const LINES_PER_SECOND_MAX: u32 = 50;
/// Paths whose refusals are questions answered, and not failures.
const QUIET_PATHS: [&str; 4] = ["/readyz", "/lease", "/leader", "/subscribe"];

static SLOW_MS: AtomicU64 = AtomicU64::new(SLOW_REQUEST_MS_DEFAULT);

/// Sets what counts as slow; 0 switches it off.
pub(crate) fn set_slow_ms(millis: u64) {
    SLOW_MS.store(millis, Ordering::Relaxed);
}

/// Whether a piece of work of this length is to be remarked upon.
pub fn is_slow(took: Duration) -> bool {
    let slow = SLOW_MS.load(Ordering::Relaxed);
    slow > 0 && took >= Duration::from_millis(slow)
}

/// Whether one more line may be written in this second.
pub fn may_remark() -> bool {
    static LINES: Mutex<Option<(Instant, u32)>> = Mutex::new(None);
    let allowed = count_line(&mut LINES.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    if !allowed {
        SUPPRESSED_LOG_LINES.counter().increment(1);
    }
    allowed
}

fn count_line(second: &mut Option<(Instant, u32)>, now: Instant) -> bool {
    let (began, lines) =
        second.filter(|(began, _)| now.duration_since(*began) < Duration::from_secs(1)).unwrap_or((now, 0));
    *second = Some((began, lines + 1));
    lines < LINES_PER_SECOND_MAX
}

/// What is told of a request.
pub(crate) struct Seen<'a> {
    /// Whether it came from a client, and not from one of our own processes.
    pub(crate) is_public: bool,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) took: Duration,
}

impl Seen<'_> {
    /// Whether its failure is an answer like any other: probes ask for it, and our own processes ask again until they
    /// get a lease or a current value.
    fn may_fail_quietly(&self) -> bool {
        QUIET_PATHS.contains(&self.path) || (!self.is_public && self.method == "GET")
    }
}

/// Whether a request failed here or was slow.
pub(crate) fn is_remarkable(response: &Response, took: Duration) -> bool {
    response.status().is_server_error() || is_slow(took)
}

/// Writes a line about a request that failed here or was slow.
pub(crate) fn remark(origin: &Origin, seen: &Seen<'_>, response: &Response) {
    let is_failure = response.status().is_server_error();
    let is_told = is_slow(seen.took) || (is_failure && !seen.may_fail_quietly());
    if !is_told || !may_remark() {
        return;
    }
    let error = response.extensions().get::<ApiError>();
    let what = if is_failure { "a request failed" } else { "a request was slow" };
    tracing::warn!(
        request = origin.id.as_str(),
        trace = origin.trace.as_ref().map(|point| point.trace_id()),
        method = seen.method,
        path = seen.path,
        status = response.status().as_u16(),
        kind = error.map(|error| ErrorKind::as_str(error.kind)),
        took_ms = u64::try_from(seen.took.as_millis()).unwrap_or(u64::MAX),
        "{what}"
    );
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{LINES_PER_SECOND_MAX, count_line};

    #[test]
    fn each_second_has_room_for_so_many_lines() {
        let start = Instant::now();
        let mut second = None;
        let written = (0..LINES_PER_SECOND_MAX * 2).filter(|_| count_line(&mut second, start)).count();
        assert_eq!(written, LINES_PER_SECOND_MAX as usize);
        assert!(!count_line(&mut second, start + Duration::from_millis(999)));
        assert!(count_line(&mut second, start + Duration::from_secs(1)));
    }
}
