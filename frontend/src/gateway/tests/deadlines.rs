//! What clients are told when no answer came in time, and that each is told exactly once.

use proptest::prelude::*;

use super::*;

#[test]
fn a_trade_that_was_never_sent_was_not_applied() {
    let mut bench = Bench::new();
    let id = bench.trade("a");
    bench.run_to_with(TRADE_DEADLINE_MS - 1, |_| Err(CallError::Refused));
    assert!(!bench.is_answered(id));
    bench.run_to_with(TRADE_DEADLINE_MS, |_| Err(CallError::Refused));
    let error = bench.error_of(id);
    assert_eq!((error.code, error.kind, error.outcome), (503, ErrorKind::NoQuorum, Some(TradeFate::NotApplied)));
    assert_eq!(error.message, "no_quorum: 0 of 3 replicas reachable, need 2; 1: refused, 2: refused, 3: refused");
}

#[test]
fn a_quorum_without_a_leader_is_told_apart_from_no_quorum() {
    let mut bench = Bench::new();
    let id = bench.trade("a");
    bench.run_to_with(TRADE_DEADLINE_MS, |replica| follower(replica, None));
    let error = bench.error_of(id);
    assert_eq!((error.kind, error.outcome), (ErrorKind::NoLeader, Some(TradeFate::NotApplied)));
    assert_eq!(error.message, "no_leader: 3 of 3 replicas reachable, none takes requests yet, try again");
}

#[test]
fn replicas_that_nobody_founded_a_cluster_of_are_told_apart_from_an_election() {
    let mut bench = Bench::new();
    let id = bench.trade("a");
    let joining = |replica| follower(replica, None).map(|health| Health { role: Role::Joining, term: 0, ..health });
    bench.run_to_with(TRADE_DEADLINE_MS, joining);
    let error = bench.error_of(id);
    assert_eq!((error.kind, error.outcome), (ErrorKind::NoLeader, Some(TradeFate::NotApplied)));
    let expected = "no_leader: 3 of 3 replicas reachable, no cluster is founded yet: found one with 'bazaar init'";
    assert_eq!(error.message, expected);
}

/// The fate of a trade whose only request ended like this, and for which there was no leader afterwards.
fn fate_after(error: CallError) -> (ErrorKind, Option<TradeFate>) {
    let mut bench = Bench::with_leader();
    let id = bench.trade("a");
    bench.call_fails(error);
    bench.run_to_with(TRADE_DEADLINE_MS, |_| Err(CallError::Refused));
    let error = bench.error_of(id);
    (error.kind, error.outcome)
}

#[test]
fn a_trade_is_unknown_unless_its_failure_was_certainly_not_proposed() {
    let certain = (ErrorKind::NoQuorum, Some(TradeFate::NotApplied));
    let unknown = (ErrorKind::OutcomeUnknown, Some(TradeFate::Unknown));
    assert_eq!(fate_after(CallError::Refused), certain);
    assert_eq!(fate_after(answered(ErrorKind::NotLeader, Some(TradeFate::NotApplied), None)), certain);
    assert_eq!(fate_after(CallError::Timeout), unknown);
    assert_eq!(fate_after(CallError::Broken("reset".into())), unknown);
    assert_eq!(fate_after(answered(ErrorKind::NoQuorum, None, None)), unknown);
    assert_eq!(fate_after(answered(ErrorKind::OutcomeUnknown, Some(TradeFate::Unknown), None)), unknown);
}

#[test]
fn a_later_certain_failure_does_not_make_an_unknown_trade_certain() {
    let mut bench = Bench::with_leader();
    let id = bench.trade("a");
    bench.call_fails(CallError::Timeout);
    bench.probe_answers(3, leader(3, 5));
    bench.call_fails(CallError::Refused);
    bench.run_to_with(TRADE_DEADLINE_MS, |_| Err(CallError::Refused));
    assert_eq!(bench.error_of(id).outcome, Some(TradeFate::Unknown));
}

#[test]
fn a_trade_under_way_at_its_deadline_is_unknown_and_the_others_of_its_request_go_on() {
    let mut bench = Bench::new();
    let early = bench.trade("early");
    bench.run_to_with(9_000, |_| Err(CallError::Refused));
    let late = bench.trade("late");
    bench.run_to_with(9_900, |_| Err(CallError::Refused));
    bench.run_to_with(9_950, |replica| leader(replica, 6));
    assert_eq!(bench.keys(0), ["early", "late"]);
    bench.run_to_with(10_000, |replica| leader(replica, 6));
    let error = bench.error_of(early);
    assert_eq!((error.code, error.kind, error.outcome), (504, ErrorKind::OutcomeUnknown, Some(TradeFate::Unknown)));
    assert!(!bench.is_answered(late));
    bench.call_succeeds();
    assert_eq!(bench.answer_of(late), &Ok(Answer::Trade(accepted(2))));
    assert_eq!(bench.answers.len(), 2);
}

#[test]
fn a_read_fails_at_its_deadline_without_an_outcome() {
    let mut bench = Bench::with_leader();
    let id = bench.submit(vec![Work::Read(OrderRead::ByNumber(1))])[0];
    bench.call_fails(CallError::Timeout);
    bench.run_to_with(10_000, |_| Err(CallError::Refused));
    let error = bench.error_of(id);
    assert_eq!((error.kind, error.outcome), (ErrorKind::NoQuorum, None));
}

#[derive(Debug, Clone)]
enum Op {
    Trades(usize),
    Read,
    Wait(u64),
    Probe { oldest: bool, leads: bool, term: u64, reached: bool },
    Call { oldest: bool, how: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (1..4_usize).prop_map(Op::Trades),
        Just(Op::Read),
        (1..700_u64).prop_map(Op::Wait),
        (any::<bool>(), any::<bool>(), 1..4_u64, any::<bool>()).prop_map(|(oldest, leads, term, reached)| Op::Probe {
            oldest,
            leads,
            term,
            reached
        }),
        (any::<bool>(), 0..4_u8).prop_map(|(oldest, how)| Op::Call { oldest, how }),
    ]
}

/// Which units a request of the run carried, by key, and whether it may have been taken.
#[derive(Default)]
struct Taken(std::collections::BTreeSet<String>);

impl Taken {
    fn note(&mut self, request: &Request) {
        if let Request::Trades(trades) = request {
            self.0.extend(trades.iter().map(|trade| trade.key.to_string()));
        }
    }
}

fn take<T>(from: &mut Vec<T>, oldest: bool) -> Option<T> {
    if oldest && !from.is_empty() { Some(from.remove(0)) } else { from.pop() }
}

proptest! {
    /// Whatever replicas and network do: each piece of work is answered once and by its deadline, and a trade that a
    /// leader may have taken is never said to be not applied.
    #[test]
    fn everyone_is_answered_once_in_time_and_no_taken_trade_is_called_not_applied(
        ops in proptest::collection::vec(op(), 1..120)
    ) {
        let mut bench = Bench::new();
        let mut taken = Taken::default();
        let mut keys = std::collections::BTreeMap::new();
        for op in ops {
            match op {
                Op::Trades(count) => {
                    let key = format!("k{}", bench.next_work);
                    let work = if count == 1 { Work::Trade(trade(&key)) } else { Work::Batch(vec![trade(&key); count]) };
                    keys.insert(bench.submit(vec![work])[0], (key, bench.now));
                }
                Op::Read => {
                    let id = bench.submit(vec![Work::Read(OrderRead::ByNumber(1))])[0];
                    keys.insert(id, (String::new(), bench.now));
                }
                Op::Wait(millis) => bench.run_to(bench.now + millis),
                Op::Probe { oldest, leads, term, reached } => {
                    let Some((probe, replica)) = take(&mut bench.probes, oldest) else { continue };
                    let healthy = if leads { leader(replica, term) } else { follower(replica, Some(term)) };
                    let result = if reached { healthy } else { Err(CallError::Timeout) };
                    bench.step(Event::ProbeDone { probe, result });
                }
                Op::Call { oldest, how } => {
                    let Some((call, _, request)) = take(&mut bench.calls, oldest) else { continue };
                    let result = match how {
                        0 => Err(CallError::Refused),
                        1 => Err(answered(ErrorKind::NotLeader, Some(TradeFate::NotApplied), None)),
                        2 => { taken.note(&request); Err(CallError::Timeout) }
                        _ => {
                            taken.note(&request);
                            Ok(match &request {
                                Request::Trades(trades) => {
                                    Reply::Decisions((1..).take(trades.len()).map(accepted).collect())
                                }
                                Request::Reads(reads) => {
                                    Reply::Reads(reads.iter().map(|_| OrderReadAnswer::Order(None)).collect())
                                }
                            })
                        }
                    };
                    bench.step(Event::CallDone { call, result });
                }
            }
        }
        bench.run_to(bench.now + TRADE_DEADLINE_MS);
        let mut answered_ids: Vec<WorkId> = bench.answers.iter().map(|(id, _)| *id).collect();
        answered_ids.sort_unstable();
        prop_assert_eq!(answered_ids, keys.keys().copied().collect::<Vec<_>>());
        for (id, result) in &bench.answers {
            let (key, _) = &keys[id];
            if matches!(result, Err(error) if error.outcome == Some(TradeFate::NotApplied)) {
                prop_assert!(!taken.0.contains(key), "{} was taken", key);
            }
        }
    }
}
