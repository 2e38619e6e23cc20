//! Whatever way the items take into the ledger, they end as the plain trade rule says.

use bazaar_domain::{
    Listing, ListingChange,
    inventory::{decide, decide_listing},
};
use proptest::prelude::*;

use super::*;

/// Few names and small numbers, so that rejections of every kind happen.
fn any_item() -> impl Strategy<Value = PublishedItem> {
    let text = prop::sample::select(vec!["A", "B", "C", "D"]);
    let change = prop_oneof![
        (0_u64..500, 0_u64..50).prop_map(|(price, quantity)| {
            let price = Cents::new(price).unwrap();
            ListingChange::List { price, quantity, max_quantity: Some(60) }
        }),
        (0_u64..500).prop_map(|price| ListingChange::Reprice { price: Cents::new(price).unwrap() }),
        (1_u64..30).prop_map(|quantity| ListingChange::Restock { quantity }),
    ];
    let key = IdempotencyKey::new("k").unwrap();
    let listing_key = key.clone();
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    prop_oneof![
        4 => (text.clone(), side, 1_u64..40).prop_map(move |(text, side, quantity)| {
            let quantity = Quantity::new(quantity).unwrap();
            PublishedItem::Trade(Trade { key: key.clone(), name: name(text), side, quantity })
        }),
        1 => (text, change).prop_map(move |(text, change)| {
            PublishedItem::Listing(Listing { key: listing_key.clone(), name: name(text), change })
        }),
    ]
}

/// Each item in an entry of its own, decided against the inventory by the plain rule.
fn decided_directly(items: &[PublishedItem]) -> (HashMap<StockName, Stock>, Vec<ItemStatus>) {
    let mut stocks: HashMap<StockName, Stock> = HashMap::new();
    let statuses = items.iter().map(|item| {
        let (name, result) = match item {
            PublishedItem::Trade(trade) => (trade.name, decide(stocks.get(&trade.name), trade)),
            PublishedItem::Listing(listing) => {
                let before = stocks.get(&listing.name);
                (listing.name, decide_listing(before, stocks.len(), listing))
            }
        };
        if let Ok(next) = result {
            stocks.insert(name, next);
        }
        ItemStatus::new(result.err(), stocks.get(&name))
    });
    let statuses = statuses.collect();
    (stocks, statuses)
}

proptest! {
    #[test]
    fn published_in_any_batches_and_repeats_items_end_as_if_decided_directly(
        items in prop::collection::vec(any_item(), 1..120),
        cuts in prop::collection::vec((0_usize..40, 0_usize..15), 1..40),
    ) {
        let mut ledger = Ledger::new(LIFE, LeaseConfig::default(), InventoryCopy::default(), Moment::ZERO);
        let entries: Vec<_> = items.iter().enumerate().map(|(at, item)| (at as u64 + 1, vec![item.clone()])).collect();
        let mut statuses = Vec::new();
        let mut sent = 0;
        let rest = (items.len(), 0);
        for (step, repeated) in cuts.into_iter().chain([rest]) {
            let from = sent.min(entries.len()).saturating_sub(repeated);
            let to = (sent + step).min(entries.len());
            let published = batch(from as u64, to as u64, entries[from..to.max(from)].to_vec());
            statuses.extend(take(&mut ledger, &published, at(AWAKE_MS)).expect("there is no gap"));
            sent = to;
        }
        let (stocks, expected) = decided_directly(&items);
        prop_assert_eq!(statuses.into_iter().flat_map(|(_, statuses)| statuses).collect::<Vec<_>>(), expected);
        let exposed: HashMap<_, _> = ledger.list(at(AWAKE_MS)).value.into_iter().map(|s| (s.name, s)).collect();
        prop_assert_eq!(exposed, stocks);
        prop_assert_eq!(ledger.exposed(), items.len() as u64);
    }
}
