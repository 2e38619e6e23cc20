//! The rules of the ledger, one test each; R numbers as in `docs/leases.md`.

mod agreement;

use std::{collections::HashMap, time::Duration};

use bazaar_domain::{
    Cents, ErrorKind, IdempotencyKey, Moment, Quantity, Side, Stock, StockName, Trade,
    config::LeaseConfig,
    internal::{
        InvalidationAck, InventorySnapshot, PublishBatch, PublishedEntry, PublishedItem, SubscribeRequest,
        UnsubscribeRequest,
    },
    limits::STOCK_QUANTITY_MAX,
};

use super::*;
use crate::incoming::TakenBatch;

const LIFE: u64 = 77;
/// After the silence of a start at zero: TTL 1 s plus 10 %.
const AWAKE_MS: u64 = 1_100;

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn name(text: &str) -> StockName {
    StockName::new(text).unwrap()
}

fn stock(text: &str, quantity: u64, version: u64) -> Stock {
    let price = Cents::new(1_599).unwrap();
    Stock { name: name(text), price, quantity, trade_volume: 0, version, max_quantity: None }
}

/// A ledger that holds A and B as of index 10, and is past its silence.
fn ledger() -> Ledger {
    let stocks = [stock("A", 100, 1), stock("B", 100, 1)].map(|stock| (stock.name, stock));
    let copy = InventoryCopy { cluster_id: Some("c1".into()), applied: 10, stocks: HashMap::from(stocks) };
    Ledger::new(LIFE, LeaseConfig::default(), copy, Moment::ZERO)
}

/// The same, with a lease of one second from `now_ms` on whose floor is exposed.
fn leased_ledger(now_ms: u64) -> Ledger {
    let mut ledger = ledger();
    ledger.lease_granted("c1", at(now_ms), Duration::from_secs(1), 10, at(now_ms));
    ledger
}

fn buy(text: &str, quantity: u64) -> PublishedItem {
    let key = IdempotencyKey::new("k").unwrap();
    PublishedItem::Trade(Trade { key, name: name(text), side: Side::Buy, quantity: Quantity::new(quantity).unwrap() })
}

fn batch(previous: u64, through: u64, entries: Vec<(u64, Vec<PublishedItem>)>) -> PublishBatch {
    let entries = entries.into_iter().map(|(index, items)| PublishedEntry { index, items }).collect();
    PublishBatch { cluster_id: "c1".into(), previous, through, entries }
}

fn changed(through: u64, stocks: Vec<Stock>) -> Change {
    Change { cluster_id: "c1".into(), through, next: Next::Changed(stocks) }
}

fn request(frontend: u128, session: u64) -> SubscribeRequest {
    SubscribeRequest { frontend, session, internal_address: format!("127.0.0.1:{frontend}") }
}

fn ack(send: &SendInvalidation) -> InvalidationAck {
    let InvalidationBatch { incarnation, session, batch, .. } = send.batch;
    InvalidationAck { frontend: send.frontend, incarnation, session, batch }
}

fn exposed(advance: &Advance) -> bool {
    matches!(advance, Advance::Exposed(_))
}

/// Takes a batch as the shell does, without frontends that have to be waited for.
fn take(ledger: &mut Ledger, batch: &PublishBatch, now: Moment) -> Option<Vec<(u64, Vec<ItemStatus>)>> {
    let (change, statuses) = TakenBatch::of(ledger, batch).unwrap()?.decide();
    ledger.begin(change, now);
    assert!(exposed(&ledger.advance(now)));
    Some(statuses)
}

#[test]
fn a_batch_behind_a_gap_is_not_taken_and_the_reply_says_from_where_to_send() {
    let ledger = ledger();
    assert!(!ledger.takes_batch(&batch(11, 12, vec![(12, vec![buy("A", 1)])])).unwrap());
    let reply = ledger.reply(Vec::new(), at(AWAKE_MS));
    assert_eq!((reply.incarnation, reply.applied, reply.exposed), (LIFE, 10, 10));
}

#[test]
fn a_batch_moves_the_copy_to_its_end_and_answers_each_item() {
    let mut ledger = ledger();
    let items = vec![buy("A", 60), buy("A", 60), buy("nope", 1)];
    let statuses = take(&mut ledger, &batch(10, 14, vec![(12, items), (13, vec![buy("A", 40)])]), at(AWAKE_MS));
    let statuses = statuses.unwrap();
    let numbers = statuses
        .iter()
        .map(|(index, items)| (*index, items.iter().map(|item| (item.status, item.stock_version)).collect::<Vec<_>>()));
    assert_eq!(numbers.collect::<Vec<_>>(), [(12, vec![(200, 2), (409, 2), (404, 0)]), (13, vec![(200, 3)])]);
    assert_eq!((ledger.applied(), ledger.exposed()), (14, 14));
    assert_eq!(ledger.lookup(name("A"), at(AWAKE_MS)).value.unwrap().quantity, 0);
}

#[test]
fn entries_that_are_applied_already_are_skipped() {
    let mut ledger = ledger();
    take(&mut ledger, &batch(10, 12, vec![(12, vec![buy("A", 10)])]), at(AWAKE_MS));
    let repeated = batch(10, 13, vec![(12, vec![buy("A", 10)]), (13, vec![buy("A", 1)])]);
    let statuses = take(&mut ledger, &repeated, at(AWAKE_MS)).unwrap();
    assert_eq!(statuses.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [13]);
    assert_eq!(ledger.lookup(name("A"), at(AWAKE_MS)).value.unwrap().quantity, 89);
    assert_eq!(take(&mut ledger, &batch(10, 12, vec![(12, vec![buy("A", 10)])]), at(AWAKE_MS)), Some(Vec::new()));
    assert_eq!(ledger.applied(), 13);
}

#[test]
fn a_batch_of_another_cluster_or_out_of_order_is_refused() {
    let ledger = ledger();
    let mut foreign = batch(10, 11, Vec::new());
    foreign.cluster_id = "c2".into();
    assert_eq!(ledger.takes_batch(&foreign).unwrap_err().kind, ErrorKind::WrongCluster);
    for (previous, through, indexes) in
        [(11, 10, vec![]), (10, 12, vec![12, 11]), (10, 12, vec![13]), (10, 12, vec![10])]
    {
        let entries = indexes.into_iter().map(|index| (index, Vec::new())).collect();
        assert_eq!(ledger.takes_batch(&batch(previous, through, entries)).unwrap_err().kind, ErrorKind::InvalidRequest);
    }
}

#[test]
fn the_first_cluster_that_publishes_is_the_only_one() {
    let mut ledger = Ledger::new(LIFE, LeaseConfig::default(), InventoryCopy::default(), Moment::ZERO);
    take(&mut ledger, &batch(0, 1, Vec::new()), at(AWAKE_MS));
    let mut foreign = batch(1, 2, Vec::new());
    foreign.cluster_id = "c2".into();
    assert_eq!(ledger.takes_batch(&foreign).unwrap_err().kind, ErrorKind::WrongCluster);
}

#[test]
fn a_change_is_exposed_only_when_every_leased_frontend_has_acked() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 1), at(2_000));
    ledger.subscribe(&request(2, 9), at(2_000));
    let sends = ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_100));
    let seen: Vec<_> = sends.iter().map(|send| (send.frontend, send.batch.session, send.address.as_str())).collect();
    assert_eq!(seen, [(1, 1, "127.0.0.1:1"), (2, 9, "127.0.0.1:2")]);
    assert_eq!((sends[0].batch.index, &sends[0].batch.names), (11, &vec![name("A")]));
    assert!(!exposed(&ledger.advance(at(2_100))));
    assert!(ledger.acknowledge(ack(&sends[0]), at(2_000)) && !ledger.owes(&sends[0]) && ledger.owes(&sends[1]));
    assert!(!exposed(&ledger.advance(at(2_101))));
    assert_eq!(
        (ledger.applied(), ledger.reply(Vec::new(), at(2_101)).exposed),
        (11, 10),
        "R7: reported is what is exposed"
    );
    assert!(ledger.acknowledge(ack(&sends[1]), at(2_000)));
    assert!(exposed(&ledger.advance(at(2_102))));
    assert_eq!(ledger.reply(Vec::new(), at(2_102)).exposed, 11);
}

#[test]
fn an_ack_of_another_life_session_or_batch_or_frontend_does_not_count() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 5), at(2_000));
    let first = ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_000));
    assert!(ledger.acknowledge(ack(&first[0]), at(2_000)) && exposed(&ledger.advance(at(2_000))));
    let second = ledger.begin(changed(12, vec![stock("A", 80, 3)]), at(2_000));
    let right = ack(&second[0]);
    assert!(!ledger.acknowledge(ack(&first[0]), at(2_000)), "a repeated ack of the batch before");
    assert!(!ledger.acknowledge(InvalidationAck { incarnation: LIFE + 1, ..right }, at(2_000)));
    assert!(!ledger.acknowledge(InvalidationAck { session: 6, ..right }, at(2_000)));
    assert!(!ledger.acknowledge(InvalidationAck { frontend: 2, ..right }, at(2_000)));
    assert!(!exposed(&ledger.advance(at(2_000))));
    assert!(ledger.acknowledge(right, at(2_000)) && exposed(&ledger.advance(at(2_000))));
}

#[test]
fn the_end_of_a_frontends_lease_as_its_granter_counts_it_releases_the_wait() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 1), at(2_000));
    let sends = ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_500));
    assert_eq!(ledger.advance(at(3_099)), Advance::Waits(at(3_100)), "one TTL plus the margin");
    assert!(exposed(&ledger.advance(at(3_100))));
    assert!(!ledger.owes(&sends[0]));
    assert_eq!(ledger.frontends(), 0, "it is not waited for again until it subscribes anew");
}

#[test]
fn a_wish_to_unsubscribe_releases_the_wait_unless_it_is_of_an_older_session() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 2), at(2_000));
    ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_000));
    ledger.unsubscribe(UnsubscribeRequest { frontend: 1, session: 1 });
    assert!(!exposed(&ledger.advance(at(2_000))));
    ledger.unsubscribe(UnsubscribeRequest { frontend: 1, session: 2 });
    assert!(exposed(&ledger.advance(at(2_000))));
}

#[test]
fn a_newer_session_of_a_frontend_is_proof_that_its_older_cache_is_unusable() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 1), at(2_000));
    let sends = ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_000));
    assert_ne!(ledger.subscribe(&request(1, 2), at(2_001)).duration_micros, 0);
    assert!(!ledger.owes(&sends[0]) && exposed(&ledger.advance(at(2_001))));
    assert_eq!(ledger.frontends(), 1);
}

#[test]
fn a_range_that_changes_no_stock_is_exposed_at_once() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 1), at(2_000));
    assert_eq!(ledger.begin(changed(15, Vec::new()), at(2_000)), []);
    assert!(exposed(&ledger.advance(at(2_000))));
    assert_eq!(ledger.exposed(), 15);
}

#[test]
fn while_a_change_is_pending_its_stocks_are_shown_as_before_and_not_cacheable() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 1), at(2_000));
    assert!(ledger.lookup(name("A"), at(2_000)).cacheable && ledger.list(at(2_000)).cacheable);
    ledger.begin(changed(11, vec![stock("A", 90, 2), stock("C", 5, 1)]), at(2_000));
    let reading = ledger.lookup(name("A"), at(2_001));
    assert_eq!((reading.value.unwrap().quantity, reading.index, reading.cacheable), (100, 10, false));
    let unlisted = ledger.lookup(name("C"), at(2_001));
    assert_eq!((unlisted.value, unlisted.cacheable), (None, false));
    assert!(ledger.lookup(name("B"), at(2_001)).cacheable);
    assert!(!ledger.list(at(2_001)).cacheable);
}

#[test]
fn a_frontend_that_subscribes_during_a_change_is_not_waited_for() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 1), at(2_000));
    let sends = ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_000));
    assert_ne!(ledger.subscribe(&request(2, 1), at(2_001)).duration_micros, 0);
    ledger.acknowledge(ack(&sends[0]), at(2_000));
    assert!(exposed(&ledger.advance(at(2_002))));
}

#[test]
fn for_one_ttl_plus_margin_after_its_start_a_catalog_serves_exposes_acks_and_grants_nothing() {
    let mut ledger = leased_ledger(500);
    ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(600));
    assert_eq!(ledger.advance(at(1_099)), Advance::Waits(at(AWAKE_MS)));
    assert_eq!(ledger.applied(), 11);
    assert_eq!(ledger.reply(Vec::new(), at(1_099)).exposed, 0);
    assert_eq!(ledger.serving(at(1_099)), Serving::Silent);
    assert!(!ledger.lookup(name("B"), at(1_099)).cacheable);
    assert_eq!(ledger.subscribe(&request(1, 1), at(1_099)).duration_micros, 0);
    assert_eq!(ledger.frontends(), 0);
    assert!(exposed(&ledger.advance(at(AWAKE_MS))));
    assert_eq!(ledger.serving(at(AWAKE_MS)), Serving::Yes);
    assert_eq!(ledger.reply(Vec::new(), at(AWAKE_MS)).exposed, 11);
}

#[test]
fn a_grant_of_another_cluster_gives_no_right_to_serve() {
    let mut ledger = ledger();
    ledger.lease_granted("c2", at(2_000), Duration::from_secs(1), 10, at(2_000));
    assert_eq!(ledger.serving(at(2_010)), Serving::NoLease);
}

#[test]
fn reads_need_a_grant_whose_floor_is_exposed_and_whose_end_is_ahead() {
    let mut ledger = ledger();
    assert_eq!(ledger.serving(at(2_000)), Serving::NoLease);
    ledger.lease_granted("c1", at(2_000), Duration::from_secs(1), 11, at(2_010));
    assert_eq!(ledger.serving(at(2_010)), Serving::Behind);
    ledger.lease_granted("c1", at(2_000), Duration::from_millis(500), 10, at(2_010));
    assert_eq!(ledger.serving(at(2_499)), Serving::Yes);
    assert_eq!(ledger.serving(at(2_500)), Serving::Behind, "counted from when the catalog asked");
    ledger.begin(changed(11, Vec::new()), at(2_500));
    ledger.advance(at(2_500));
    assert_eq!(ledger.serving(at(2_999)), Serving::Yes);
    assert_eq!(ledger.serving(at(3_000)), Serving::NoLease);
}

#[test]
fn a_frontends_lease_never_outlasts_the_longest_usable_grant() {
    let mut ledger = leased_ledger(2_000);
    ledger.lease_granted("c1", at(2_000), Duration::from_secs(5), 11, at(2_000));
    let lease = |ledger: &mut Ledger, now| ledger.subscribe(&request(1, 1), at(now)).duration_micros;
    assert_eq!(lease(&mut ledger, 2_300), 700_000);
    ledger.begin(changed(11, Vec::new()), at(2_400));
    ledger.advance(at(2_400));
    assert_eq!(lease(&mut ledger, 2_400), 1_000_000, "never longer than one TTL");
    assert_eq!(lease(&mut ledger, 7_000), 0);
}

#[test]
fn a_renewal_never_shortens_what_is_recorded() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 1), at(2_000));
    assert_eq!(ledger.subscribe(&request(1, 1), at(2_990)).duration_micros, 10_000);
    ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_995));
    assert_eq!(ledger.advance(at(2_995)), Advance::Waits(at(3_100)));
}

#[test]
fn a_request_of_an_older_session_is_ignored() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 5), at(2_000));
    let reply = ledger.subscribe(&request(1, 4), at(2_001));
    assert_eq!((reply.session, reply.duration_micros), (4, 0));
    let sends = ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_002));
    assert_eq!(sends[0].batch.session, 5);
}

#[test]
fn a_frontend_that_acks_slowly_costs_one_lease_and_gets_none_for_a_while() {
    let mut ledger = leased_ledger(2_000);
    assert_ne!(ledger.subscribe(&request(1, 5), at(2_000)).duration_micros, 0);
    for (round, begun) in [2_000, 2_300, 2_600, 2_900, 3_200].into_iter().enumerate() {
        ledger.lease_granted("c1", at(begun), Duration::from_secs(1), 10, at(begun));
        assert_ne!(ledger.subscribe(&request(1, 5), at(begun)).duration_micros, 0, "round {round}");
        let sends = ledger.begin(changed(11 + round as u64, vec![stock("A", 90, 2)]), at(begun));
        assert!(ledger.acknowledge(ack(&sends[0]), at(begun + 299)) && exposed(&ledger.advance(at(begun + 299))));
    }
    ledger.lease_granted("c1", at(3_500), Duration::from_secs(20), 10, at(3_500));
    for session in [5, 6] {
        assert_eq!(ledger.subscribe(&request(1, session), at(3_500)).duration_micros, 0, "its acks have cost a second");
    }
    assert_ne!(ledger.subscribe(&request(2, 1), at(3_500)).duration_micros, 0, "others are not concerned");
    assert_ne!(ledger.subscribe(&request(1, 6), at(14_000)).duration_micros, 0);
}

#[test]
fn a_frontend_that_renews_but_never_acks_is_waited_for_a_bounded_time() {
    let mut ledger = ledger();
    let mut now = 2_000;
    let renew = |ledger: &mut Ledger, now: u64| {
        ledger.lease_granted("c1", at(now), Duration::from_secs(1), 10, at(now));
        ledger.subscribe(&request(1, 1), at(now)).duration_micros
    };
    renew(&mut ledger, now);
    ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(now));
    while now <= 3_000 {
        assert_ne!(renew(&mut ledger, now), 0);
        now += 200;
    }
    assert_eq!(renew(&mut ledger, now), 0);
    assert_eq!(ledger.advance(at(now)), Advance::Waits(at(3_000 + AWAKE_MS)));
    assert!(exposed(&ledger.advance(at(3_000 + AWAKE_MS))));
    // Nor does a new session of it make the next batch wait.
    ledger.lease_granted("c1", at(4_200), Duration::from_secs(20), 11, at(4_200));
    assert_eq!(ledger.subscribe(&request(1, 2), at(4_200)).duration_micros, 0);
    assert_eq!(ledger.shunned(), 1);
    assert_ne!(ledger.subscribe(&request(1, 2), at(14_000)).duration_micros, 0);
}

#[test]
fn one_long_wait_which_may_be_the_catalogs_own_costs_a_frontend_nothing() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 5), at(2_000));
    let sends = ledger.begin(changed(11, vec![stock("A", 90, 2)]), at(2_000));
    assert!(ledger.acknowledge(ack(&sends[0]), at(4_500)));
    ledger.lease_granted("c1", at(4_500), Duration::from_secs(1), 10, at(4_500));
    assert_ne!(ledger.subscribe(&request(1, 6), at(4_500)).duration_micros, 0);
}

#[test]
fn frontends_past_the_bound_get_no_lease() {
    let mut ledger = leased_ledger(2_000);
    for frontend in 1..=FRONTENDS_MAX as u128 {
        assert_ne!(ledger.subscribe(&request(frontend, 1), at(2_000)).duration_micros, 0);
    }
    assert_eq!(ledger.subscribe(&request(u128::MAX, 1), at(2_000)).duration_micros, 0);
    assert_ne!(ledger.subscribe(&request(1, 1), at(2_000)).duration_micros, 0);
}

fn snapshot(index: u64, heals: bool) -> InventorySnapshot {
    InventorySnapshot { cluster_id: "c1".into(), index, stocks: Vec::new(), heals }
}

#[test]
fn an_older_snapshot_is_refused_and_one_at_the_same_index_is_taken_only_to_heal() {
    let ledger = ledger();
    assert!(!ledger.takes_snapshot(&snapshot(9, true)).unwrap());
    assert!(!ledger.takes_snapshot(&snapshot(10, false)).unwrap());
    assert!(ledger.takes_snapshot(&snapshot(10, true)).unwrap());
    assert!(ledger.takes_snapshot(&snapshot(11, false)).unwrap());
}

#[test]
fn a_snapshot_with_numbers_that_no_stock_can_have_is_refused() {
    let ledger = ledger();
    let possible = Stock { max_quantity: Some(100), ..stock("A", 100, 1) };
    let with = |stock| InventorySnapshot { stocks: vec![stock], ..snapshot(11, false) };
    assert!(ledger.takes_snapshot(&with(possible)).unwrap());
    let impossible = [
        Stock { quantity: 101, ..possible },
        Stock { quantity: STOCK_QUANTITY_MAX + 1, max_quantity: None, ..possible },
        Stock { trade_volume: STOCK_QUANTITY_MAX + 1, ..possible },
        // A trade with it would have no version.
        Stock { version: u64::MAX, ..possible },
    ];
    for stock in impossible {
        assert_eq!(ledger.takes_snapshot(&with(stock)).unwrap_err().kind, ErrorKind::InvalidRequest, "{stock:?}");
    }
}

#[test]
fn a_snapshot_goes_through_invalidation_of_all_stocks_and_replaces_everything() {
    let mut ledger = leased_ledger(2_000);
    ledger.subscribe(&request(1, 1), at(2_000));
    let whole = HashMap::from([(name("A"), stock("A", 7, 9))]);
    let change = Change { cluster_id: "c1".into(), through: 20, next: Next::Whole(whole) };
    let sends = ledger.begin(change, at(2_000));
    assert!(sends[0].batch.names.is_empty(), "no names stand for all");
    assert!(!exposed(&ledger.advance(at(2_000))));
    assert!(!ledger.lookup(name("B"), at(2_000)).cacheable);
    ledger.acknowledge(ack(&sends[0]), at(2_000));
    assert!(exposed(&ledger.advance(at(2_000))));
    assert_eq!(ledger.lookup(name("B"), at(2_000)).value, None);
    assert_eq!(ledger.lookup(name("A"), at(2_000)).value, Some(stock("A", 7, 9)));
    assert_eq!(ledger.exposed(), 20);
}
