//! Records as they are stored and sent.

use std::hint::black_box;

use bazaar_domain::{
    Order, codec,
    internal::{PublishBatch, PublishedEntry, PublishedItem},
};
use bazaar_order_raft::raft_types::LogCommand;
use criterion::{Criterion, Throughput};
use serde::{Serialize, de::DeserializeOwned};

use crate::samples::{command, stock, trade};

/// Trades in a log entry and in a publish: as many as 64 connections can have on their way.
const TRADES: u64 = 64;

pub(crate) fn measure(criterion: &mut Criterion) {
    log_command(criterion);
    record(criterion, "codec/order", 1, &order());
    record(criterion, "codec/publish-64", TRADES, &publish());
}

fn log_command(criterion: &mut Criterion) {
    let (command, mut group) = (command(0, TRADES), criterion.benchmark_group("codec/log-command-64"));
    group.throughput(Throughput::Elements(TRADES));
    group.bench_function("encode", |bencher| bencher.iter(|| LogCommand::encode(black_box(&command))));
    let encoded = LogCommand::encode(&command);
    group.bench_function("decode", |bencher| bencher.iter(|| black_box(&encoded).decode()));
    group.finish();
}

fn record<T: Serialize + DeserializeOwned>(criterion: &mut Criterion, name: &str, trades: u64, value: &T) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(trades));
    group.bench_function("encode", |bencher| bencher.iter(|| codec::encode(black_box(value))));
    let bytes = codec::encode(value);
    group.bench_function("decode", |bencher| bencher.iter(|| codec::decode::<T>(black_box(&bytes))));
    group.finish();
}

fn order() -> Order {
    let (trade, stock) = (trade(1_000_000), stock(0));
    Order {
        number: 1_000_000,
        key: trade.key,
        name: trade.name,
        side: trade.side,
        quantity: trade.quantity,
        price: stock.price,
        stock_version: 100_000,
        log_index: 50_000,
    }
}

fn publish() -> PublishBatch {
    let items = (0..TRADES).map(|number| PublishedItem::Trade(trade(number))).collect();
    PublishBatch {
        cluster_id: "01939a5c-7f00-7000-8000-000000000000".to_owned(),
        previous: 50_000,
        through: 50_001,
        entries: vec![PublishedEntry { index: 50_001, items }],
    }
}
