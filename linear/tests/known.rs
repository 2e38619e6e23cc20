//! Histories of which it is known what is wrong with them, or that they only look wrong.

mod common;

use bazaar_linear::{
    BadRecord, Fault, Op, Recorded, by_stock, read,
    stock::{Answer, Shown},
};
use common::{STOCK, shortest, verdict};

const LISTED: u64 = 10;

fn look(times: [u64; 2], quantity: u64, version: u64) -> Recorded {
    let answer = Answer::Shown(Shown::both(quantity, version));
    Recorded::lookup(STOCK, "reader", times[0]).answered(times[1], answer)
}

fn buy(called: u64, quantity: u64, key: &str) -> Recorded {
    Recorded::buy(STOCK, "buyer", called, quantity, key)
}

fn sell(called: u64, quantity: u64, key: &str) -> Recorded {
    Recorded::sell(STOCK, "seller", called, quantity, key)
}

fn accepted(version: u64) -> Answer {
    Answer::Accepted(Shown::version(version))
}

const REJECTED: Answer = Answer::Rejected(Shown { quantity: None, version: None });

/// How many answers the shortest violation has, in a history that begins with ten of version 1.
fn violation<const N: usize>(operations: [Recorded; N]) -> Option<usize> {
    let mut records = vec![Recorded::listed(STOCK, LISTED, 1)];
    records.extend(operations);
    shortest(&verdict(&records))
}

fn is_linearizable<const N: usize>(operations: [Recorded; N]) -> bool {
    violation(operations).is_none()
}

#[test]
fn a_stale_read() {
    assert_eq!(violation([buy(0, 3, "a").answered(5, accepted(2)), look([6, 7], 10, 1)]), Some(2));
}

#[test]
fn a_stale_read_after_a_fresh_one_of_somebody_else() {
    // The trade is still under way: each of the two lookups alone could be.
    let history = [buy(0, 3, "a").answered(20, accepted(2)), look([5, 6], 7, 2), look([7, 8], 10, 1)];
    assert_eq!(violation(history), Some(2));
}

#[test]
fn a_lost_update() {
    let trades = [buy(0, 3, "a").answered(5, accepted(2)), buy(1, 2, "b").answered(6, accepted(3))];
    let [a, b] = trades;
    assert_eq!(violation([a, b, look([7, 8], 8, 3)]), Some(3));
}

#[test]
fn a_key_that_took_effect_twice() {
    assert_eq!(violation([buy(0, 3, "a"), buy(10, 3, "a").answered(15, accepted(2)), look([16, 17], 4, 3)]), Some(2));
}

#[test]
fn a_key_with_two_outcomes() {
    let twice = [buy(0, 3, "a").answered(5, accepted(2)), buy(10, 3, "a").answered(15, accepted(3))];
    assert_eq!(violation(twice), Some(2));
}

#[test]
fn a_rejection_that_did_not_stick() {
    let [first, more] = [buy(0, 11, "a").answered(5, REJECTED), sell(6, 5, "b").answered(7, accepted(2))];
    assert_eq!(violation([first, more, buy(8, 11, "a").answered(9, accepted(3))]), Some(3));
}

#[test]
fn two_trades_that_made_one_version() {
    assert_eq!(violation([buy(0, 1, "a").answered(9, accepted(2)), buy(0, 1, "b").answered(9, accepted(2))]), Some(2));
}

#[test]
fn a_quantity_that_never_was() {
    assert_eq!(violation([look([0, 1], 10, 1), look([2, 3], 11, 1)]), Some(2));
}

#[test]
fn a_version_that_nobody_made() {
    assert_eq!(violation([buy(0, 1, "a").answered(5, accepted(3))]), Some(1));
}

#[test]
fn an_acknowledged_trade_that_was_lost() {
    let [lost, next] = [buy(0, 3, "a").answered(5, accepted(2)), buy(6, 1, "b").answered(9, accepted(2))];
    assert_eq!(violation([lost, next, look([10, 11], 9, 2)]), Some(2));
}

#[test]
fn a_trade_that_took_effect_before_it_was_asked_for() {
    assert_eq!(violation([look([0, 1], 7, 2), buy(2, 3, "a").answered(5, accepted(2))]), Some(1));
}

#[test]
fn a_rejection_although_there_was_enough() {
    assert_eq!(violation([buy(0, 10, "a").answered(5, REJECTED)]), Some(1));
}

#[test]
fn more_sold_than_there_was() {
    let both = [buy(0, 6, "a").answered(9, accepted(2)), buy(0, 6, "b").answered(9, accepted(3))];
    assert_eq!(violation(both), Some(2));
}

#[test]
fn what_was_not_answered_was_not_asked_late() {
    // The first trade cannot explain what was seen before it was asked for, even if it may take effect at any time.
    assert_eq!(violation([look([0, 1], 7, 2), buy(2, 3, "a")]), Some(1));
}

#[test]
fn one_unanswered_trade_does_not_explain_two_effects() {
    assert_eq!(violation([buy(0, 3, "a"), look([1, 2], 7, 2), look([3, 4], 4, 3)]), Some(2));
}

#[test]
fn the_shortest_prefix_ends_where_nothing_under_way_can_explain_it_any_more() {
    // The lookup could have seen the sell until that was answered with another version.
    let history = [
        sell(0, 1, "a").answered(20, accepted(3)),
        look([5, 6], 11, 2),
        look([7, 8], 11, 2),
        buy(9, 1, "b").answered(30, accepted(4)),
    ];
    assert_eq!(violation(history), Some(3));
}

#[test]
fn an_unanswered_trade_may_take_effect_much_later() {
    assert!(is_linearizable([buy(0, 3, "a"), look([100, 101], 10, 1), look([1_000, 1_001], 7, 2)]));
}

#[test]
fn an_unanswered_trade_may_never_take_effect() {
    assert!(is_linearizable([buy(0, 3, "a"), look([100, 101], 10, 1), buy(200, 1, "b").answered(201, accepted(2))]));
}

#[test]
fn an_unanswered_attempt_may_be_overtaken_by_the_next_with_its_key() {
    let [late, answered] = [buy(0, 3, "a"), buy(10, 3, "a").answered(15, accepted(2))];
    assert!(is_linearizable([late, answered, look([20, 21], 7, 2), look([500, 501], 7, 2)]));
}

#[test]
fn a_key_gets_its_first_outcome_again_whatever_came_between() {
    let [first, between] = [buy(0, 3, "a").answered(5, accepted(2)), sell(6, 1, "b").answered(9, accepted(3))];
    assert!(is_linearizable([first, between, buy(10, 3, "a").answered(15, accepted(2))]));
}

#[test]
fn concurrent_lookups_may_differ() {
    let trade = buy(0, 3, "a").answered(20, accepted(2));
    assert!(is_linearizable([trade, look([5, 10], 7, 2), look([4, 9], 10, 1), look([11, 12], 7, 2)]));
}

#[test]
fn answers_may_come_in_another_order_than_effects() {
    assert!(is_linearizable([buy(0, 1, "a").answered(90, accepted(2)), buy(1, 1, "b").answered(5, accepted(3))]));
}

#[test]
fn a_rejection_while_the_stock_was_elsewhere_is_none() {
    // Ten are bought and sold back beside the one that wants ten.
    let [out, back] = [buy(0, 10, "a").answered(9, accepted(2)), sell(0, 10, "b").answered(9, accepted(3))];
    assert!(is_linearizable([out, back, buy(1, 10, "c").answered(8, REJECTED), look([10, 11], 10, 3)]));
}

#[test]
fn what_touches_overlaps() {
    assert!(is_linearizable([buy(0, 3, "a").answered(5, accepted(2)), look([5, 6], 10, 1)]));
}

#[test]
fn an_empty_history_is_linearizable() {
    assert!(is_linearizable([]));
}

fn fault(records: &[Recorded]) -> (usize, Fault) {
    let BadRecord { number, fault } = by_stock(records).unwrap_err();
    (number, fault)
}

#[test]
fn records_that_cannot_be_used_are_refused() {
    let listed = Recorded::listed(STOCK, LISTED, 1);
    let after = |record: Recorded| fault(&[listed.clone(), record]);
    let lookup = look([3, 4], 10, 1);
    assert_eq!(after(listed.clone()), (2, Fault::ListedTwice));
    assert_eq!(after(Recorded::lookup("S1", "", 0)), (2, Fault::NotListed));
    assert_eq!(after(Recorded { quantity: None, ..buy(0, 1, "a") }), (2, Fault::NoQuantity));
    assert_eq!(after(Recorded { call_us: 5, ..lookup.clone() }), (2, Fault::AnsweredBefore));
    assert_eq!(after(Recorded { return_us: None, ..lookup.clone() }), (2, Fault::HalfAnAnswer));
    assert_eq!(after(Recorded { answer: None, ..lookup.clone() }), (2, Fault::HalfAnAnswer));
    assert_eq!(after(lookup.answered(5, REJECTED)), (2, Fault::ForeignAnswer));
    assert_eq!(fault(&[listed.clone(), buy(0, 1, "a"), buy(0, 2, "a")]), (3, Fault::KeyReused));
    assert_eq!(fault(&[Recorded { answer: None, ..listed }]), (1, Fault::HalfAListing));
}

#[test]
fn a_record_is_one_line_of_json() {
    let line = r#"{"op":"buy","stock":"S0","client":"buyer","call_us":0,"return_us":5,"quantity":3,"key":"a","answer":{"accepted":{"version":2}}}"#;
    let record = buy(0, 3, "a").answered(5, accepted(2));
    assert_eq!(serde_json::to_string(&record).unwrap(), line);
    assert_eq!(read(line).unwrap(), [record]);
    assert_eq!(read("{\"op\":\"lookup\",\"stock\":\"S0\"}\n").unwrap()[0].op, Op::Lookup);
    assert_eq!(read(&format!("{line}\n\n")).unwrap_err().number, 2);
    assert_eq!(read(r#"{"op":"lookup","stock":"S0","colour":1}"#).unwrap_err().number, 1);
}
