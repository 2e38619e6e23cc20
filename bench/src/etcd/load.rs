//! Closed loops of clients that put or trade, over a few shared connections.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::{
    grpc::Connection,
    kv::{self, Swap},
};
use crate::answer::Answer;

/// Most connections: more clients share these.
const CONNECTIONS_MAX: u64 = 8;
/// Stocks, as many as the service has in its measurement.
const STOCKS: usize = 10;
/// Bytes of a value, about what an order takes as JSON with its key and its stock's state.
const VALUE_BYTES: usize = 150;
/// What a stock starts with: enough for any measurement.
const LISTED: u64 = 1_000_000_000_000;
/// Longest latency that is told apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 600_000_000;

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Put a new key: no rule.
    Put,
    /// Buy one: the stock and the order are put in one transaction, if nobody has changed the stock meanwhile.
    Trade,
}

/// A stock as some client saw it last; all clients of this process know it, which saves conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stock {
    revision: u64,
    quantity: u64,
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    kind: Kind,
    /// Tells this run's keys from those of other runs.
    run: u32,
    stocks: Vec<Mutex<Stock>>,
    tally: Mutex<Tally>,
}

#[derive(Debug)]
struct Tally {
    latencies: Histogram<u64>,
    /// Trades that succeeded, also those that ended after the time.
    traded: u64,
    conflicts: u64,
}

/// Loads a member for so long.
///
/// # Errors
/// If a call fails, or what the stocks lost is not what was sold.
pub async fn run(authority: &str, kind: Kind, clients: u64, duration: Duration) -> Result<Answer> {
    let open = (0..clients.min(CONNECTIONS_MAX)).map(|_| Connection::open(authority));
    let connections: Vec<Arc<Connection>> = try_join_all(open).await?.into_iter().map(Arc::new).collect();
    let first = Arc::clone(connections.first().context("a load needs a client")?);
    let listed = read_stocks(&first).await?;
    let latencies = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3)?;
    let tally = Mutex::new(Tally { latencies, traded: 0, conflicts: 0 });
    let stocks = listed.iter().copied().map(Mutex::new).collect();
    let shared = Arc::new(Shared { kind, run: std::process::id(), stocks, tally });
    let end = Instant::now() + duration;
    let loops = connections.into_iter().cycle().zip(0..clients).map(|(connection, client)| {
        let one = drive(connection, Arc::clone(&shared), client, end);
        async { tokio::spawn(one).await? }
    });
    try_join_all(loops).await?;
    let left = read_stocks(&first).await?;
    let tally = shared.tally.lock().expect("nobody panics with the lock");
    let lost = total(&listed).checked_sub(total(&left)).context("the stocks have grown")?;
    ensure!(lost == tally.traded, "the stocks lost {lost}, but {} were sold", tally.traded);
    Ok(answer(kind, &tally, duration))
}

fn answer(kind: Kind, tally: &Tally, duration: Duration) -> Answer {
    let operations = tally.latencies.len();
    let ms = |quantile| tally.latencies.value_at_quantile(quantile) as f64 / 1_000.0;
    Answer {
        operations,
        rate_per_s: operations as f64 / duration.as_secs_f64(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        errors: 0,
        conflicts_per_operation: (kind == Kind::Trade).then(|| tally.conflicts as f64 / tally.traded.max(1) as f64),
    }
}

/// One client; every operation that it began ends before it does, so that the books can be compared.
async fn drive(connection: Arc<Connection>, shared: Arc<Shared>, client: u64, end: Instant) -> Result<()> {
    let mut made = 0;
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(());
        }
        let key = format!("orders/{:08x}-{client:04x}-{made:012x}", shared.run);
        let turn = usize::try_from(client + made)? % STOCKS;
        made += 1;
        let conflicts = match shared.kind {
            Kind::Put => kv::put(&connection, &key, &padded(made)).await.map(|()| 0)?,
            Kind::Trade => trade(&connection, &shared, turn, &key).await?,
        };
        let now = Instant::now();
        let mut tally = shared.tally.lock().expect("nobody panics with the lock");
        tally.traded += u64::from(shared.kind == Kind::Trade);
        tally.conflicts += conflicts;
        if now < end {
            tally.latencies.saturating_record(u64::try_from((now - sent).as_micros()).unwrap_or(u64::MAX));
        }
    }
}

/// Buys one, again and again until no other client is faster; returns how often one was.
async fn trade(connection: &Connection, shared: &Shared, number: usize, key: &str) -> Result<u64> {
    let mut conflicts = 0;
    let stock_key = stock_key(number);
    loop {
        let stock = *shared.stocks[number].lock().expect("nobody panics with the lock");
        let quantity = stock.quantity.checked_sub(1).context("a stock is sold out")?;
        let order = padded(quantity);
        match kv::swap(connection, stock.revision, (&stock_key, &padded(quantity)), (key, &order)).await? {
            Swap::Done { revision } => {
                learn(&shared.stocks[number], Stock { revision, quantity });
                return Ok(conflicts);
            }
            Swap::Lost(now) => {
                learn(&shared.stocks[number], Stock { revision: now.mod_revision, quantity: unpadded(&now.value)? });
                conflicts += 1;
            }
        }
    }
}

/// Answers overtake each other: only a newer state counts.
fn learn(known: &Mutex<Stock>, seen: Stock) {
    let mut known = known.lock().expect("nobody panics with the lock");
    if seen.revision > known.revision {
        *known = seen;
    }
}

/// All stocks as they are; those that are not there are listed first.
async fn read_stocks(connection: &Connection) -> Result<Vec<Stock>> {
    let mut stocks = Vec::new();
    for number in 0..STOCKS {
        let key = stock_key(number);
        if kv::get(connection, &key).await?.is_none() {
            kv::put(connection, &key, &padded(LISTED)).await?;
        }
        let entry = kv::get(connection, &key).await?.context("a stock that was just put is not there")?;
        stocks.push(Stock { revision: entry.mod_revision, quantity: unpadded(&entry.value)? });
    }
    Ok(stocks)
}

fn total(stocks: &[Stock]) -> u64 {
    stocks.iter().map(|stock| stock.quantity).sum()
}

fn stock_key(number: usize) -> String {
    format!("stocks/S{number}")
}

fn padded(number: u64) -> Vec<u8> {
    format!("{number:0VALUE_BYTES$}").into_bytes()
}

fn unpadded(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value)?.trim_start_matches('0');
    Ok(if text.is_empty() { 0 } else { text.parse()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_keep_their_value_in_values_of_one_length() {
        for number in [0, 1, 100, LISTED, u64::MAX] {
            let value = padded(number);
            assert_eq!((value.len(), unpadded(&value).unwrap()), (VALUE_BYTES, number));
        }
        assert!(unpadded(b"00x").is_err());
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer_one() {
        let known = Mutex::new(Stock { revision: 5, quantity: 50 });
        learn(&known, Stock { revision: 4, quantity: 51 });
        assert_eq!(known.lock().unwrap().quantity, 50);
        learn(&known, Stock { revision: 6, quantity: 49 });
        assert_eq!(known.lock().unwrap().quantity, 49);
    }
}
