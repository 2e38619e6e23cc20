//! What replicas send to the catalog, and the records of its copy, as a function of any bytes. `scripts/fuzz` searches for
//! bytes that break it, and a test replays what that kept (docs/fuzzing.md). No binary that people use has this module.

use std::{collections::HashSet, fmt::Debug};

use bazaar_domain::{
    Cents, Listing, ListingChange, Moment, Quantity, Side, Stock, Trade, codec,
    config::LeaseConfig,
    internal::{InventorySnapshot, PublishBatch, PublishedEntry, PublishedItem},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    decide::entries_after,
    incoming::{TakenBatch, replaced_by},
    ledger::{Advance, Change, InventoryCopy, Ledger, Next},
    store::Position,
};

/// Records of the copy, then messages one after the other.
const KINDS: usize = 3;
/// Long after the silence of a start.
const NOW: Moment = Moment::from_millis(3_600_000);

/// A stored record, or what arrives from leaders, good or bad. Says whether anything was taken.
pub fn catalog_messages(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else { return false };
    match usize::from(*kind) % KINDS {
        0 => equal_again::<Position>(rest).is_some(),
        1 => equal_again::<Stock>(rest).is_some(),
        _ => messages(rest),
    }
}

/// Decodes a record. One that is taken must be the same value after it was encoded and decoded again.
fn equal_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = codec::decode(bytes).ok()?;
    assert_eq!(codec::decode::<T>(&codec::encode(&value)).expect("what was encoded can be decoded"), value);
    Some(value)
}

/// Messages behind a byte that says which kind, and their length in two bytes.
fn messages(mut bytes: &[u8]) -> bool {
    let mut ledger = Ledger::new(1, LeaseConfig::default(), InventoryCopy::default(), Moment::ZERO);
    let mut taken = false;
    while let Some((&[kind, high, low], rest)) = bytes.split_first_chunk::<3>()
        && let Some((record, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))
    {
        taken |= if kind.is_multiple_of(2) { batch(&mut ledger, record) } else { inventory(&mut ledger, record) };
        bytes = rest;
    }
    taken
}

/// A published batch goes the way that the catalog gives it.
fn batch(ledger: &mut Ledger, record: &[u8]) -> bool {
    let Some(batch) = equal_again::<PublishBatch>(record) else { return false };
    let before = ledger.applied();
    let Ok(Some(taken)) = TakenBatch::of(ledger, &batch) else { return false };
    let (change, statuses) = taken.decide();
    let statuses: Vec<(u64, usize)> = statuses.iter().map(|(index, items)| (*index, items.len())).collect();
    let fresh = entries_after(&batch.entries, before);
    let items: Vec<(u64, usize)> = fresh.iter().map(|entry| (entry.index, entry.items.len())).collect();
    assert_eq!(statuses, items, "every item gets a status");
    assert_eq!(change.through, batch.through.max(before), "the copy never goes back");
    let Next::Changed(changed) = change.next.clone() else { panic!("a batch replaces nothing") };
    expose(ledger, change);
    for stock in changed {
        assert_eq!(ledger.lookup(stock.name, NOW).value, Some(stock), "what was decided is shown");
    }
    true
}

/// A whole inventory replaces everything.
fn inventory(ledger: &mut Ledger, record: &[u8]) -> bool {
    let Some(inventory) = equal_again::<InventorySnapshot>(record) else { return false };
    if !ledger.takes_snapshot(&inventory).unwrap_or(false) {
        return false;
    }
    let names: HashSet<_> = inventory.stocks.iter().map(|stock| stock.name).collect();
    let index = inventory.index;
    expose(ledger, replaced_by(inventory));
    assert_eq!((ledger.applied(), ledger.listed()), (index, names.len()));
    true
}

/// No frontend has a lease, so that a change is exposed at once.
fn expose(ledger: &mut Ledger, change: Change) {
    let through = change.through;
    assert!(ledger.begin(change, NOW).is_empty());
    assert!(matches!(ledger.advance(NOW), Advance::Exposed(_)));
    assert_eq!((ledger.applied(), ledger.exposed()), (through, through));
}

/// Each kind of record, and a leader that sends an inventory and then trades.
pub fn catalog_message_seeds() -> Vec<Vec<u8>> {
    let cluster_id = || "bazaar-0123456789abcdef".to_owned();
    let (name, price) = ("GameStart".parse().expect("a name"), Cents::new(1_599).expect("a small price"));
    let stock = Stock { name, price, quantity: 97, trade_volume: 3, version: 2, max_quantity: Some(200) };
    let key = |text: &str| text.parse().expect("a key");
    let quantity = Quantity::new(3).expect("not 0");
    let trade = |text, side| PublishedItem::Trade(Trade { key: key(text), name, side, quantity });
    let listing = |text, change| PublishedItem::Listing(Listing { key: key(text), name, change });
    let items = vec![
        trade("k-1", Side::Buy),
        trade("k-2", Side::Sell),
        listing("l-1", ListingChange::Restock { quantity: 50 }),
        listing("l-2", ListingChange::Reprice { price }),
        listing("l-3", ListingChange::List { price, quantity: 5, max_quantity: None }),
    ];
    let entries = vec![PublishedEntry { index: 8, items }];
    let batch = codec::encode(&PublishBatch { cluster_id: cluster_id(), previous: 7, through: 9, entries });
    let stocks = vec![stock];
    let inventory = codec::encode(&InventorySnapshot { cluster_id: cluster_id(), index: 7, stocks, heals: false });
    let message = |kind: u8, record: &[u8]| {
        let length = u16::try_from(record.len()).expect("small");
        [&[kind][..], &length.to_be_bytes(), record].concat()
    };
    let sent = [message(1, &inventory), message(0, &batch), message(0, &batch)].concat();
    let position = Position { cluster_id: cluster_id(), applied: 7 };
    let seeds = [codec::encode(&position), codec::encode(&stock), sent];
    seeds.iter().zip(0..).map(|(seed, kind)| [&[kind][..], seed].concat()).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::{catalog_message_seeds, catalog_messages};

    #[test]
    fn every_seed_is_taken() {
        for (number, seed) in catalog_message_seeds().iter().enumerate() {
            assert!(catalog_messages(seed), "seed {number} is refused");
        }
    }

    #[test]
    fn every_input_that_was_kept_still_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/catalog_messages");
        let mut taken = 0;
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            // Printed only if the check panics.
            println!("{}", path.display());
            taken += usize::from(catalog_messages(&fs::read(path).unwrap()));
        }
        assert!(taken > 0, "there is no corpus, or nothing in it is taken");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_in_good_order(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            catalog_messages(&bytes);
        }
    }
}
