//! Clients that trade while the tour takes replicas away.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bazaar_domain::{Quantity, Side, StockName};
use tokio::task::JoinSet;

use crate::{
    api::Frontend,
    failover::{
        WallClock,
        gap::{AnsweredAt, longest_pause},
    },
    trade::fresh_key,
    workload::record::Record,
};

/// Clients, each with one trade under way.
const CLIENTS: usize = 4;
/// How long answers are waited for: longer than the frontend holds a trade.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks at how many there are.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// What the clients saw so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The orders that were acknowledged to them.
    pub(super) orders: Vec<Record>,
    /// When each was.
    answered: Vec<AnsweredAt>,
    /// Why trades failed.
    pub(super) failures: Vec<String>,
}

impl Seen {
    /// The longest time in which none of them had an answer.
    pub(super) fn pause_ms(&mut self) -> Option<f64> {
        longest_pause(&mut self.answered).map(|(begin, end)| end - begin)
    }
}

/// Clients at work.
pub(super) struct Crowd {
    seen: Arc<Mutex<Seen>>,
    goes_on: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Crowd {
    /// Lets clients buy and sell one of a stock, in turn.
    pub(super) fn start(frontend: &Frontend, stock: StockName) -> Self {
        let (seen, goes_on) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            tasks.spawn(trade(frontend.clone(), stock, Arc::clone(&seen), Arc::clone(&goes_on)));
        }
        Self { seen, goes_on, tasks }
    }

    /// Waits until so many more trades were answered.
    ///
    /// # Errors
    /// If they are not.
    pub(super) async fn more_answers(&self, wanted: usize) -> Result<()> {
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
    pub(super) async fn stop(mut self) -> Seen {
        self.goes_on.store(false, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One client.
async fn trade(frontend: Frontend, name: StockName, seen: Arc<Mutex<Seen>>, goes_on: Arc<AtomicBool>) {
    let clock = WallClock::start();
    let quantity = Quantity::new(1).expect("one is a quantity");
    for side in [Side::Buy, Side::Sell].into_iter().cycle() {
        if !goes_on.load(Ordering::Relaxed) {
            return;
        }
        let key = fresh_key();
        let answer = frontend.trade(&key, name, side, quantity).await;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(accepted) => {
                let receipt = accepted.receipt;
                let (number, stock_version) = (receipt.transaction_number, receipt.stock_version);
                seen.orders.push(Record { number, name, side, quantity, stock_version, key });
                seen.answered.push(clock.now_ms());
            }
            Err(failure) => seen.failures.push(failure.to_string()),
        }
    }
}
