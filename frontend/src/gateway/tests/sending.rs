//! How work shares requests, and how it is sent again.

use bazaar_domain::limits::BATCH_TRADES_MAX;

use super::{super::lane::SMALL_CALL_UNITS_MAX, *};

#[test]
fn a_trade_is_sent_at_once_when_nothing_is_under_way() {
    let mut bench = Bench::with_leader();
    let id = bench.trade("k");
    assert_eq!(bench.calls.len(), 1);
    bench.call_succeeds();
    assert_eq!(bench.answer_of(id), &Ok(Answer::Trade(accepted(1))));
}

#[test]
fn trades_wait_for_a_leader_and_then_share_a_request() {
    let mut bench = Bench::new();
    bench.trade("a");
    bench.trade("b");
    assert!(bench.calls.is_empty());
    bench.probe_answers(3, leader(3, 5));
    assert_eq!(bench.keys(0), ["a", "b"]);
}

#[test]
fn what_arrives_while_two_requests_are_under_way_goes_into_the_next_one() {
    let mut bench = Bench::with_leader();
    let ids: Vec<WorkId> = ["a", "b", "c", "d"].iter().map(|key| bench.trade(key)).collect();
    assert_eq!(bench.calls.len(), 2);
    bench.call_succeeds();
    assert_eq!(bench.calls.len(), 2);
    assert_eq!((bench.keys(0), bench.keys(1)), (vec!["b".to_owned()], vec!["c".to_owned(), "d".to_owned()]));
    bench.call_succeeds();
    bench.call_succeeds();
    assert_eq!(bench.answer_of(ids[3]), &Ok(Answer::Trade(accepted(2))));
}

#[test]
fn beside_a_large_request_a_second_one_waits_until_it_is_as_large() {
    let mut bench = Bench::with_leader();
    let many = SMALL_CALL_UNITS_MAX + 1;
    bench.submit((0..many).map(|number| Work::Trade(trade(&format!("first-{number}")))).collect());
    assert_eq!(bench.calls.len(), 1);
    bench.submit((1..many).map(|number| Work::Trade(trade(&format!("second-{number}")))).collect());
    assert_eq!(bench.calls.len(), 1, "one is missing");
    bench.trade("the last");
    assert_eq!((bench.calls.len(), bench.keys(1).len()), (2, many));
}

#[test]
fn beside_a_small_request_a_trade_is_sent_at_once() {
    let mut bench = Bench::with_leader();
    bench.submit((0..SMALL_CALL_UNITS_MAX).map(|number| Work::Trade(trade(&format!("first-{number}")))).collect());
    bench.trade("alone");
    assert_eq!((bench.calls.len(), bench.keys(1)), (2, vec!["alone".to_owned()]));
}

#[test]
fn what_waits_beside_a_large_request_is_sent_when_that_ends() {
    let mut bench = Bench::with_leader();
    bench.submit((0..=SMALL_CALL_UNITS_MAX).map(|number| Work::Trade(trade(&format!("first-{number}")))).collect());
    bench.trade("alone");
    assert_eq!(bench.calls.len(), 1);
    bench.call_succeeds();
    assert_eq!(bench.keys(0), ["alone"]);
}

#[test]
fn trades_that_arrive_together_share_a_request() {
    let mut bench = Bench::with_leader();
    bench.submit(vec![Work::Trade(trade("a")), Work::Trade(trade("b"))]);
    assert_eq!(bench.keys(0), ["a", "b"]);
}

#[test]
fn a_clients_batch_is_not_split() {
    let mut bench = Bench::new();
    let half = |key: &str| Work::Batch(vec![trade(key); BATCH_TRADES_MAX / 2 + 1]);
    let ids = bench.submit(vec![half("a"), half("b"), Work::Trade(trade("c"))]);
    bench.probe_answers(3, leader(3, 5));
    assert_eq!(bench.keys(0).len(), BATCH_TRADES_MAX / 2 + 1);
    assert_eq!(bench.keys(1).len(), BATCH_TRADES_MAX / 2 + 2);
    bench.call_succeeds();
    let Ok(Answer::Batch(decisions)) = bench.answer_of(ids[0]) else { panic!("no batch") };
    assert_eq!(decisions.len(), BATCH_TRADES_MAX / 2 + 1);
    assert_eq!(decisions[1], accepted(2));
    bench.call_succeeds();
    assert_eq!(bench.answer_of(ids[2]), &Ok(Answer::Trade(accepted(BATCH_TRADES_MAX as u64 / 2 + 2))));
}

#[test]
fn a_batch_of_the_largest_size_goes_in_one_request() {
    let mut bench = Bench::with_leader();
    bench.submit(vec![Work::Batch(vec![trade("a"); BATCH_TRADES_MAX])]);
    assert_eq!(bench.keys(0).len(), BATCH_TRADES_MAX);
}

#[test]
fn reads_and_trades_do_not_wait_for_each_other() {
    let mut bench = Bench::with_leader();
    bench.trade("a");
    bench.trade("b");
    let id = bench.submit(vec![Work::Read(OrderRead::ByNumber(7))])[0];
    assert!(matches!(&bench.calls[2].2, Request::Reads(reads) if reads == &[OrderRead::ByNumber(7)]));
    for _ in 0..3 {
        bench.call_succeeds();
    }
    assert_eq!(bench.answer_of(id), &Ok(Answer::Read(OrderReadAnswer::Order(None))));
}

#[test]
fn after_a_failure_the_same_key_is_sent_to_the_next_leader() {
    let mut bench = Bench::with_leader();
    let id = bench.trade("a");
    bench.call_fails(CallError::Broken("reset".into()));
    bench.probe_answers(3, Err(CallError::Refused));
    bench.probe_answers(2, leader(2, 6));
    assert_eq!((bench.calls[0].1, bench.keys(0)), (2, vec!["a".to_owned()]));
    bench.call_succeeds();
    assert!(bench.answer_of(id).is_ok());
}

#[test]
fn failed_trades_go_back_to_the_front_in_their_order() {
    let mut bench = Bench::with_leader();
    for key in ["a", "b", "c"] {
        bench.trade(key);
    }
    // The second request fails first.
    let (call, ..) = bench.calls.remove(1);
    bench.step(Event::CallDone { call, result: Err(CallError::Refused) });
    bench.call_fails(CallError::Refused);
    bench.probe_answers(3, Err(CallError::Refused));
    bench.probe_answers(2, leader(2, 6));
    assert_eq!(bench.keys(0), ["a", "b", "c"]);
}

#[test]
fn what_is_under_way_to_a_lost_leader_is_sent_to_the_new_one_at_once() {
    let mut bench = Bench::with_leader();
    let id = bench.trade("a");
    bench.run_to(CHECK_EVERY_MS);
    bench.probe_answers(3, Err(CallError::Timeout));
    bench.probe_answers(3, Err(CallError::Timeout));
    bench.probe_answers(2, leader(2, 6));
    assert_eq!((bench.calls[1].1, bench.keys(1)), (2, vec!["a".to_owned()]));
    let waits_for: Vec<bool> = bench.calls.iter().map(|(call, ..)| bench.machine.waits_for(*call)).collect();
    assert_eq!(waits_for, [false, true], "what the old leader still answers is not the new one's first answer");
    // The old leader's failure comes late and changes nothing.
    bench.call_fails(CallError::Timeout);
    assert_eq!(bench.machine.leader(), Some(2));
    bench.call_succeeds();
    assert!(bench.answer_of(id).is_ok());
}

#[test]
fn a_leader_that_refuses_twice_in_a_row_is_given_a_pause() {
    let mut bench = Bench::with_leader();
    bench.trade("a");
    bench.call_fails(answered(ErrorKind::NoLeader, Some(TradeFate::NotApplied), None));
    bench.probe_answers(3, leader(3, 5));
    assert_eq!(bench.calls.len(), 1);
    bench.call_fails(answered(ErrorKind::NoLeader, Some(TradeFate::NotApplied), None));
    bench.probe_answers(3, leader(3, 5));
    assert!(bench.calls.is_empty());
    bench.run_to(19);
    assert!(bench.calls.is_empty());
    bench.run_to(20);
    assert_eq!(bench.calls.len(), 1);
}

#[test]
fn a_leader_with_too_much_to_do_stays_the_leader_and_is_asked_again_later() {
    let mut bench = Bench::with_leader();
    bench.trade("a");
    bench.call_fails(answered(ErrorKind::Overloaded, Some(TradeFate::NotApplied), None));
    assert_eq!((bench.machine.leader(), bench.calls.len()), (Some(3), 0));
    bench.run_to(20);
    assert_eq!(bench.keys(0), ["a"]);
}

#[test]
fn an_answer_that_does_not_fit_the_request_counts_as_a_failure() {
    let mut bench = Bench::with_leader();
    let id = bench.trade("a");
    let (call, ..) = bench.calls.remove(0);
    bench.step(Event::CallDone { call, result: Ok(Reply::Decisions(vec![])) });
    assert!(!bench.is_answered(id));
    assert_eq!(bench.machine.leader(), None);
}
