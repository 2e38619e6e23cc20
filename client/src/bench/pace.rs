//! When requests are sent: each after the answer to the one before (closed loop), or on a schedule that does not wait
//! for answers (open loop).
//!
//! In an open loop a latency counts from the moment at which the schedule wanted the request sent. A service that
//! stalls makes the requests behind the stall late, and that shows; a client that waited with them would hide it
//! ("coordinated omission").

use std::{
    cell::Cell,
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Semaphore,
};

const NANOS_PER_S: u128 = 1_000_000_000;
/// Shortest wait for the next request. At rates above 20,000 a second a thread sends what is due in small groups; the
/// wait counts as latency like any other.
const WAIT_MICROS_MIN: u64 = 50;

/// The moments at which one thread's requests are to be sent: every `threads`-th of an even schedule for all. Pure.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// When the first request of all threads is to be sent.
    pub begin: Instant,
    /// Requests a second, of all threads together.
    pub rate_per_s: u64,
    /// Which thread, from 0.
    pub thread: u64,
    /// Of how many.
    pub threads: u64,
}

impl Schedule {
    /// The moment of this thread's request with this index.
    pub fn at(&self, index: u64) -> Instant {
        let turn = u128::from(self.thread) + u128::from(index) * u128::from(self.threads);
        // Rounded up, so that a request is due by `due_by` at its own moment.
        let nanos = (turn * NANOS_PER_S).div_ceil(u128::from(self.rate_per_s));
        self.begin + Duration::from_nanos(u64::try_from(nanos).expect("a measurement ends within centuries"))
    }

    /// How many of this thread's requests are due by now.
    pub fn due_by(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.begin).as_nanos();
        let last = u64::try_from(nanos * u128::from(self.rate_per_s) / NANOS_PER_S).expect("fewer than 2^64 requests");
        last.checked_sub(self.thread).map_or(0, |last| last / self.threads + 1)
    }
}

/// When the connections of one thread send.
#[derive(Debug)]
pub enum Pace {
    /// At once.
    Closed,
    /// When the schedule says so.
    Open(OpenLoop),
}

impl Pace {
    /// Waits for a connection's turn, and says from which moment its latency counts.
    pub async fn turn(&self) -> Instant {
        match self {
            Self::Closed => Instant::now(),
            Self::Open(open) => open.turn().await,
        }
    }

    /// Whether a connection that got an error must be held back. A schedule does that by itself.
    pub fn pauses_after_errors(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Lets connections have their turns; ends only if there is no timer.
    ///
    /// # Errors
    /// If the operating system has no timer left.
    pub async fn keep(&self) -> io::Result<()> {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Open(open) => open.release().await,
        }
    }
}

/// A schedule, and how far it has been worked off. Whichever connection is free takes the next request.
#[derive(Debug)]
pub struct OpenLoop {
    schedule: Schedule,
    /// One permit for each request that is due and not taken.
    due: Semaphore,
    taken: Cell<u64>,
}

impl OpenLoop {
    /// Nothing is due yet.
    pub fn new(schedule: Schedule) -> Self {
        Self { schedule, due: Semaphore::new(0), taken: Cell::new(0) }
    }

    async fn turn(&self) -> Instant {
        self.due.acquire().await.expect("the semaphore is never closed").forget();
        let index = self.taken.get();
        self.taken.set(index + 1);
        self.schedule.at(index)
    }

    async fn release(&self) -> io::Result<()> {
        let timer = Timer::new()?;
        let mut released = 0;
        loop {
            let now = Instant::now();
            let due = self.schedule.due_by(now);
            self.due.add_permits(usize::try_from(due - released).expect("a usize has 64 bits"));
            released = due;
            let wait = self.schedule.at(due).saturating_duration_since(now);
            timer.wait(wait.max(Duration::from_micros(WAIT_MICROS_MIN))).await?;
        }
    }
}

/// A timer of the operating system. The runtime's own ones know only whole milliseconds, longer than many a latency.
#[derive(Debug)]
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(deprecated, reason = "the successor is unsafe; this is sound for a descriptor that is owned")]
    fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    async fn wait(&self, delay: Duration) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Timespec::try_from(delay).map_err(io::Error::other)?;
        // Setting it again makes it forget that it has gone off, so it is never read.
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: never, it_value: once })?;
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    fn schedule(rate_per_s: u64, thread: u64, threads: u64) -> Schedule {
        Schedule { begin: Instant::now(), rate_per_s, thread, threads }
    }

    #[test]
    fn each_request_is_due_at_its_own_moment_and_not_before() {
        for rate_per_s in [1, 3, 300, 7_777, 30_000, 999_999, 10_000_000] {
            let schedule = schedule(rate_per_s, 0, 1);
            for index in [0, 1, 2, 29, 30_000, 86_400 * rate_per_s] {
                let moment = schedule.at(index);
                assert_eq!(schedule.due_by(moment), index + 1, "request {index} at {rate_per_s}/s");
                if index > 0 {
                    assert_eq!(schedule.due_by(moment - Duration::from_nanos(1)), index, "{index} at {rate_per_s}/s");
                }
            }
        }
    }

    #[test]
    fn a_second_of_all_threads_together_holds_the_rate_and_no_moment_twice() {
        let begin = Instant::now();
        let each = |thread| Schedule { begin, rate_per_s: 1_000, thread, threads: 3 };
        let end = begin + Duration::from_micros(999_999);
        let mut moments: Vec<Instant> =
            (0..3).flat_map(|thread| (0..each(thread).due_by(end)).map(move |index| each(thread).at(index))).collect();
        moments.sort();
        let wanted: Vec<Instant> = (0..1_000).map(|millis| begin + Duration::from_millis(millis)).collect();
        assert_eq!(moments, wanted);
    }

    #[test]
    fn nothing_is_due_before_the_beginning() {
        let mut schedule = schedule(10, 0, 1);
        schedule.begin += Duration::from_secs(5);
        assert_eq!(schedule.due_by(Instant::now()), 1, "the first request is due at the beginning, and waits for it");
        assert_eq!(Schedule { thread: 1, threads: 2, ..schedule }.due_by(Instant::now()), 0);
    }

    #[tokio::test]
    async fn turns_come_in_order_and_late_ones_keep_the_moment_that_was_wanted() {
        let wanted = schedule(2_000, 0, 1);
        let pace = Rc::new(Pace::Open(OpenLoop::new(wanted)));
        let keeper = Rc::clone(&pace);
        let local = LocalSet::new();
        let turns = local.run_until(async move {
            let kept = spawn_local(async move { keeper.keep().await });
            let mut turns = Vec::new();
            for _ in 0..20 {
                turns.push(pace.turn().await);
            }
            kept.abort();
            turns
        });
        let turns = turns.await;
        assert!(Instant::now() >= turns[19], "no request is sent before its moment");
        assert_eq!(turns, (0..20).map(|index| wanted.at(index)).collect::<Vec<_>>());
    }
}
