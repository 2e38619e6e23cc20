//! How the leader is found.

use super::*;

#[test]
fn replicas_are_asked_highest_id_first() {
    let mut bench = Bench::new();
    assert_eq!(bench.asked(), [3]);
    bench.probe_answers(3, Err(CallError::Refused));
    assert_eq!(bench.asked(), [2]);
    bench.probe_answers(2, follower(2, None));
    assert_eq!(bench.asked(), [1]);
    bench.probe_answers(1, leader(1, 5));
    assert_eq!(bench.machine.leader(), Some(1));
}

#[test]
fn a_replica_that_was_named_as_leader_is_asked_next() {
    let mut bench = Bench::new();
    bench.probe_answers(3, follower(3, Some(1)));
    assert_eq!(bench.asked(), [1]);
}

#[test]
fn a_slow_replica_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.run_to(29);
    assert_eq!(bench.asked(), [3]);
    bench.run_to(30);
    assert_eq!(bench.asked(), [3, 2]);
    bench.run_to(60);
    assert_eq!(bench.asked(), [3, 2, 1]);
    bench.probe_answers(1, leader(1, 5));
    assert_eq!(bench.machine.leader(), Some(1));
}

#[test]
fn only_a_leader_that_confirms_itself_gets_work() {
    let mut bench = Bench::new();
    bench.trade("k");
    let mut unready = leader(3, 5).unwrap();
    unready.ready = false;
    bench.probe_answers(3, Ok(unready));
    assert!(bench.calls.is_empty());
    assert_eq!((bench.machine.leader(), bench.asked()), (None, vec![2]));
}

#[test]
fn a_replica_that_answers_under_another_id_is_no_leader() {
    let mut bench = Bench::new();
    bench.probe_answers(3, leader(2, 5));
    assert_eq!(bench.machine.leader(), None);
}

#[test]
fn while_work_waits_sweeps_follow_each_other_quickly_and_then_less_so() {
    let mut bench = Bench::new();
    bench.trade("k");
    let mut now = 0;
    for pause in [5, 10, 20, 40, 50, 50] {
        for replica in [3, 2, 1] {
            bench.probe_answers(replica, Err(CallError::Refused));
        }
        bench.run_to(now + pause - 1);
        assert!(bench.asked().is_empty(), "{pause}");
        now += pause;
        bench.run_to(now);
        assert_eq!(bench.asked(), [3], "{pause}");
    }
}

#[test]
fn a_halted_replica_does_not_hold_up_a_sweep() {
    let mut bench = Bench::new();
    bench.trade("k");
    bench.run_to(30);
    bench.probe_answers(2, follower(2, None));
    bench.run_to(60);
    bench.probe_answers(1, follower(1, None));
    // Replica 3 still owes its answer; the next sweep begins without it.
    bench.run_to(100);
    bench.probe_answers(2, leader(2, 6));
    assert_eq!(bench.machine.leader(), Some(2));
}

#[test]
fn when_the_leader_is_slow_the_others_are_asked_whether_one_of_them_leads() {
    let mut bench = Bench::with_leader();
    let id = bench.trade("k");
    bench.run_to(149);
    assert!(bench.asked().is_empty());
    bench.run_to(150);
    assert_eq!(bench.asked(), [2, 1]);
    bench.probe_answers(2, follower(2, Some(3)));
    bench.probe_answers(1, follower(1, Some(3)));
    assert_eq!(bench.machine.leader(), Some(3), "nobody else leads");
    bench.run_to(200);
    bench.probe_answers(2, leader(2, 6));
    assert_eq!(bench.machine.leader(), Some(2));
    bench.call_fails(CallError::Timeout);
    bench.call_succeeds();
    assert!(bench.answer_of(id).is_ok());
}

#[test]
fn a_leader_that_the_configuration_does_not_know_is_found_through_the_others() {
    let mut bench = Bench::new();
    let mut health = follower(3, Some(5)).unwrap();
    health.voters = [5, 3].map(|id| ServiceAddress { id, service: format!("host-{id}:1") }).to_vec();
    bench.probe_answers(3, Ok(health));
    bench.probe_answers(5, leader(5, 9));
    assert_eq!(bench.machine.leader(), Some(5));
}

#[test]
fn the_leader_says_who_votes() {
    let mut bench = Bench::new();
    let mut health = leader(3, 5).unwrap();
    health.voters = [5, 4, 3].map(|id| ServiceAddress { id, service: format!("host-{id}:1") }).to_vec();
    bench.probe_answers(3, Ok(health));
    bench.trade("k");
    bench.call_fails(CallError::Refused);
    assert_eq!(bench.asked(), [5], "highest id first, of those that vote now");
}

#[test]
fn without_work_sweeps_keep_the_interval_of_health_checks() {
    let mut bench = Bench::new();
    for replica in [3, 2, 1] {
        bench.probe_answers(replica, Err(CallError::Refused));
    }
    bench.run_to(CHECK_EVERY_MS - 1);
    assert!(bench.asked().is_empty());
    bench.run_to(CHECK_EVERY_MS);
    assert_eq!(bench.asked(), [3]);
}

#[test]
fn the_leader_is_checked_and_dropped_when_it_no_longer_leads() {
    let mut bench = Bench::with_leader();
    bench.run_to(CHECK_EVERY_MS);
    assert_eq!(bench.asked(), [3]);
    bench.probe_answers(3, leader(3, 5));
    assert_eq!(bench.machine.leader(), Some(3));
    bench.run_to(2 * CHECK_EVERY_MS);
    bench.probe_answers(3, follower(3, Some(1)));
    assert_eq!((bench.machine.leader(), bench.asked()), (None, vec![1]));
}

#[test]
fn every_failure_of_a_call_drops_the_leader_and_sweeps_at_once() {
    let failures = [
        CallError::Refused,
        CallError::Timeout,
        CallError::Broken("reset".into()),
        answered(ErrorKind::NotLeader, None, None),
        answered(ErrorKind::NoLeader, None, None),
        answered(ErrorKind::NoQuorum, None, None),
        answered(ErrorKind::OutcomeUnknown, Some(TradeFate::Unknown), None),
    ];
    for failure in failures {
        let mut bench = Bench::with_leader();
        bench.trade("k");
        bench.call_fails(failure.clone());
        assert_eq!((bench.machine.leader(), bench.asked()), (None, vec![3]), "{failure}");
    }
}

#[test]
fn a_call_that_names_the_leader_makes_it_the_first_to_be_asked() {
    let mut bench = Bench::with_leader();
    bench.trade("k");
    bench.call_fails(answered(ErrorKind::NotLeader, Some(TradeFate::NotApplied), Some(1)));
    assert_eq!(bench.asked(), [1]);
}

#[test]
fn a_late_answer_of_an_earlier_sweep_does_not_bring_a_failed_leader_back() {
    let mut bench = Bench::new();
    bench.run_to(30);
    bench.probe_answers(2, leader(2, 5));
    bench.trade("k");
    bench.call_fails(CallError::Refused);
    // The question to replica 3 is from before the failure.
    bench.probe_answers(3, leader(3, 4));
    assert_eq!(bench.machine.leader(), None);
}

#[test]
fn a_leader_of_a_higher_term_replaces_the_present_one() {
    let mut bench = Bench::new();
    bench.run_to(30);
    bench.probe_answers(2, leader(2, 5));
    bench.probe_answers(3, leader(3, 4));
    assert_eq!(bench.machine.leader(), Some(2));
    let mut bench = Bench::new();
    bench.run_to(30);
    bench.probe_answers(2, leader(2, 5));
    bench.probe_answers(3, leader(3, 6));
    assert_eq!(bench.machine.leader(), Some(3));
}

#[test]
fn who_asks_for_the_leader_is_told_the_confirmed_one() {
    let mut bench = Bench::with_leader();
    let id = bench.submit(vec![Work::Leader])[0];
    let Ok(Answer::Leader(view)) = bench.answer_of(id) else { panic!("no leader") };
    assert_eq!((view.leader, view.term, view.ready, view.quorum_ack_age_ms), (3, 5, true, Some(12)));
}

#[test]
fn who_asks_for_the_leader_while_there_is_none_waits_for_the_sweep() {
    let mut bench = Bench::new();
    let id = bench.submit(vec![Work::Leader])[0];
    assert!(!bench.is_answered(id));
    bench.probe_answers(3, Err(CallError::Timeout));
    bench.probe_answers(2, Err(CallError::Refused));
    bench.probe_answers(1, follower(1, None));
    let error = bench.error_of(id);
    assert_eq!(error.kind, ErrorKind::NoQuorum);
    assert_eq!(error.message, "no_quorum: 1 of 3 replicas reachable, need 2; 2: refused, 3: timeout");
    assert_eq!(error.outcome, None);
}
