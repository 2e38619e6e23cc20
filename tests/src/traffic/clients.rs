//! What clients do, again and again.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::door::{Count, Door};
use crate::{
    cluster::LISTED_QUANTITY,
    recorder::{How, Order},
};

/// Clients at a door that trade single stocks; there is one of each other kind.
pub(super) const TRADERS: u64 = 2;
/// What is looked up, each by a client of its own: one that waits for an absent catalog would not look into the cache.
const STOCKS: [&str; 5] = ["S0", "S1", "S2", "S3", "S4"];
/// What a client trades, one after the other: some less often, so that caches have something to keep. An odd number of
/// them, so that each is bought and sold in turn.
const ROUND: [&str; 9] = ["S0", "S1", "S0", "S2", "S0", "S1", "S3", "S0", "S4"];
/// Two stocks that are only traded together.
const PAIR: [&str; 2] = ["S8", "S9"];
/// A stock that clients buy nearly all of, and sell again: mostly there are not enough for two of them.
const SCARCE: &str = "S5";
const MOST_OF_IT: u64 = LISTED_QUANTITY * 3 / 5;
/// Clients at a door that do so.
const GAMBLERS: u64 = 2;
/// Pauses of the clients: the processes of a whole cluster share few processors.
const TRADE_PAUSE: Duration = Duration::from_millis(4);
const LOOK_PAUSE: Duration = Duration::from_millis(4);
const PAUSE: Duration = Duration::from_millis(25);
/// One of so many trades is sent again.
const SENT_AGAIN: u64 = 7;
/// What is begun by one client is numbered apart from what others begin.
const NUMBERS_EACH: u64 = 1_000_000;

/// Clients of all kinds that trade at a frontend, and read orders.
pub(super) fn trade_at(door: &Arc<Door>, clients: &mut JoinSet<()>) {
    for client in 0..TRADERS {
        clients.spawn(repeat(Arc::clone(door), client * NUMBERS_EACH, TRADE_PAUSE, trade));
    }
    for client in 0..GAMBLERS {
        clients.spawn(repeat(Arc::clone(door), client * NUMBERS_EACH, PAUSE, gamble));
    }
    clients.spawn(repeat(Arc::clone(door), 0, PAUSE, trade_pair));
    clients.spawn(repeat(Arc::clone(door), 0, PAUSE, send_again));
    clients.spawn(repeat(Arc::clone(door), 0, PAUSE, page));
    clients.spawn(repeat(Arc::clone(door), 0, PAUSE, read_order));
}

/// Clients that look stocks up and list them.
pub(super) fn look_at(door: &Arc<Door>, clients: &mut JoinSet<()>) {
    for stock in STOCKS {
        clients.spawn(repeat(Arc::clone(door), 0, LOOK_PAUSE, move |door, _| look(door, stock)));
    }
    clients.spawn(repeat(Arc::clone(door), 0, PAUSE, list));
}

/// Repeats something with numbers from `first` until the end, or until it goes wrong.
async fn repeat<F: Future<Output = Result<()>>>(
    door: Arc<Door>,
    first: u64,
    pause: Duration,
    act: impl Fn(Arc<Door>, u64) -> F,
) {
    for number in first.. {
        if door.shared.over.load(Ordering::Relaxed) {
            break;
        }
        if let Err(fault) = act(Arc::clone(&door), number).await {
            door.shared.faults.add(fault);
            break;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Sends orders until they are accepted, or rejected; returns whether they were accepted.
async fn sent(door: &Door, orders: &[Order]) -> Result<bool> {
    let asked = door.recorder.asks(&format!("trade {}", orders[0].key));
    loop {
        match door.recorder.trade(&asked, orders).await {
            Err(failed) if failed.how == How::Rejected && orders[0].stock == SCARCE => {
                door.add(Count::Rejections);
                return Ok(false);
            }
            answer => {
                if door.settle(Count::Trades, answer)?.is_some() {
                    door.traded(&asked);
                    return Ok(true);
                }
            }
        }
        tokio::time::sleep(TRADE_PAUSE).await;
    }
}

/// A trader: one trade after the other, each with a new key, and now and then one again with its old key.
async fn trade(door: Arc<Door>, number: u64) -> Result<()> {
    let side = if number.is_multiple_of(2) { "sell" } else { "buy" };
    let stock = ROUND[usize::try_from(number)? % ROUND.len()];
    let order = [Order { key: format!("{}/{number}", door.recorder.name()), stock, side, quantity: 1 }];
    sent(&door, &order).await?;
    if number.is_multiple_of(SENT_AGAIN) {
        sent(&door, &order).await?;
    }
    Ok(())
}

/// A trader of two stocks in one batch.
async fn trade_pair(door: Arc<Door>, number: u64) -> Result<()> {
    let key = |stock| format!("{}/pair/{number}/{stock}", door.recorder.name());
    sent(&door, &PAIR.map(|stock| Order { key: key(stock), stock, side: "buy", quantity: 1 })).await.map(drop)
}

/// A buyer of most of what there is, who sells it again; now and then sends a purchase again, whatever came of it.
async fn gamble(door: Arc<Door>, number: u64) -> Result<()> {
    let key = |side| format!("{}/most/{number}/{side}", door.recorder.name());
    let [purchase, sale] =
        ["buy", "sell"].map(|side| [Order { key: key(side), stock: SCARCE, side, quantity: MOST_OF_IT }]);
    let bought = sent(&door, &purchase).await?;
    tokio::time::sleep(LOOK_PAUSE).await;
    if bought {
        sent(&door, &sale).await?;
    }
    if number.is_multiple_of(SENT_AGAIN) {
        ensure!(sent(&door, &purchase).await? == bought, "{} was answered in two ways", purchase[0].key);
    }
    Ok(())
}

/// A client that sends an order again which somebody was told long ago, or just now, is accepted.
async fn send_again(door: Arc<Door>, number: u64) -> Result<()> {
    if let Some(order) = door.recorder.accepted_order(number) {
        ensure!(sent(&door, &[order]).await?, "an accepted order was rejected later");
    }
    Ok(())
}

async fn look(door: Arc<Door>, stock: &str) -> Result<()> {
    if door.settle(Count::Lookups, door.recorder.look(stock).await)? == Some(true) {
        door.add(Count::Hits);
    }
    Ok(())
}

async fn list(door: Arc<Door>, _: u64) -> Result<()> {
    door.settle(Count::Lists, door.recorder.list(PAIR).await).map(drop)
}

async fn page(door: Arc<Door>, _: u64) -> Result<()> {
    let after = door.paged.load(Ordering::Relaxed);
    if let Some(last) = door.settle(Count::Pages, door.recorder.page(after).await)? {
        door.paged.store(last, Ordering::Relaxed);
    }
    Ok(())
}

/// A reader of the newest order that was accepted from anybody.
async fn read_order(door: Arc<Door>, _: u64) -> Result<()> {
    match door.recorder.newest_order() {
        Some(order) => door.settle(Count::OrderReads, door.recorder.order(&order).await).map(drop),
        None => Ok(()),
    }
}
