//! What is hashed, byte by byte: fingerprints and digests are stored and compared between replicas of different builds.

use bazaar_domain::{
    Cents, IdempotencyKey, Listing, Order, Quantity, Side, StockName, Trade, codec, command::ListingChange,
    digest::Digest,
};

fn first_eight(message: &[u8]) -> u64 {
    u64::from_be_bytes(blake3::hash(message).as_bytes()[..8].try_into().unwrap())
}

fn part(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes(), bytes].concat()
}

#[test]
fn a_fingerprint_is_of_the_kind_and_each_part_behind_its_length() {
    let name = StockName::new("GameStart").unwrap();
    let key = IdempotencyKey::new("k").unwrap();
    let trade = Trade { key: key.clone(), name, side: Side::Buy, quantity: Quantity::new(7).unwrap() };
    let parts = [vec![0], part(b"GameStart"), part(b"buy"), part(&7_u64.to_be_bytes())].concat();
    assert_eq!(trade.fingerprint(), first_eight(&parts));

    let name = StockName::new(&"N".repeat(32)).unwrap();
    let largest = ListingChange::List {
        price: Cents::new(bazaar_domain::limits::PRICE_CENTS_MAX).unwrap(),
        quantity: u64::MAX,
        max_quantity: Some(u64::MAX),
    };
    let change = postcard::to_stdvec(&largest).unwrap();
    let listing = Listing { key, name, change: largest };
    let parts = [vec![1], part("N".repeat(32).as_bytes()), part(&change)].concat();
    assert_eq!(listing.fingerprint(), first_eight(&parts));
}

#[test]
fn a_digest_is_of_the_one_before_and_the_record_whatever_its_length() {
    for key_bytes in [1, 190, 191, 192, 193, 194, 195, 196, 197, 198, 199, 200, 201, 202, 255] {
        let order = Order {
            number: 1,
            key: IdempotencyKey::new(&"k".repeat(key_bytes)).unwrap(),
            name: StockName::new("GameStart").unwrap(),
            side: Side::Sell,
            quantity: Quantity::new(1).unwrap(),
            price: Cents::new(1_599).unwrap(),
            stock_version: 2,
            log_index: 3,
        };
        let first = Digest::default().extended(&order);
        let text = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
        let expected = text(&[&[0; 32], &codec::encode(&order)[..]].concat());
        assert_eq!(first.to_string(), expected, "a key of {key_bytes}");
    }
}
