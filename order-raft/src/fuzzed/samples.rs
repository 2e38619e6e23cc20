//! Real values, from which the search begins.

use std::collections::BTreeMap;

use bazaar_domain::{
    Cents, Command, IdempotencyKey, Listing, ListingChange, Order, Outcome, Quantity, Rejection, Side, Stock,
    StockName, Trade, order::StoredOutcome,
};
use openraft::{EntryPayload, Membership};

use crate::raft_types::{Entry, LogCommand, LogId, Member, RaftId, TypeConfig};

pub(crate) fn name(text: &str) -> StockName {
    text.parse().expect("a name")
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    text.parse().expect("a key")
}

fn price() -> Cents {
    Cents::new(1_599).expect("a small price")
}

pub(crate) fn trade(number: u64) -> Trade {
    let side = if number.is_multiple_of(2) { Side::Buy } else { Side::Sell };
    let quantity = Quantity::new(3).expect("more than none");
    Trade { key: key(&format!("k-{number}")), name: name("GameStart"), side, quantity }
}

pub(crate) fn listing(change: ListingChange) -> Listing {
    Listing { key: key("listing"), name: name("GameStart"), change }
}

pub(crate) fn changes() -> [ListingChange; 4] {
    [
        ListingChange::List { price: price(), quantity: 100, max_quantity: None },
        ListingChange::List { price: price(), quantity: 100, max_quantity: Some(200) },
        ListingChange::Reprice { price: price() },
        ListingChange::Restock { quantity: 50 },
    ]
}

pub(crate) fn commands() -> Vec<Command> {
    let listings = changes().map(listing).to_vec();
    vec![Command::Trades(vec![trade(1)]), Command::Trades((1..4).map(trade).collect()), Command::Listings(listings)]
}

pub(crate) fn stock() -> Stock {
    let (name, price) = (name("GameStart"), price());
    Stock { name, price, quantity: 97, trade_volume: 3, version: 2, max_quantity: Some(200) }
}

pub(crate) fn order() -> Order {
    let Trade { key, name, side, quantity } = trade(1);
    Order { number: 1, key, name, side, quantity, price: price(), stock_version: 2, log_index: 7 }
}

pub(crate) fn outcome() -> StoredOutcome {
    let rejected = Outcome::Rejected(Rejection::InsufficientQuantity { available: 2 });
    StoredOutcome { fingerprint: trade(1).fingerprint(), log_index: 7, outcome: rejected }
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<TypeConfig>(term, RaftId::founding(1), index)
}

pub(crate) fn member() -> Member {
    Member { peers: "127.0.0.1:16016".into(), service: "127.0.0.1:16006".into(), admin: "127.0.0.1:16026".into() }
}

/// Three voters and a learner.
pub(crate) fn members() -> Membership<RaftId, Member> {
    let voters = [1, 2, 3].map(RaftId::founding);
    let learner = RaftId { replica: 2, life: 0xabcd };
    let members = voters.into_iter().chain([learner]).map(|id| (id, member()));
    Membership::new(vec![voters.into()], members.collect::<BTreeMap<_, _>>()).expect("every voter is a member")
}

/// An entry of each kind.
pub(crate) fn entries() -> Vec<Entry> {
    let of_raft = [EntryPayload::Membership(members()), EntryPayload::Blank];
    let of_clients = commands().into_iter().map(|command| EntryPayload::Normal(LogCommand::encode(&command)));
    let payloads = of_raft.into_iter().chain(of_clients);
    payloads.zip(0..).map(|(payload, index)| Entry { log_id: log_id(2, index), payload }).collect()
}

/// The input of a target whose first byte chooses what the others are.
pub(crate) fn with_selector(selector: usize, bytes: &[u8]) -> Vec<u8> {
    let selector = u8::try_from(selector).expect("there are few choices");
    [&[selector][..], bytes].concat()
}
