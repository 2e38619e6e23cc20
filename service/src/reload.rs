//! Files that are read again while a process runs: certificates, keys, tokens.

use std::{
    io,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the files are looked at; SIGHUP has them looked at once.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// As long as the same is wrong with a file, it is said again after this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What can be read again.
pub(crate) trait Reload: Send + Sync + 'static {
    /// Reads it again if it changed. May block.
    fn reload(&self);
}

/// Has it read again, now and then, for as long as somebody else holds it.
///
/// # Errors
/// If SIGHUP cannot be handled.
pub(crate) fn keep_fresh<T: Reload>(files: &Arc<T>) -> io::Result<()> {
    tokio::spawn(look_again(Arc::downgrade(files), signal(SignalKind::hangup())?));
    Ok(())
}

async fn look_again<T: Reload>(files: Weak<T>, mut hangup: Signal) {
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let Some(files) = files.upgrade() else { return };
        // It fails only if the reload panics; the files in use stay.
        let _ = tokio::task::spawn_blocking(move || files.reload()).await;
    }
}

/// What is wrong with files that cannot be taken. They are looked at far more often than anybody wants to read of it, but
/// while the file on disk is not the one in use, the log must go on saying so.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Option<(String, Instant)>);

impl Complaint {
    /// Says why what is in use stays, unless the same was said a short time ago.
    pub(crate) fn about(&mut self, what_stays: &str, error: &anyhow::Error) {
        if self.is_due(format!("{error:#}"), Instant::now()) {
            tracing::error!("{what_stays} in use: {error:#}");
        }
    }

    fn is_due(&mut self, why: String, now: Instant) -> bool {
        let is_said = |(said, at): &(String, Instant)| *said == why && now.duration_since(*at) < COMPLAIN_EVERY;
        let is_due = !self.0.as_ref().is_some_and(is_said);
        if is_due {
            self.0 = Some((why, now));
        }
        is_due
    }

    /// The files are those in use again.
    pub(crate) fn is_settled(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_at_each_change_and_once_in_a_while() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        let mut is_due = |why: &str, seconds| complaint.is_due(why.to_owned(), start + Duration::from_secs(seconds));
        assert!(is_due("gone", 0));
        assert!(!is_due("gone", 5) && !is_due("gone", 59));
        assert!(is_due("broken", 59) && is_due("gone", 59));
        assert!(is_due("gone", 59 + 60));
        complaint.is_settled();
        assert!(complaint.is_due("gone".to_owned(), start));
    }
}
