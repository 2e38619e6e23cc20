//! Long histories of many clients: good ones pass within the bounds, and one wrong answer among thousands is found.

mod common;

use std::{iter::zip, time::Instant};

use bazaar_linear::{
    Op, Recorded, Verdict,
    stock::{Answer, Shown},
};
use common::{Draw, LONG, Plan, ranks, shortest, simulated, verdict};

/// An answer that contradicts nothing yet does so once what was under way beside it is answered.
const ANSWERS_LATER_MAX: usize = 2 * LONG.clients as usize;

fn timed(what: &str, records: &[Recorded]) -> Verdict<bazaar_linear::stock::State> {
    let begun = Instant::now();
    let verdict = verdict(records);
    let open = records.iter().filter(|record| record.return_us.is_none()).count();
    println!("{what}: {} operations, {open} unanswered, {:?}", records.len() - 1, begun.elapsed());
    verdict
}

#[test]
fn twenty_thousand_operations_of_an_atomic_stock_are_ok() {
    for seed in 0..5 {
        let records = simulated(&mut Draw::new(seed), LONG);
        assert_eq!(shortest(&timed("good", &records)), None);
    }
}

#[test]
fn a_hundred_thousand_operations_of_an_atomic_stock_are_ok() {
    let plan = Plan { operations: 100_000, clients: 50, ..LONG };
    assert_eq!(shortest(&timed("good", &simulated(&mut Draw::new(1), plan))), None);
}

/// A change of one answer, and whether the answer can be changed so.
type Fault = (&'static str, fn(&mut Recorded) -> bool);

fn shown(record: &mut Recorded) -> Option<&mut Shown> {
    match record.answer.as_mut()? {
        Answer::Shown(shown) => Some(shown),
        Answer::Accepted(_) | Answer::Rejected(_) => None,
    }
}

fn receipt(record: &mut Recorded) -> Option<&mut u64> {
    match record.answer.as_mut()? {
        Answer::Accepted(shown) => shown.version.as_mut(),
        Answer::Rejected(_) | Answer::Shown(_) => None,
    }
}

const FAULTS: [Fault; 6] = [
    ("a stale read", |record| {
        let version = shown(record).and_then(|shown| shown.version.as_mut());
        version.filter(|version| **version > 100).map(|version| *version -= 100).is_some()
    }),
    ("a quantity that never was", |record| {
        let quantity = shown(record).and_then(|shown| shown.quantity.as_mut());
        quantity.map(|quantity| *quantity += 1_000_000).is_some()
    }),
    ("the version of another trade", |record| receipt(record).map(|version| *version -= 1).is_some()),
    ("a version that does not exist yet", |record| receipt(record).map(|version| *version += 200).is_some()),
    ("a rejected sell", |record| {
        let sold = record.op == Op::Sell && matches!(record.answer, Some(Answer::Accepted(_)));
        record.answer = if sold { Some(Answer::Rejected(Shown::default())) } else { record.answer };
        sold
    }),
    ("a buy of what was not there", |record| {
        let rejected = matches!(record.answer, Some(Answer::Rejected(_)));
        record.answer = if rejected { Some(Answer::Accepted(Shown::default())) } else { record.answer };
        rejected
    }),
];

#[test]
fn one_wrong_answer_among_twenty_thousand_is_found_where_it_is() {
    for ((name, fault), seed) in zip(FAULTS, 10..) {
        let mut draw = Draw::new(seed);
        // Little stock, so that some buys are rejected.
        let mut records = simulated(&mut draw, Plan { listed: 50, ..LONG });
        let from = records.len() / 4 + draw.below(records.len() as u64 / 2) as usize;
        let wrong = (from..records.len()).find(|index| fault(&mut records[*index])).expect("an answer to change");
        let found = shortest(&timed(name, &records)).unwrap_or_else(|| panic!("{name} is found"));
        let rank = ranks(&records)[wrong].unwrap();
        println!("  answer {rank}, found at answer {found}");
        assert!((rank..=rank + ANSWERS_LATER_MAX).contains(&found), "{name}: answer {rank}, found at {found}");
    }
}
