//! Clients that trade while replicas are taken away.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use bazaar_domain::{Quantity, Side, StockName};
use tokio::task::JoinSet;

use crate::{
    api::Frontend,
    failover::gap::{AnsweredAt, longest_pause},
    trade::fresh_key,
    workload::record::Record,
};

/// How long answers are waited for: longer than the frontend holds a trade.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks at how many there are.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Pause of a client whose trade failed: where nothing answers, failures come as fast as they can be asked for.
const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// What the clients saw so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The orders that were acknowledged to them.
    pub(crate) orders: Vec<Record>,
    /// When each was.
    pub(crate) answered: Vec<AnsweredAt>,
    /// How many trades failed.
    pub(crate) failed: u64,
    /// Why the first of them did.
    pub(crate) first_failure: Option<String>,
}

impl Seen {
    /// The longest time in which none of them had an answer.
    pub(crate) fn pause_ms(&mut self) -> Option<f64> {
        longest_pause(&mut self.answered).map(|(begin, end)| end - begin)
    }
}

/// Clients at work.
pub(crate) struct Crowd {
    seen: Arc<Mutex<Seen>>,
    goes_on: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Crowd {
    /// Lets so many clients buy and sell one of a stock in turn, so that it never runs out, each with one trade under way.
    pub(crate) fn start(frontend: &Frontend, stock: StockName, clients: u64, clock: WallClock) -> Self {
        let (seen, goes_on) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(trade(frontend.clone(), stock, clock, Arc::clone(&seen), Arc::clone(&goes_on)));
        }
        Self { seen, goes_on, tasks }
    }

    /// Waits until so many more trades were answered.
    ///
    /// # Errors
    /// If they are not.
    pub(crate) async fn more_answers(&self, wanted: usize) -> Result<()> {
        let count = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).orders.len();
        let (before, deadline) = (count(), Instant::now() + ANSWERS_TIMEOUT);
        while count() < before + wanted {
            let seconds = ANSWERS_TIMEOUT.as_secs();
            ensure!(Instant::now() < deadline, "trades are not answered for {seconds} s; look at 'bazaar status'");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(())
    }

    /// Lets the clients finish; returns what they saw.
    pub(crate) async fn stop(mut self) -> Seen {
        self.goes_on.store(false, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One client.
async fn trade(
    frontend: Frontend,
    name: StockName,
    clock: WallClock,
    seen: Arc<Mutex<Seen>>,
    goes_on: Arc<AtomicBool>,
) {
    let quantity = Quantity::new(1).expect("one is a quantity");
    for side in [Side::Buy, Side::Sell].into_iter().cycle() {
        if !goes_on.load(Ordering::Relaxed) {
            return;
        }
        let key = fresh_key();
        let answer = frontend.trade(&key, name, side, quantity).await;
        let is_failure = answer.is_err();
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(accepted) => {
                    let receipt = accepted.receipt;
                    let (number, stock_version) = (receipt.transaction_number, receipt.stock_version);
                    seen.orders.push(Record { number, name, side, quantity, stock_version, key });
                    seen.answered.push(clock.now_ms());
                }
                Err(failure) => {
                    seen.failed += 1;
                    seen.first_failure.get_or_insert_with(|| failure.to_string());
                }
            }
        }
        if is_failure {
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }
}

/// The wall clock at one moment, and a steady clock from there on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    origin: Instant,
    origin_ms: f64,
}

impl WallClock {
    pub(crate) fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_ms: since_1970.as_secs_f64() * 1_000.0 }
    }

    pub(crate) fn now_ms(self) -> f64 {
        self.origin_ms + self.origin.elapsed().as_secs_f64() * 1_000.0
    }
}
