//! The one thread that makes the write-ahead log durable.
//!
//! While one fsync runs, waiters collect; the next fsync serves all of them. There is no timer: an idle log costs
//! nothing, and under load the batches grow by themselves.

use std::{
    io,
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use bazaar_domain::mutants::{Mutant, broken};

use crate::{disk, meters};

/// Most waiters that are queued; past that, whoever appends waits for the disk.
const FLUSH_WAITERS_MAX: usize = 16_384;

/// How long a failure that names no reason waits for the one that does.
const CAUSE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Pause between two looks for it.
const CAUSE_LOOK_EVERY: Duration = Duration::from_millis(1);

/// Is told once whether everything written before it was handed over is durable.
pub(super) type Waiter = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The first failure of the store. Nothing is retried after it: what a failed fsync did to the file is not known.
pub(super) struct Fatal {
    on_fatal: Box<dyn Fn(String) + Send + Sync>,
    failure: OnceLock<String>,
}

impl Fatal {
    /// `on_fatal` is called at most once, with what went wrong.
    pub(super) fn new(on_fatal: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self { on_fatal: Box::new(on_fatal), failure: OnceLock::new() }
    }

    /// Reports a failure; returns the error that everyone gets from now on.
    pub(super) fn report(&self, message: String) -> io::Error {
        if disk::is_aftermath(&message) {
            self.wait_for_the_cause();
        }
        if self.failure.set(message.clone()).is_ok() {
            (self.on_fatal)(message);
        }
        self.check().expect_err("a failure was just recorded")
    }

    /// The writer and the flusher meet the same failure, and the one who has its reason may be the later one to say so.
    fn wait_for_the_cause(&self) {
        let deadline = Instant::now() + CAUSE_WAIT_MAX;
        while self.failure.get().is_none() && Instant::now() < deadline {
            thread::sleep(CAUSE_LOOK_EVERY);
        }
    }

    /// # Errors
    /// The first failure, if there was one.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.failure.get() {
            Some(message) => Err(io::Error::other(message.clone())),
            None => Ok(()),
        }
    }
}

/// The handle of the thread. Dropping it serves the waiters that are left, syncs a last time and ends the thread.
pub(super) struct Flusher {
    waiters: Option<mpsc::SyncSender<Waiter>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread. `sync` makes everything durable that was written before it is called.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(
        fatal: Arc<Fatal>,
        sync: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(FLUSH_WAITERS_MAX);
        let thread = thread::Builder::new().name("log-flusher".into()).spawn(move || run(&receiver, &fatal, sync))?;
        Ok(Self { waiters: Some(sender), thread: Some(thread) })
    }

    /// Queues a waiter for the next fsync.
    pub(super) fn submit(&self, waiter: Waiter) {
        let waiter: Waiter = if broken(Mutant::AnswerBeforeSync) {
            waiter(Ok(()));
            Box::new(|_| {})
        } else {
            waiter
        };
        let sender = self.waiters.as_ref().expect("taken only by drop");
        if let Err(mpsc::SendError(waiter)) = sender.send(waiter) {
            waiter(Err(io::Error::other("the log's flusher thread is gone")));
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        drop(self.waiters.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's flusher thread panicked");
        }
    }
}

fn run(receiver: &mpsc::Receiver<Waiter>, fatal: &Fatal, mut sync: impl FnMut() -> Result<(), String>) {
    let mut batch: Vec<Waiter> = Vec::new();
    while let Ok(first) = receiver.recv() {
        batch.push(first);
        batch.extend(receiver.try_iter().take(FLUSH_WAITERS_MAX));
        let synced = flush(fatal, &mut sync);
        if synced.is_ok() {
            count(batch.len());
        }
        for waiter in batch.drain(..) {
            waiter(match &synced {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::other(error.to_string())),
            });
        }
    }
    // Nobody waits for this one, but the committed log id saved last then need not be found out again after a restart.
    let _ = flush(fatal, &mut sync);
}

fn flush(fatal: &Fatal, sync: &mut impl FnMut() -> Result<(), String>) -> io::Result<()> {
    fatal.check()?;
    let started = Instant::now();
    let result = sync();
    meters::LOG_FSYNC_SECONDS.histogram().record(started.elapsed().as_secs_f64());
    result.map_err(|message| fatal.report(message))
}

fn count(callbacks: usize) {
    meters::LOG_FLUSHES.counter().increment(1);
    meters::LOG_CALLBACKS.histogram().record(f64::from(u32::try_from(callbacks).unwrap_or(u32::MAX)));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(10);

    /// A sync that runs only when the test lets it, and ends as the test says.
    struct Gate {
        entered: mpsc::Receiver<()>,
        results: mpsc::Sender<Result<(), String>>,
        fatal_calls: Arc<AtomicUsize>,
        syncs: Arc<AtomicUsize>,
        /// Dropped last: its thread ends only when the results' sender is gone.
        flusher: Option<Flusher>,
    }

    fn gated() -> Gate {
        let (entered_sender, entered) = mpsc::channel();
        let (results, results_receiver) = mpsc::channel();
        let (fatal_calls, syncs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (calls, count) = (Arc::clone(&fatal_calls), Arc::clone(&syncs));
        let fatal = Arc::new(Fatal::new(move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
        }));
        let flusher = Flusher::start(fatal, move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = entered_sender.send(());
            // Once the test has let go of its end, syncs succeed, so that the thread can end.
            results_receiver.recv().unwrap_or(Ok(()))
        });
        Gate { entered, results, fatal_calls, syncs, flusher: Some(flusher.unwrap()) }
    }

    impl Gate {
        fn submit(&self) -> mpsc::Receiver<io::Result<()>> {
            let (sender, receiver) = mpsc::channel();
            self.flusher.as_ref().unwrap().submit(Box::new(move |result| sender.send(result).unwrap()));
            receiver
        }

        fn wait_for_sync(&self) {
            self.entered.recv_timeout(WAIT_MAX).unwrap();
        }
    }

    #[test]
    fn a_callback_is_completed_only_after_the_sync() {
        let gate = gated();
        let waiter = gate.submit();
        gate.wait_for_sync();
        assert!(waiter.try_recv().is_err());
        gate.results.send(Ok(())).unwrap();
        waiter.recv_timeout(WAIT_MAX).unwrap().unwrap();
    }

    #[test]
    fn one_sync_serves_all_that_waited_for_it() {
        let gate = gated();
        let first = gate.submit();
        gate.wait_for_sync();
        let waiting: Vec<_> = (0..100).map(|_| gate.submit()).collect();
        gate.results.send(Ok(())).unwrap();
        first.recv_timeout(WAIT_MAX).unwrap().unwrap();
        gate.wait_for_sync();
        assert!(waiting.iter().all(|waiter| waiter.try_recv().is_err()));
        gate.results.send(Ok(())).unwrap();
        for waiter in waiting {
            waiter.recv_timeout(WAIT_MAX).unwrap().unwrap();
        }
        assert_eq!(gate.syncs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_failed_sync_fails_all_waiters_is_reported_once_and_never_retried() {
        let gate = gated();
        let first = gate.submit();
        gate.wait_for_sync();
        let second = gate.submit();
        gate.results.send(Err("input/output error".into())).unwrap();
        let error = first.recv_timeout(WAIT_MAX).unwrap().unwrap_err();
        assert!(error.to_string().contains("input/output error"), "{error}");
        second.recv_timeout(WAIT_MAX).unwrap().unwrap_err();
        gate.submit().recv_timeout(WAIT_MAX).unwrap().unwrap_err();
        assert_eq!(gate.syncs.load(Ordering::SeqCst), 1);
        assert_eq!(gate.fatal_calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failure_that_names_no_reason_leaves_the_word_to_the_one_that_does() {
        let fatal = Arc::new(Fatal::new(|_| {}));
        let aftermath = Arc::clone(&fatal);
        let writer = thread::spawn(move || aftermath.report("IO error: Seen error. Skip writing buffer.".into()));
        fatal.report("input/output error".into());
        assert_eq!(writer.join().unwrap().to_string(), "input/output error");
        let alone = Fatal::new(|_| {});
        assert!(alone.report("Seen error".into()).to_string().contains("Seen error"));
    }

    #[test]
    fn waiters_that_are_left_at_the_end_are_served() {
        let mut gate = gated();
        let waiters: Vec<_> = (0..10).map(|_| gate.submit()).collect();
        drop(std::mem::replace(&mut gate.results, mpsc::channel().0));
        drop(gate.flusher.take());
        for waiter in waiters {
            waiter.try_recv().unwrap().unwrap();
        }
    }
}
