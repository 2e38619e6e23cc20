//! One client of the workload: a loop of lookups and trades, then the comparison of its orders.

use std::sync::Arc;

use bazaar_domain::{ErrorKind, IdempotencyKey, Quantity, Side, StockName};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    api::{Accepted, Failure, Frontend},
    retry::{Attempted, retrying},
};

use super::{Plan, record::Record, seen::Seen, tally::Tally, verify};

/// Largest quantity of one trade.
const TRADE_QUANTITY_MAX: u64 = 10;

/// One client.
#[derive(Debug)]
pub struct Trader {
    frontend: Frontend,
    plan: Arc<Plan>,
    random: StdRng,
    /// Tells the keys of this client of this run from all others; the seed must not decide it, or a second run with
    /// the same seed would only repeat the first one's trades.
    key_prefix: String,
    seen: Seen,
    acknowledged: Vec<Record>,
    tally: Tally,
}

impl Trader {
    /// A client; its choices follow from the seed and its number.
    pub fn new(frontend: Frontend, plan: Arc<Plan>, seed: u64, client: u64) -> Self {
        Self {
            frontend,
            plan,
            random: StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(client)),
            key_prefix: format!("workload-{:032x}-{client}", rand::random::<u128>()),
            seen: Seen::default(),
            acknowledged: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Does its share of iterations, then fetches its orders back.
    pub async fn run(mut self, iterations: u64) -> Tally {
        for iteration in 0..iterations {
            if !self.plan.goes_on() {
                break;
            }
            self.tally.iterations += 1;
            self.iterate(iteration).await;
            self.plan.progress.inc(1);
        }
        verify::fetch_back(&self.frontend, self.plan.retry_budget, &self.acknowledged, &mut self.tally).await;
        self.tally
    }

    async fn iterate(&mut self, iteration: u64) {
        let name = self.plan.stocks[self.random.random_range(0..self.plan.stocks.len())];
        let Some(available) = self.look_up(name).await else { return };
        if available > 0 && self.random.random_bool(self.plan.probability) {
            let side = if self.random.random_bool(0.5) { Side::Buy } else { Side::Sell };
            let quantity = Quantity::new(self.random.random_range(1..=TRADE_QUANTITY_MAX)).expect("1 to 10 is valid");
            let key = IdempotencyKey::new(&format!("{}-{iteration}", self.key_prefix)).expect("a short ASCII text");
            self.trade(key, name, side, quantity).await;
        }
    }

    /// Looks a stock up, and returns its quantity if that worked.
    async fn look_up(&mut self, name: StockName) -> Option<u64> {
        let lookup = retrying(self.plan.retry_budget, || self.frontend.lookup(name)).await;
        self.tally.lookups.count(lookup.retries, lookup.elapsed, lookup.result.is_ok());
        match lookup.result {
            Ok(answer) => {
                self.tally.cache.count(answer.cache);
                let version = answer.stock.version;
                if !self.seen.lookup(name, version) {
                    self.tally.stale_reads += 1;
                    self.tally.complain(|| format!("stale: {name} was shown at version {version} after a higher one"));
                }
                Some(answer.stock.quantity)
            }
            Err(failure) => {
                self.tally.complain(|| format!("a lookup of {name} failed: {failure}"));
                None
            }
        }
    }

    async fn trade(&mut self, key: IdempotencyKey, name: StockName, side: Side, quantity: Quantity) {
        let sent = retrying(self.plan.retry_budget, || self.frontend.trade(&key, name, side, quantity)).await;
        let Attempted { result, retries, elapsed } = sent;
        let well = match result {
            Ok(accepted) => {
                self.accept(
                    &accepted,
                    Record {
                        number: accepted.receipt.transaction_number,
                        name,
                        side,
                        quantity,
                        stock_version: accepted.receipt.stock_version,
                        key,
                    },
                );
                true
            }
            Err(failure) if is_rejection(&failure) => {
                self.tally.rejected += 1;
                true
            }
            Err(failure) => {
                self.tally.complain(|| format!("a trade of {name} failed: {failure}"));
                false
            }
        };
        self.tally.trades.count(retries, elapsed, well);
    }

    /// Remembers an acknowledged order.
    fn accept(&mut self, accepted: &Accepted, record: Record) {
        self.tally.accepted += 1;
        self.tally.replayed += u64::from(accepted.replayed);
        if !self.seen.trade(record.name, record.stock_version) {
            self.tally.stale_reads += 1;
            self.tally.complain(|| format!("stale: {record} is not above the versions that were shown before it"));
        }
        if let Some(file) = &self.plan.records
            && let Err(error) = file.append(&record)
        {
            // The order itself is fine, but a run whose records are incomplete must not pass for a good one.
            self.tally.trades.failed += 1;
            self.tally.complain(|| format!("the records cannot be written: {error}"));
        }
        self.acknowledged.push(record);
    }
}

/// Whether the trade rule said no, which is an answer and not a failure.
pub fn is_rejection(failure: &Failure) -> bool {
    let Failure::Answered { error, .. } = failure else { return false };
    matches!(error.kind, ErrorKind::InsufficientQuantity | ErrorKind::QuantityLimit)
}
