//! The ring.

use bazaar_domain::{Cents, IdempotencyKey, Order, Quantity, Side, StockName};

use super::ring::{Next, PIECE_ORDERS_MAX, RING_ORDERS_MAX, Ring, piece_of};

fn order(number: u64) -> Order {
    Order {
        number,
        key: IdempotencyKey::new(&format!("k{number}")).unwrap(),
        name: StockName::new("GameStart").unwrap(),
        side: Side::Buy,
        quantity: Quantity::new(3).unwrap(),
        price: Cents::new(1_599).unwrap(),
        stock_version: number + 1,
        log_index: number + 10,
    }
}

fn orders(numbers: std::ops::RangeInclusive<u64>) -> Vec<Order> {
    numbers.map(order).collect()
}

#[test]
fn an_event_is_the_order_under_its_number() {
    let piece = piece_of(6, &orders(7..=7));
    let wanted = "event: order\nid: 7\ndata: {\"number\":7,\"name\":\"GameStart\",\"type\":\"buy\",\"quantity\":3,\"price\":15.99,\"stock_version\":8,\"key\":\"k7\"}\n\n";
    assert_eq!((std::str::from_utf8(&piece.bytes).unwrap(), piece.last, piece.count), (wanted, 7, 1));
}

#[test]
fn the_ring_gives_what_follows_a_number() {
    let mut ring = Ring::behind(10);
    assert_eq!(
        [9, 10, 11, u64::MAX].map(|after| ring.after(after)),
        [Next::Behind, Next::Nothing, Next::Nothing, Next::Nothing]
    );
    ring.extend(&orders(11..=13));
    assert_eq!(ring.after(11), Next::Piece(piece_of(11, &orders(12..=13))));
    assert_eq!([9, 13, 14].map(|after| ring.after(after)), [Next::Behind, Next::Nothing, Next::Nothing]);
}

#[test]
fn the_ring_and_its_pieces_are_bounded() {
    let ring_max = u64::try_from(RING_ORDERS_MAX).unwrap();
    let piece_max = u64::try_from(PIECE_ORDERS_MAX).unwrap();
    let mut ring = Ring::behind(0);
    ring.extend(&orders(1..=ring_max + 5));
    assert_eq!(ring.after(4), Next::Behind);
    let Next::Piece(piece) = ring.after(5) else { panic!("there are newer orders") };
    assert_eq!((piece.last, piece.count), (5 + piece_max, piece_max));
}

#[test]
#[should_panic(expected = "follow each other")]
fn a_gap_never_enters_the_ring() {
    Ring::behind(0).extend(&orders(2..=2));
}
