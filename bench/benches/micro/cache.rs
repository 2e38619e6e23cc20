//! A lookup that the frontend answers from its cache.

use std::{hint::black_box, sync::Arc};

use bazaar_domain::{Moment, StockName, api::StockView, internal::SubscribeReply};
use bazaar_frontend::cache::{Cache, Lookup, StockAnswer};
use criterion::Criterion;

use crate::samples::{STOCKS, name, stock};

/// Ends long after `NOW`.
const LEASE_MICROS: u64 = 1_000_000;
const NOW: Moment = Moment::from_millis(1);

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut cache = leased();
    let names: Vec<StockName> = (0..STOCKS).map(name).collect();
    for stock_number in 0..STOCKS {
        fill(&mut cache, stock_number);
    }
    let mut turns = names.iter().cycle();
    criterion.bench_function("cache/hit", |bencher| {
        bencher.iter(|| {
            let name = turns.next().expect("a cycle has no end");
            let answer = cache.lookup(black_box(name), black_box(NOW));
            assert!(matches!(answer, Lookup::Hit(_)), "anything else is not what is measured");
            answer
        });
    });
}

/// An empty cache with room for every stock, under a lease.
fn leased() -> Cache {
    let mut cache = Cache::new(usize::try_from(STOCKS).expect("ten"));
    let session = cache.lease_request(Moment::ZERO);
    let reply = SubscribeReply { incarnation: 1, session, duration_micros: LEASE_MICROS };
    cache.lease_answer(&reply, Moment::ZERO, NOW);
    cache
}

fn fill(cache: &mut Cache, number: u64) {
    let Lookup::Miss(ticket) = cache.lookup(&name(number), NOW) else { panic!("an empty leased cache misses") };
    let answer = Arc::new(StockAnswer::new(StockView::from(&stock(number)), 1));
    assert!(cache.fill(ticket, &answer, true, NOW), "a fill under a lease is kept");
}
