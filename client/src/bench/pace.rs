//! When requests are sent: each after the answer to the one before (closed loop), or on a schedule that does not wait
//! for answers (open loop).
//!
//! In an open loop a latency counts from the moment at which the schedule wanted the request sent. A service that
//! stalls makes the requests behind the stall late, and that shows; a client that waited with them would hide it
//! ("coordinated omission").

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Mutex,
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
        // Each moment is computed from the beginning: a sum of periods would drift with their rounding.
        let nanos = turn * NANOS_PER_S / u128::from(self.rate_per_s);
        self.begin + Duration::from_nanos(u64::try_from(nanos).expect("a measurement ends within centuries"))
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
    /// The pace of a schedule; without one, none.
    ///
    /// # Errors
    /// If the operating system has no timer left.
    pub fn new(schedule: Option<Schedule>) -> io::Result<Self> {
        schedule.map_or(Ok(Self::Closed), |schedule| OpenLoop::new(schedule).map(Self::Open))
    }

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
}

/// A schedule, and how far it has been worked off. Whichever connection is free takes the next request.
#[derive(Debug)]
pub struct OpenLoop {
    schedule: Schedule,
    /// Connections that are free stand in line here. The first one waits for its moment with the lock held: the others'
    /// moments are later. Late requests find no line, and take no time of the timer.
    next: Mutex<Next>,
}

#[derive(Debug)]
struct Next {
    index: u64,
    timer: Timer,
}

impl OpenLoop {
    fn new(schedule: Schedule) -> io::Result<Self> {
        Ok(Self { schedule, next: Mutex::new(Next { index: 0, timer: Timer::new()? }) })
    }

    async fn turn(&self) -> Instant {
        let mut next = self.next.lock().await;
        let moment = self.schedule.at(next.index);
        let wait = moment.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            next.timer.wait(wait.max(Duration::from_micros(WAIT_MICROS_MIN))).await;
        }
        next.index += 1;
        moment
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

    async fn wait(&self, delay: Duration) {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Timespec::try_from(delay).expect("a delay is shorter than centuries");
        let setting = Itimerspec { it_interval: never, it_value: once };
        // Setting it again makes it forget that it has gone off, so it is never read.
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &setting).expect("the timer is open and the delay valid");
        self.0.readable().await.expect("the runtime outlives its tasks").clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    fn schedule(rate_per_s: u64, thread: u64, threads: u64) -> Schedule {
        Schedule { begin: Instant::now(), rate_per_s, thread, threads }
    }

    #[test]
    fn moments_do_not_drift_whatever_the_rate() {
        for rate_per_s in [1, 3, 300, 7_777, 30_000, 999_999, 10_000_000] {
            let schedule = schedule(rate_per_s, 0, 1);
            assert_eq!(schedule.at(0), schedule.begin);
            for second in [1, 10, 86_400] {
                let wanted = schedule.begin + Duration::from_secs(second);
                assert_eq!(schedule.at(second * rate_per_s), wanted, "{second} s at {rate_per_s}/s");
            }
            assert!((0..1_000).is_sorted_by(|a, b| schedule.at(*a) < schedule.at(*b)), "{rate_per_s}/s");
        }
    }

    #[test]
    fn the_threads_together_keep_the_rate_and_have_no_moment_twice() {
        let begin = Instant::now();
        let each = |thread| Schedule { begin, rate_per_s: 1_000, thread, threads: 4 };
        let moments = (0..4).flat_map(|thread| (0..250).map(move |index| each(thread).at(index)));
        let mut moments: Vec<Instant> = moments.collect();
        moments.sort();
        let wanted: Vec<Instant> = (0..1_000).map(|millis| begin + Duration::from_millis(millis)).collect();
        assert_eq!(moments, wanted);
    }

    #[tokio::test]
    async fn connections_in_line_get_their_moments_in_order_and_none_before_it() {
        let wanted = schedule(2_000, 0, 1);
        let pace = Pace::new(Some(wanted)).unwrap();
        let connection = async || {
            let moment = pace.turn().await;
            assert!(moment <= Instant::now());
            moment
        };
        let moments = join_all((0..20).map(|_| connection())).await;
        assert_eq!(moments, (0..20).map(|index| wanted.at(index)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn late_requests_keep_the_moments_that_were_wanted() {
        let begin = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        let wanted = Schedule { begin, ..schedule(1_000, 0, 1) };
        let pace = Pace::new(Some(wanted)).unwrap();
        for index in 0..5_000 {
            assert_eq!(pace.turn().await, wanted.at(index));
        }
    }
}
