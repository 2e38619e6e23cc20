use bazaar_domain::Cents;
use proptest::prelude::*;

use super::*;

const LEASE_MS: u64 = 1_000;

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn name(text: &str) -> StockName {
    StockName::new(text).unwrap()
}

fn answer(text: &str, version: u64, log_index: u64) -> Arc<StockAnswer> {
    let price = Cents::new(1_599).unwrap();
    let stock = StockView { name: name(text), price, quantity: 100, trade_volume: 0, version };
    Arc::new(StockAnswer::new(stock, log_index))
}

fn reply(session: u64, millis: u64) -> SubscribeReply {
    SubscribeReply { incarnation: 1, session, duration_micros: millis * 1_000 }
}

fn batch(session: u64, index: u64, names: &[&str]) -> InvalidationBatch {
    let names = names.iter().map(|text| name(text)).collect();
    InvalidationBatch { incarnation: 7, session, batch: 3, index, names }
}

/// A cache of two stocks with a lease from 0 to `LEASE_MS`.
fn leased() -> Cache {
    let mut cache = Cache::new(2);
    let session = cache.lease_request(at(0));
    cache.lease_answer(&reply(session, LEASE_MS), at(0), at(1));
    cache
}

fn ticket(cache: &mut Cache, text: &str, now: u64) -> Ticket {
    match cache.lookup(&name(text), at(now)) {
        Lookup::Miss(ticket) | Lookup::Bypass(ticket) => ticket,
        Lookup::Hit(_) => panic!("{text} is cached already"),
    }
}

fn is_hit(cache: &mut Cache, text: &str, now: u64) -> bool {
    matches!(cache.lookup(&name(text), at(now)), Lookup::Hit(_))
}

fn fill(cache: &mut Cache, text: &str, log_index: u64, now: u64) -> bool {
    let ticket = ticket(cache, text, now);
    cache.fill(ticket, &answer(text, 1, log_index), true, at(now))
}

#[test]
fn a_kept_fill_is_a_hit_with_the_contracts_body() {
    let mut cache = leased();
    assert!(fill(&mut cache, "GameStart", 5, 2));
    let Lookup::Hit(hit) = cache.lookup(&name("GameStart"), at(3)) else { panic!("not cached") };
    let wanted = r#"{"data":{"name":"GameStart","price":15.99,"quantity":100,"trade_volume":0,"version":1}}"#;
    assert_eq!(hit.body, wanted);
    assert_eq!(hit.etag, "\"1\"");
}

#[test]
fn a_cache_of_size_0_bypasses_every_lookup() {
    let mut cache = Cache::new(0);
    cache.lease_answer(&reply(1, LEASE_MS), at(0), at(1));
    let Lookup::Bypass(ticket) = cache.lookup(&name("A"), at(2)) else { panic!("the cache is off") };
    assert!(!cache.fill(ticket, &answer("A", 1, 5), true, at(2)));
    assert!(matches!(cache.lookup(&name("A"), at(3)), Lookup::Bypass(_)));
}

#[test]
fn the_least_recently_used_stock_goes_first() {
    let mut cache = leased();
    assert!(fill(&mut cache, "A", 5, 2) && fill(&mut cache, "B", 5, 2));
    assert!(is_hit(&mut cache, "A", 3));
    assert!(fill(&mut cache, "C", 5, 4));
    assert_eq!(cache.names(), [name("C"), name("A")]);
}

#[test]
fn there_is_no_hit_without_a_lease() {
    let mut cache = leased();
    assert!(fill(&mut cache, "A", 5, 2));
    assert!(is_hit(&mut cache, "A", LEASE_MS - 1));
    assert!(matches!(cache.lookup(&name("A"), at(LEASE_MS)), Lookup::Bypass(_)));
}

#[test]
fn at_a_lapse_a_new_session_starts_empty() {
    let mut cache = leased();
    assert!(fill(&mut cache, "A", 5, 2));
    assert_eq!(cache.lease_request(at(LEASE_MS)), 2);
    assert_eq!(cache.counts().lapses, 1);
    assert!(cache.names().is_empty());
    cache.lease_answer(&reply(2, LEASE_MS), at(LEASE_MS), at(LEASE_MS + 1));
    assert!(!is_hit(&mut cache, "A", LEASE_MS + 2));
}

#[test]
fn a_lease_answer_of_another_session_is_ignored() {
    let mut cache = leased();
    assert_eq!(cache.lease_request(at(LEASE_MS)), 2);
    cache.lease_answer(&reply(1, LEASE_MS), at(LEASE_MS - 1), at(LEASE_MS));
    assert_eq!(cache.leased_until(at(LEASE_MS)), None);
}

#[test]
fn a_lease_answer_without_a_duration_gives_no_lease() {
    let mut cache = Cache::new(2);
    cache.lease_answer(&reply(1, 0), at(0), at(0));
    assert_eq!(cache.leased_until(at(0)), None);
}

#[test]
fn a_lease_counts_from_when_it_was_asked_for() {
    let mut cache = Cache::new(2);
    cache.lease_answer(&reply(1, 100), at(50), at(140));
    assert_eq!(cache.leased_until(at(149)), Some(at(150)));
    assert_eq!(cache.leased_until(at(150)), None);
}

#[test]
fn a_shorter_renewal_does_not_shorten_a_lease() {
    let mut cache = leased();
    cache.lease_answer(&reply(1, 100), at(10), at(11));
    assert_eq!(cache.leased_until(at(500)), Some(at(LEASE_MS)));
}

#[test]
fn a_fetch_sent_without_a_lease_is_not_kept() {
    let mut cache = Cache::new(2);
    let early = ticket(&mut cache, "A", 0);
    cache.lease_answer(&reply(1, LEASE_MS), at(0), at(1));
    assert!(!cache.fill(early, &answer("A", 1, 5), true, at(2)));
}

#[test]
fn a_fill_of_another_session_is_not_kept() {
    let mut cache = leased();
    let old = ticket(&mut cache, "A", 2);
    assert_eq!(cache.lease_request(at(LEASE_MS)), 2);
    cache.lease_answer(&reply(2, LEASE_MS), at(LEASE_MS), at(LEASE_MS + 1));
    assert!(!cache.fill(old, &answer("A", 1, 5), true, at(LEASE_MS + 2)));
}

#[test]
fn an_answer_marked_not_cacheable_is_not_kept() {
    let mut cache = leased();
    let ticket = ticket(&mut cache, "A", 2);
    assert!(!cache.fill(ticket, &answer("A", 1, 5), false, at(3)));
}

#[test]
fn a_fill_older_than_the_floor_is_not_kept() {
    let mut cache = leased();
    let ticket = ticket(&mut cache, "A", 2);
    cache.invalidate(9, &batch(1, 6, &["B"]), at(3));
    assert!(!cache.fill(ticket, &answer("A", 1, 5), true, at(4)));
    assert!(cache.fill(ticket, &answer("A", 1, 6), true, at(4)));
}

#[test]
fn the_floor_never_falls_within_a_session() {
    let mut cache = leased();
    cache.invalidate(9, &batch(1, 6, &["A"]), at(2));
    cache.invalidate(9, &batch(1, 4, &["A"]), at(3));
    assert!(!fill(&mut cache, "A", 5, 4));
}

#[test]
fn an_overtaken_fill_does_not_replace_a_newer_entry() {
    let mut cache = leased();
    let slow = ticket(&mut cache, "A", 2);
    assert!(fill(&mut cache, "A", 8, 3));
    assert!(!cache.fill(slow, &answer("A", 1, 7), true, at(4)));
}

#[test]
fn an_invalidation_drops_the_named_stocks_and_is_acked() {
    let mut cache = leased();
    assert!(fill(&mut cache, "A", 5, 2) && fill(&mut cache, "B", 5, 2));
    let ack = cache.invalidate(9, &batch(1, 6, &["A"]), at(3));
    assert_eq!(ack, InvalidationAck { frontend: 9, incarnation: 7, session: 1, batch: 3 });
    assert!(!is_hit(&mut cache, "A", 4) && is_hit(&mut cache, "B", 4));
}

#[test]
fn an_invalidation_without_names_drops_everything() {
    let mut cache = leased();
    assert!(fill(&mut cache, "A", 5, 2) && fill(&mut cache, "B", 5, 2));
    cache.invalidate(9, &batch(1, 6, &[]), at(3));
    assert!(cache.names().is_empty());
}

#[test]
fn an_invalidation_for_another_session_drops_nothing_and_its_ack_names_the_present_one() {
    let mut cache = leased();
    assert!(fill(&mut cache, "A", 5, 2));
    let ack = cache.invalidate(9, &batch(4, 6, &["A"]), at(3));
    assert_eq!(ack.session, 1);
    assert!(is_hit(&mut cache, "A", 4));
}

#[test]
fn an_operators_drop_refuses_fills_under_way() {
    let mut cache = leased();
    let ticket = ticket(&mut cache, "A", 2);
    assert!(!cache.drop_stock(&name("A"), at(3)));
    assert!(!cache.fill(ticket, &answer("A", 1, 5), true, at(4)));
    assert!(fill(&mut cache, "A", 5, 5));
    assert!(cache.drop_stock(&name("A"), at(6)));
}

#[test]
fn an_ended_session_leaves_no_lease() {
    let mut cache = leased();
    assert!(fill(&mut cache, "A", 5, 2));
    assert_eq!(cache.end_session(), 1);
    assert!(matches!(cache.lookup(&name("A"), at(3)), Lookup::Bypass(_)));
    assert_eq!(cache.lease_request(at(3)), 2);
}

#[derive(Debug, Clone)]
enum Op {
    Wait(u64),
    Subscribe { session_back: u64, asked_ago: u64, millis: u64 },
    Lookup(u8),
    Fill { ticket: usize, stock: u8, log_index: u64, cacheable: bool },
    Invalidate { session_back: u64, index: u64, stock: Option<u8> },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..60_u64).prop_map(Op::Wait),
        (0..2_u64, 0..50_u64, 0..150_u64).prop_map(|(session_back, asked_ago, millis)| Op::Subscribe {
            session_back,
            asked_ago,
            millis
        }),
        (0..3_u8).prop_map(Op::Lookup),
        (0..8_usize, 0..3_u8, 0..20_u64, any::<bool>()).prop_map(|(ticket, stock, log_index, cacheable)| Op::Fill {
            ticket,
            stock,
            log_index,
            cacheable
        }),
        (0..2_u64, 0..20_u64, proptest::option::of(0..3_u8)).prop_map(|(session_back, index, stock)| Op::Invalidate {
            session_back,
            index,
            stock
        }),
    ]
}

proptest! {
    /// Against a second bookkeeping of leases and floors: never a hit without a lease, never a kept fill below the
    /// floor of its session or of a fetch sent outside it, never a hit on a stock invalidated since its fill.
    #[test]
    fn never_a_hit_without_a_lease_and_never_a_kept_fill_below_the_floor(
        ops in proptest::collection::vec(op(), 1..200)
    ) {
        let stocks = ["A", "B", "C"];
        let mut cache = Cache::new(2);
        let (mut now, mut session, mut lease_end, mut floor) = (0_u64, 1_u64, 0_u64, 0_u64);
        let mut tickets: Vec<(Ticket, u64, bool)> = Vec::new();
        for op in ops {
            if let Op::Wait(millis) = op {
                now += millis;
            }
            if lease_end != 0 && now >= lease_end {
                (session, lease_end, floor) = (session + 1, 0, 0);
            }
            match op {
                Op::Wait(_) => prop_assert_eq!(cache.lease_request(at(now)), session),
                Op::Subscribe { session_back, asked_ago, millis } => {
                    let asked = now.saturating_sub(asked_ago);
                    let asked_for = session.saturating_sub(session_back);
                    cache.lease_answer(&reply(asked_for, millis), at(asked), at(now));
                    if asked_for == session && asked + millis > now {
                        lease_end = lease_end.max(asked + millis);
                    }
                }
                Op::Lookup(stock) => match cache.lookup(&name(stocks[usize::from(stock)]), at(now)) {
                    Lookup::Hit(hit) => {
                        prop_assert!(now < lease_end);
                        prop_assert_eq!(hit.stock.name.as_str(), stocks[usize::from(stock)]);
                    }
                    Lookup::Miss(ticket) => tickets.push((ticket, session, true)),
                    Lookup::Bypass(ticket) => {
                        prop_assert_eq!(lease_end, 0);
                        tickets.push((ticket, session, false));
                    }
                },
                Op::Fill { ticket, stock, log_index, cacheable } => {
                    let Some((ticket, sent_in, leased)) = tickets.get(ticket).copied() else { continue };
                    let stock = stocks[usize::from(stock)];
                    if cache.fill(ticket, &answer(stock, 1, log_index), cacheable, at(now)) {
                        prop_assert!(leased && sent_in == session && now < lease_end && cacheable);
                        prop_assert!(log_index >= floor);
                    }
                }
                Op::Invalidate { session_back, index, stock } => {
                    let names: Vec<&str> = stock.map(|stock| stocks[usize::from(stock)]).into_iter().collect();
                    let meant = session.saturating_sub(session_back);
                    let ack = cache.invalidate(9, &batch(meant, index, &names), at(now));
                    prop_assert_eq!(ack.session, session);
                    if meant == session {
                        floor = floor.max(index);
                        for stock in if names.is_empty() { stocks.to_vec() } else { names } {
                            prop_assert!(!cache.names().contains(&name(stock)));
                        }
                    }
                }
            }
        }
    }
}
