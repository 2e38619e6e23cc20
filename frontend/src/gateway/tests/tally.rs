//! What is counted of trades on their way.

use super::{super::outages::Tally, *};

#[test]
fn a_trade_that_was_decided_before_its_leader_died_is_a_suppressed_duplicate() {
    let mut bench = Bench::with_leader();
    bench.trade("a");
    bench.call_succeeds();
    assert_eq!(bench.machine.tally(), Tally { newest_order: 1, ..Tally::default() });
    bench.run_to(40);
    bench.submit(vec![Work::Trade(trade("b")), Work::Trade(trade("c"))]);
    bench.run_to(45);
    bench.call_fails(CallError::Broken("reset".into()));
    assert_eq!(bench.machine.tally().resent, 2);
    assert_eq!(bench.machine.waiting_since(), Some(Moment::from_millis(40)));
    bench.probe_answers(3, follower(3, Some(2)));
    bench.probe_answers(2, leader(2, 6));
    let (call, ..) = bench.calls.remove(0);
    let first = Decision::Replayed(Outcome::Accepted { number: 2, stock_version: 3 });
    bench.step(Event::CallDone { call, result: Ok(Reply::Decisions(vec![first, accepted(3)])) });
    assert_eq!(bench.machine.tally(), Tally { resent: 2, replayed: 1, expired: 0, newest_order: 3 });
    assert_eq!(bench.machine.waiting_since(), None);
}

#[test]
fn a_trade_that_nobody_takes_until_its_deadline_is_counted_as_expired() {
    let mut bench = Bench::new();
    bench.trade("a");
    bench.run_to_with(TRADE_DEADLINE_MS + 1, |_| Err(CallError::Refused));
    assert_eq!(bench.machine.tally(), Tally { expired: 1, ..Tally::default() });
}
