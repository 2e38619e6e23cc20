//! The trade rule.

use std::hint::black_box;

use bazaar_domain::inventory::decide;
use criterion::Criterion;

use crate::samples::{stock, trade};

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rule");
    let (on_offer, buy) = (stock(0), trade(0));
    group.bench_function("accepted", |bencher| bencher.iter(|| decide(Some(black_box(&on_offer)), black_box(&buy))));
    let mut sold_out = on_offer;
    sold_out.quantity = 0;
    group.bench_function("rejected", |bencher| bencher.iter(|| decide(Some(black_box(&sold_out)), black_box(&buy))));
    group.finish();
}
