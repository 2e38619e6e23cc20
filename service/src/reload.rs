//! Files that are read again while a process runs: certificates, keys, tokens.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the files are looked at; SIGHUP has them looked at once.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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
