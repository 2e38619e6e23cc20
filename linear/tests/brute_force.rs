//! Small histories: the search must agree with all orders tried one after the other.

mod common;

use bazaar_linear::{
    Bounds, Operation, Recorded, Specification, Verdict, check,
    stock::{Answer, Shown},
};
use common::{
    Draw, Plain, Plan, STOCK, explains, mutate, plain, ranks, shortest, shortest_by_brute_force, simulated, up_to,
    verdict,
};
use proptest::prelude::*;

const SMALL: Plan = Plan {
    clients: 3,
    operations: 6,
    listed: 3,
    quantity_max: 3,
    unanswered_one_in: 5,
    hidden_one_in: 4,
    delay_max_us: 8,
};

/// Compares verdict and shortest prefix, and tries the order that is said to explain what comes before it.
fn agrees(records: &[Recorded]) -> bool {
    let (start, operations) = plain(records);
    let expected = shortest_by_brute_force::<Plain>(&start, &operations);
    let verdict = verdict(records);
    assert_eq!(shortest(&verdict), expected, "{records:#?}");
    if let Verdict::Violation(violation) = &verdict {
        let (known, _) = up_to(&operations, violation.answers - 1);
        assert!(explains::<Plain>(&start, &known, &violation.order), "{records:#?}");
        assert_eq!(ranks(records)[violation.last + 1], Some(violation.answers), "{records:#?}");
    }
    expected.is_some()
}

fn violations(histories: u64, mut history: impl FnMut(u64) -> Vec<Recorded>) -> u64 {
    (0..histories).map(|seed| u64::from(agrees(&history(seed)))).sum()
}

#[test]
fn histories_with_a_fault_or_two() {
    let found = violations(8_000, |seed| {
        let mut draw = Draw::new(seed);
        let operations = 2 + draw.below(5) as usize;
        let mut records = simulated(&mut draw, Plan { operations, ..SMALL });
        (0..draw.below(3)).for_each(|_| mutate(&mut draw, &mut records));
        records
    });
    assert!((1_500..6_000).contains(&found), "both verdicts occur: {found}");
}

#[test]
fn histories_of_seven_operations() {
    let found = violations(400, |seed| {
        let mut draw = Draw::new(seed);
        let mut records = simulated(&mut draw, Plan { operations: 7, unanswered_one_in: 3, ..SMALL });
        mutate(&mut draw, &mut records);
        records
    });
    assert!((50..350).contains(&found), "both verdicts occur: {found}");
}

#[test]
fn what_nobody_would_answer() {
    let found = violations(8_000, |seed| {
        let mut draw = Draw::new(seed);
        let operations = 2 + draw.below(4);
        let mut records = vec![Recorded::listed(STOCK, 2, 1)];
        records.extend((0..operations).map(|_| anything(&mut draw)));
        records
    });
    assert!((2_000..7_500).contains(&found), "both verdicts occur: {found}");
}

/// Few values, few keys, and times that often touch.
fn anything(draw: &mut Draw) -> Recorded {
    let called = draw.below(12);
    let shown = |draw: &mut Draw| Shown {
        quantity: draw.one_in(2).then(|| draw.below(4)),
        version: draw.one_in(2).then(|| 1 + draw.below(4)),
    };
    // A key says what it is for, so that it is never used for another trade.
    let (side, key) = (draw.below(2), draw.below(3));
    let answered = !draw.one_in(4);
    let (asked, answer) = match (draw.below(3), side) {
        (0, _) => (Recorded::lookup(STOCK, "", called), Answer::Shown(shown(draw))),
        (what, side) => {
            let key_name = format!("{side}/{key}");
            let asked = match side {
                0 => Recorded::buy(STOCK, "", called, key + 1, &key_name),
                _ => Recorded::sell(STOCK, "", called, key + 1, &key_name),
            };
            let answer = if what == 1 { Answer::Accepted(shown(draw)) } else { Answer::Rejected(shown(draw)) };
            (asked, answer)
        }
    };
    let returned = called + draw.below(6);
    if answered { asked.answered(returned, answer) } else { asked }
}

/// A register, to see that the search is not made for stocks alone.
struct Register;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Use {
    Read,
    Write(u64),
}

impl Specification for Register {
    type Input = Use;
    /// What was read; a write has none.
    type Output = Option<u64>;
    type State = u64;

    fn step(state: &u64, input: &Use, output: Option<&Option<u64>>) -> Option<u64> {
        match *input {
            Use::Write(value) => Some(value),
            Use::Read => output.is_none_or(|read| *read == Some(*state)).then_some(*state),
        }
    }

    fn is_idle(_: &u64, input: &Use, _: Option<&Option<u64>>) -> bool {
        *input == Use::Read
    }
}

#[test]
fn a_register() {
    let mut found = 0;
    for seed in 0..8_000 {
        let mut draw = Draw::new(seed);
        let operations: Vec<_> = (0..2 + draw.below(5)).map(|_| any_use(&mut draw)).collect();
        let expected = shortest_by_brute_force::<Register>(&0, &operations);
        let verdict = check::<Register>(&0, &operations, &Bounds::default());
        assert_eq!(shortest(&verdict), expected, "{operations:#?}");
        found += usize::from(expected.is_some());
    }
    assert!((2_000..7_500).contains(&found), "both verdicts occur: {found}");
}

fn any_use(draw: &mut Draw) -> Operation<Use, Option<u64>> {
    let called = draw.below(12);
    let (input, output) = match draw.below(2) {
        0 => (Use::Read, Some(draw.below(3))),
        _ => (Use::Write(draw.below(3)), None),
    };
    let returned = called + draw.below(8);
    Operation { input, called, answer: (!draw.one_in(4)).then_some((returned, output)) }
}

/// More operations than brute force can take: the stock's hints for the search must not change what comes out, and
/// neither must leaving all keys in the state.
#[test]
fn the_plain_specification_gives_the_same_verdicts() {
    let mut found = 0;
    for seed in 0..3_000 {
        let mut draw = Draw::new(seed);
        let mut records = simulated(&mut draw, Plan { clients: 5, operations: 25, unanswered_one_in: 8, ..SMALL });
        (0..draw.below(3)).for_each(|_| mutate(&mut draw, &mut records));
        let (start, operations) = plain(&records);
        let expected = shortest(&check::<Plain>(&start, &operations, &Bounds::default()));
        assert_eq!(shortest(&verdict(&records)), expected, "{records:#?}");
        found += usize::from(expected.is_some());
    }
    assert!((500..2_500).contains(&found), "both verdicts occur: {found}");
}

fn any_history(operations: usize, faults: u64) -> impl Strategy<Value = Vec<Recorded>> {
    (any::<u64>(), 1..=operations, 0..=faults).prop_map(|(seed, operations, faults)| {
        let mut draw = Draw::new(seed);
        let mut records = simulated(&mut draw, Plan { operations, ..SMALL });
        (0..faults).for_each(|_| mutate(&mut draw, &mut records));
        records
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn the_verdict_is_that_of_brute_force(records in any_history(6, 3)) {
        agrees(&records);
    }

    #[test]
    fn what_a_stock_answers_is_linearizable(records in any_history(60, 0)) {
        prop_assert_eq!(shortest(&verdict(&records)), None);
    }

    #[test]
    fn the_order_of_the_records_does_not_matter(records in any_history(20, 2), shift in 0_usize..20) {
        let mut other = records.clone();
        let middle = shift % records.len();
        other.rotate_left(middle);
        other.reverse();
        prop_assert_eq!(shortest(&verdict(&records)).is_some(), shortest(&verdict(&other)).is_some());
    }

    #[test]
    fn who_knows_less_accuses_nobody_more(
        records in any_history(20, 2),
        index in any::<prop::sample::Index>(),
        lost in any::<bool>(),
        longer in 0_u64..50,
    ) {
        let mut weaker = records.clone();
        let record = &mut weaker[1..][index.index(records.len() - 1)];
        if lost {
            (record.return_us, record.answer) = (None, None);
        } else {
            record.return_us = record.return_us.map(|end| end + longer);
            record.call_us = record.call_us.saturating_sub(longer);
        }
        prop_assume!(shortest(&verdict(&records)).is_none());
        prop_assert_eq!(shortest(&verdict(&weaker)), None);
    }
}
