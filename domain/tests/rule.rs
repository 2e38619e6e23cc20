//! The trade rule and the small types it is made of.

use bazaar_domain::{
    Cents, IdempotencyKey, Listing, ListingChange, Quantity, Rejection, Side, Stock, StockName, Trade,
    inventory::{decide, decide_listing},
    limits::{STOCK_QUANTITY_MAX, TRADE_QUANTITY_MAX},
};
use proptest::prelude::*;

fn stock(quantity: u64, max_quantity: Option<u64>) -> Stock {
    let (name, price) = (StockName::new("S").unwrap(), Cents::new(1_599).unwrap());
    Stock { name, price, quantity, trade_volume: 0, version: 1, max_quantity }
}

fn trade(side: Side, quantity: u64) -> Trade {
    let quantity = Quantity::new(quantity).unwrap();
    Trade { key: IdempotencyKey::new("k").unwrap(), name: StockName::new("S").unwrap(), side, quantity }
}

fn listing(change: ListingChange) -> Listing {
    Listing { key: IdempotencyKey::new("l").unwrap(), name: StockName::new("S").unwrap(), change }
}

#[test]
fn a_buy_of_all_there_is_leaves_nothing_and_one_more_is_refused() {
    let before = stock(5, None);
    let after = decide(Some(&before), &trade(Side::Buy, 5)).unwrap();
    assert_eq!((after.quantity, after.trade_volume, after.version), (0, 5, 2));
    let refused = decide(Some(&after), &trade(Side::Buy, 1));
    assert_eq!(refused, Err(Rejection::InsufficientQuantity { available: 0 }));
}

#[test]
fn a_stock_that_is_not_listed_cannot_be_traded() {
    assert_eq!(decide(None, &trade(Side::Sell, 1)), Err(Rejection::StockNotFound));
}

#[test]
fn a_sell_past_the_maximum_is_refused() {
    let before = stock(5, Some(6));
    assert_eq!(decide(Some(&before), &trade(Side::Sell, 1)).unwrap().quantity, 6);
    assert_eq!(decide(Some(&before), &trade(Side::Sell, 2)), Err(Rejection::QuantityLimit { max: 6 }));
}

#[test]
fn neither_quantity_nor_volume_can_overflow() {
    let full = stock(STOCK_QUANTITY_MAX, None);
    let limit = Err(Rejection::QuantityLimit { max: STOCK_QUANTITY_MAX });
    assert_eq!(decide(Some(&full), &trade(Side::Sell, 1)), limit);
    let much_traded = Stock { trade_volume: STOCK_QUANTITY_MAX, ..stock(10, None) };
    assert_eq!(decide(Some(&much_traded), &trade(Side::Buy, 1)), limit);
    let restock = listing(ListingChange::Restock { quantity: u64::MAX });
    assert_eq!(decide_listing(Some(&full), 1, &restock), limit);
}

#[test]
fn a_listing_change_grows_the_version_by_one_and_a_second_listing_is_refused() {
    let list = listing(ListingChange::List { price: Cents::new(1).unwrap(), quantity: 3, max_quantity: None });
    let listed = decide_listing(None, 0, &list).unwrap();
    assert_eq!((listed.quantity, listed.version), (3, 1));
    assert_eq!(decide_listing(Some(&listed), 1, &list), Err(Rejection::AlreadyListed));
    let reprice = listing(ListingChange::Reprice { price: Cents::new(2).unwrap() });
    let repriced = decide_listing(Some(&listed), 1, &reprice).unwrap();
    assert_eq!((repriced.price.get(), repriced.quantity, repriced.version), (2, 3, 2));
    let restocked = decide_listing(Some(&repriced), 1, &listing(ListingChange::Restock { quantity: 4 })).unwrap();
    assert_eq!((restocked.quantity, restocked.version), (7, 3));
    assert_eq!(decide_listing(None, 0, &reprice), Err(Rejection::StockNotFound));
}

proptest! {
    /// Invariant: `listed + sold_to_us - bought_from_us == quantity >= 0`, the volume counts both sides, and the version
    /// counts the accepted trades.
    #[test]
    fn quantity_is_conserved_over_any_trades(
        listed in 0..10_000_u64,
        max in prop::option::of(10_000..20_000_u64),
        trades in prop::collection::vec((any::<bool>(), 1..3_000_u64), 0..80),
    ) {
        let mut now = stock(listed, max);
        let (mut sold, mut bought, mut accepted) = (0, 0, 0);
        for (buy, quantity) in trades {
            let side = if buy { Side::Buy } else { Side::Sell };
            if let Ok(next) = decide(Some(&now), &trade(side, quantity)) {
                *(if buy { &mut bought } else { &mut sold }) += quantity;
                accepted += 1;
                now = next;
            }
        }
        prop_assert_eq!(listed + sold - bought, now.quantity);
        prop_assert!(now.quantity <= max.unwrap_or(u64::MAX));
        prop_assert_eq!(now.trade_volume, sold + bought);
        prop_assert_eq!(now.version, 1 + accepted);
    }

    #[test]
    fn a_name_is_taken_exactly_if_it_matches_the_pattern(text in ".{0,40}") {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let wanted = (1..=32).contains(&text.len()) && text.chars().all(allowed);
        let name = StockName::new(&text);
        prop_assert_eq!(name.is_ok(), wanted);
        if let Ok(name) = name {
            prop_assert_eq!(name.as_str(), text);
        }
    }

    #[test]
    fn a_price_keeps_its_two_decimals_through_json(cents in 0..=100_000_000_000_u64) {
        let price = Cents::new(cents).unwrap();
        let text = serde_json::to_string(&price).unwrap();
        prop_assert_eq!(&text, &format!("{}.{:02}", cents / 100, cents % 100));
        prop_assert_eq!(serde_json::from_str::<Cents>(&text).unwrap(), price);
    }
}

#[test]
fn quantities_are_whole_numbers_in_range() {
    for text in ["0", "-1", "1.5", "\"5\"", "1e3", "null", "9223372036854775808", "18446744073709551616", "1000000001"]
    {
        assert!(serde_json::from_str::<Quantity>(text).is_err(), "{text}");
    }
    assert_eq!(serde_json::from_str::<Quantity>("1000000000").unwrap().get(), TRADE_QUANTITY_MAX);
}

#[test]
fn prices_with_more_than_two_decimals_or_below_zero_are_refused() {
    for text in ["1.005", "-1", "1e300", "\"1\""] {
        assert!(serde_json::from_str::<Cents>(text).is_err(), "{text}");
    }
}

#[test]
fn keys_are_printable_ascii_of_bounded_length() {
    assert!(IdempotencyKey::new(&"k".repeat(255)).is_ok());
    for text in [String::new(), "k".repeat(256), "a\nb".into(), "ü".into(), "\u{7f}".into()] {
        assert!(IdempotencyKey::new(&text).is_err(), "{text:?}");
    }
}

#[test]
fn two_trades_have_one_fingerprint_only_if_they_are_the_same() {
    let one = trade(Side::Buy, 5);
    let other_key = Trade { key: IdempotencyKey::new("other").unwrap(), ..one.clone() };
    assert_eq!(one.fingerprint(), other_key.fingerprint(), "the key is what is compared under, not what is compared");
    assert_ne!(one.fingerprint(), trade(Side::Sell, 5).fingerprint());
    assert_ne!(one.fingerprint(), trade(Side::Buy, 6).fingerprint());
    let other_stock = Trade { name: StockName::new("T").unwrap(), ..one.clone() };
    assert_ne!(one.fingerprint(), other_stock.fingerprint());
}
