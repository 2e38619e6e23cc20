//! Noticing that a part of a process has ended although nobody asked for it.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Waits for a task to end by itself, and returns why; for ever, if it ended because of `shutdown`. A process that goes
/// on without one of its parts looks alive and does nothing: better it ends, and is started anew.
pub async fn ended_early(task: &mut JoinHandle<()>, what: &str, shutdown: &CancellationToken) -> anyhow::Error {
    let ended = task.await;
    if shutdown.is_cancelled() {
        std::future::pending::<()>().await;
    }
    anyhow::anyhow!("{what} ended by itself: {ended:?}")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio_util::sync::CancellationToken;

    use super::ended_early;

    #[tokio::test]
    async fn a_task_that_panics_is_noticed_and_one_that_was_stopped_is_not() {
        let shutdown = CancellationToken::new();
        let mut broken = tokio::spawn(async { panic!("for the test") });
        let error = ended_early(&mut broken, "the part", &shutdown).await.to_string();
        assert!(error.contains("the part ended by itself") && error.contains("for the test"), "{error}");
        shutdown.cancel();
        let mut stopped = tokio::spawn(async {});
        while !stopped.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(ended_early(&mut stopped, "the part", &shutdown).now_or_never().is_none());
    }
}
