//! Waiting for a condition.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long a story waits for anything: far longer than it takes, so that only a fault runs into it.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` gives a value.
///
/// # Errors
/// If it gives none within a minute; the message says what was waited for.
pub async fn wait_until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> Result<T> {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        if let Some(value) = look().await {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("waited for a minute: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
