//! Where clients come in, and what became of their requests.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use reqwest::StatusCode;

use super::clients::TRADERS;
use crate::{
    chaos::Check,
    history::Violation,
    recorder::{Asked, Failed, How, Recorder},
    wait::{LOOK_EVERY, WAIT_MAX},
    wait_until,
};

/// More answers of a kind after which it is said to go on: each client may have asked once before.
pub(super) const GOES_ON_AFTER: u64 = 25;
/// The default of `leases.ttl_ms`.
const LEASE: Duration = Duration::from_secs(1);
/// More trades than could be answered before a wait ends, if each had to wait for the end of a lease.
const NOT_HELD_UP_AFTER: u64 = (TRADERS + 1) * (WAIT_MAX.as_secs() / LEASE.as_secs()) + GOES_ON_AFTER;
/// Faults that are kept; the first ones tell most.
const FAULTS_KEPT_MAX: usize = 10;

/// Whether requests may fail that do not need the catalog. Those that do are refused whenever it cannot vouch for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trades {
    /// One that fails is a fault.
    Succeed,
    /// One that is refused is sent again.
    MayBeRefused,
    /// So is one that gets no answer, since the frontend is killed or frozen.
    MayGetLost,
}

/// What is counted at a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Trades,
    Lookups,
    Hits,
    Lists,
    Pages,
    OrderReads,
    Rejections,
    RefusedLookups,
}

impl Count {
    /// What must be answered at a frontend.
    pub(super) const FRONTEND: &[Self] =
        &[Self::Trades, Self::Rejections, Self::Lookups, Self::Hits, Self::Lists, Self::Pages, Self::OrderReads];
    /// What must be answered at the catalog.
    pub(super) const CATALOG: &[Self] = &[Self::Lookups, Self::Lists];

    fn needs_catalog(self) -> bool {
        Self::CATALOG.contains(&self)
    }
}

/// What should not have happened.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<anyhow::Error>>);

impl Faults {
    pub(super) fn add(&self, fault: anyhow::Error) {
        let mut faults = locked(&self.0);
        if faults.len() < FAULTS_KEPT_MAX {
            faults.push(fault);
        }
    }

    fn none(&self) -> Result<()> {
        let faults = locked(&self.0);
        let text = || faults.iter().map(|fault| format!("{fault:#}")).collect::<Vec<_>>().join("\n");
        match &faults[..] {
            [] => Ok(()),
            faults if faults.iter().any(|fault| fault.is::<Violation>()) => Err(Violation(text()).into()),
            _ => Err(anyhow!(text()).context(Check::Answers)),
        }
    }

    async fn come(&self) {
        while locked(&self.0).is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Asks nobody; all others have its history.
    pub(super) recorder: Recorder,
    pub(super) faults: Faults,
    pub(super) over: AtomicBool,
}

impl Shared {
    /// Waits for something, unless a client has found a fault: then that is the cause of all that follows. If it fails, what
    /// clients were shown may be the cause, and is looked through.
    pub(super) async fn unless_faulty<T>(&self, something: impl Future<Output = Result<T>>) -> Result<T> {
        let result = tokio::select! {
            biased;
            () = self.faults.come() => Err(anyhow!("a client found a fault")),
            result = something => result,
        };
        self.faults.none()?;
        if result.is_err() {
            self.recorder.history().check()?;
        }
        result
    }
}

/// One of these places.
#[derive(Debug)]
pub struct Door {
    pub(super) recorder: Recorder,
    trades: Trades,
    /// What must be answered here.
    pub(super) offers: &'static [Count],
    counts: [AtomicU64; Count::RefusedLookups as usize + 1],
    /// The last order that the page reader has seen.
    pub(super) paged: AtomicU64,
    pause: Mutex<Pause>,
    pub(super) shared: Arc<Shared>,
}

/// The longest time without an answer to a trade, for people who want to know; and when the newest of the trades that were
/// answered was first sent.
#[derive(Debug, Default)]
struct Pause {
    last: Option<Instant>,
    longest: Duration,
    newest: Duration,
}

impl Door {
    /// Nobody has come in yet.
    pub(super) fn new(recorder: Recorder, trades: Trades, offers: &'static [Count], shared: Arc<Shared>) -> Self {
        let (counts, paged, pause) = Default::default();
        Self { recorder, trades, offers, counts, paged, pause, shared }
    }

    /// Waits until trades that began after this call have been answered.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn trades_go_on(&self) -> Result<()> {
        self.more(Count::Trades, GOES_ON_AFTER).await
    }

    /// Waits until so many trades have been answered that not each of them can have waited for the end of a lease.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn trades_are_not_held_up(&self) -> Result<()> {
        self.more(Count::Trades, NOT_HELD_UP_AFTER).await
    }

    /// Waits until lookups that began after this call have been answered, and not been refused.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn lookups_go_on(&self) -> Result<()> {
        self.more(Count::Lookups, GOES_ON_AFTER).await
    }

    /// Waits until lookups have been refused after this call.
    ///
    /// # Errors
    /// If they are not, or anything went wrong meanwhile.
    pub async fn lookups_are_refused(&self) -> Result<()> {
        self.more(Count::RefusedLookups, 1).await
    }

    /// How many lookups were refused so far.
    pub fn refused(&self) -> u64 {
        self.count(Count::RefusedLookups)
    }

    async fn more(&self, count: Count, more: u64) -> Result<()> {
        self.reaches(count, self.count(count) + more).await
    }

    pub(super) async fn reaches(&self, count: Count, wanted: u64) -> Result<()> {
        let what = format!("{wanted} {count:?} at the {}", self.recorder.name());
        let counted = wait_until(&what, || async { (self.count(count) >= wanted).then_some(()) });
        self.shared.unless_faulty(counted).await
    }

    pub(super) fn summary(&self) -> String {
        let counts = self.offers.iter().chain([&Count::RefusedLookups]);
        let counts: Vec<_> = counts.map(|count| format!("{} {count:?}", self.count(*count))).collect();
        format!("{}: {}, longest pause {:?}", self.recorder.name(), counts.join(", "), locked(&self.pause).longest)
    }

    pub(super) fn count(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What an answer brought, counted; nothing if the request failed and may.
    pub(super) fn settle<T>(&self, count: Count, answer: Result<T, Failed>) -> Result<Option<T>> {
        let failed = match answer {
            Ok(shown) => {
                self.add(count);
                return Ok(Some(shown));
            }
            Err(failed) => failed,
        };
        let excused = match failed.how {
            How::Refused(StatusCode::SERVICE_UNAVAILABLE) if count.needs_catalog() => true,
            How::Refused(_) => self.trades >= Trades::MayBeRefused,
            How::Lost => self.trades >= Trades::MayGetLost,
            How::Rejected | How::Wrong => false,
        };
        if !excused {
            return Err(failed.error);
        }
        if count == Count::Lookups && failed.how != How::Lost {
            self.add(Count::RefusedLookups);
        }
        Ok(None)
    }

    /// Waits until a trade has been answered that was first sent after this moment, as the history counts it.
    pub(super) async fn trades_since(&self, moment: Duration) -> Result<()> {
        let what = format!("a new trade at the {}", self.recorder.name());
        let traded = wait_until(&what, || async { (locked(&self.pause).newest > moment).then_some(()) });
        self.shared.unless_faulty(traded).await
    }

    /// Notes that a trade was answered just now.
    pub(super) fn traded(&self, asked: &Asked) {
        let (mut pause, now) = (locked(&self.pause), Instant::now());
        pause.newest = pause.newest.max(asked.began());
        pause.longest = pause.longest.max(pause.last.map_or(Duration::ZERO, |last| now - last));
        pause.last = Some(now);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
