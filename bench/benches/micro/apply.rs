//! Apply of one entry with 1,000 trades whose keys are new: all of it, and without what the database takes.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use bazaar_domain::{IdempotencyKey, order::StoredOutcome};
use bazaar_order_raft::state_machine::{
    books::{Applier, Books, OutcomeLookup, StockRecord, StoreFault},
    store::{Faults, Position, StateDb},
};
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};

use crate::samples::{STOCKS, command, stock};

const TRADES: u64 = 1_000;
/// Longer than the others: the database works in waves.
const MEASURED_MS: u64 = 8_000;
const SAMPLES: usize = 50;

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply-1000");
    group.throughput(Throughput::Elements(TRADES));
    in_memory(&mut group);
    group.sample_size(SAMPLES).measurement_time(Duration::from_millis(MEASURED_MS));
    with_the_database(&mut group);
    group.finish();
}

/// Only the decisions and the records: no key is found, since each run begins with the same empty outcomes.
fn in_memory(group: &mut BenchmarkGroup<'_, WallTime>) {
    let outcomes = Outcomes::default();
    group.bench_function("in memory", |bencher| {
        bencher.iter_batched(
            || (books(), command(0, TRADES)),
            |(mut books, command)| {
                let mut applier = Applier::new(&mut books, &outcomes);
                let applied = applier.apply(1, command).expect("nothing in memory fails");
                (black_box(applied), applier.changes)
            },
            BatchSize::SmallInput,
        );
    });
}

/// As a replica does it: outcomes are looked up in the database, and it takes all changes in one write. It grows with
/// each run, as a replica's does.
fn with_the_database(group: &mut BenchmarkGroup<'_, WallTime>) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let database = StateDb::open(&folder.path().join("state"), Faults::new(None)).expect("an empty database opens");
    let (mut books, position, mut runs) = (books(), Position::default(), 0);
    group.bench_function("state database", |bencher| {
        bencher.iter_batched(
            || {
                runs += 1;
                (runs, command(runs * TRADES, TRADES))
            },
            |(index, command)| {
                let mut applier = Applier::new(&mut books, &database);
                let applied = applier.apply(index, command).expect("the database can be read");
                let changes = applier.changes;
                database.commit(&changes, &books, &position).expect("the database can be written");
                (black_box(applied), changes)
            },
            BatchSize::SmallInput,
        );
    });
    assert_eq!(books.totals.orders, runs * TRADES, "every trade was accepted: rejections would be cheaper");
}

fn books() -> Books {
    let records = (0..STOCKS).map(stock).map(|stock| (stock.name, StockRecord { stock, listed: stock.quantity }));
    Books { stocks: records.collect(), ..Books::default() }
}

/// Outcomes of earlier entries, in memory.
#[derive(Default)]
struct Outcomes(BTreeMap<IdempotencyKey, StoredOutcome>);

impl OutcomeLookup for Outcomes {
    fn outcomes<'k>(
        &self,
        keys: impl Iterator<Item = &'k IdempotencyKey>,
    ) -> Result<Vec<Option<StoredOutcome>>, StoreFault> {
        Ok(keys.map(|key| self.0.get(key).copied()).collect())
    }
}
