//! What our own processes say to each other in the bodies of HTTP requests and answers.

use bazaar_domain::{
    Rejection, Stock,
    api::ServiceAddress,
    codec,
    internal::{
        InvalidationAck, InvalidationBatch, InventorySnapshot, ItemStatus, JoinReply, JoinRequest, LeaseGrant,
        LeaseRequest, OrderRead, OrderReadAnswer, PublishBatch, PublishReply, PublishedEntry, PublishedItem,
        SubmitListings, SubmitTrades, Submitted, SubscribeReply, SubscribeRequest, UnsubscribeRequest,
    },
    order::{Decision, Outcome},
};

use super::{equal_again, listing, order, outcome, samples, selected, stock, trade, with_selector};

/// Kinds of messages.
const KINDS: usize = 16;

/// The message that the first byte chooses is read back as it was written, if it is read at all.
pub(crate) fn inner_messages(bytes: &[u8]) -> bool {
    let Some((kind, body)) = selected(bytes, KINDS) else { return false };
    match kind {
        0 => equal_again::<SubmitTrades>(body).is_some(),
        1 => equal_again::<SubmitListings>(body).is_some(),
        2 => equal_again::<Submitted>(body).is_some(),
        3 => equal_again::<Vec<OrderRead>>(body).is_some(),
        4 => equal_again::<Vec<OrderReadAnswer>>(body).is_some(),
        5 => equal_again::<PublishBatch>(body).is_some(),
        6 => equal_again::<InventorySnapshot>(body).is_some(),
        7 => equal_again::<PublishReply>(body).is_some(),
        8 => equal_again::<LeaseRequest>(body).is_some(),
        9 => equal_again::<LeaseGrant>(body).is_some(),
        10 => equal_again::<JoinRequest>(body).is_some() | equal_again::<JoinReply>(body).is_some(),
        11 => equal_again::<SubscribeRequest>(body).is_some(),
        12 => equal_again::<SubscribeReply>(body).is_some(),
        13 => equal_again::<UnsubscribeRequest>(body).is_some(),
        14 => equal_again::<InvalidationBatch>(body).is_some(),
        _ => equal_again::<InvalidationAck>(body).is_some(),
    }
}

/// One message of each kind.
pub(crate) fn inner_message_seeds() -> Vec<Vec<u8>> {
    let cluster_id = || "bazaar-0123456789abcdef".to_owned();
    let address = || "127.0.0.1:8082".to_owned();
    let decisions = vec![
        Decision::Fresh(Outcome::Accepted { number: 1, stock_version: 2 }),
        Decision::Replayed(Outcome::Rejected(Rejection::StockNotFound)),
        Decision::KeyReused,
    ];
    let reads = vec![
        OrderRead::ByNumber(1),
        OrderRead::ByKey(order().key),
        OrderRead::After { after: 0, limit: 100 },
        OrderRead::Newest,
    ];
    let answers = vec![
        OrderReadAnswer::Order(Some(order())),
        OrderReadAnswer::Key(Some((outcome(), None))),
        OrderReadAnswer::Page { orders: vec![order()], more: true, log_index: 7 },
    ];
    let listed = samples::changes().map(listing).to_vec();
    let items = (1..4).map(|number| PublishedItem::Trade(trade(number)));
    let items = items.chain(listed.iter().cloned().map(PublishedItem::Listing)).collect();
    let entries = vec![PublishedEntry { index: 8, items }];
    let statuses = vec![(8, vec![ItemStatus::new(None, Some(&stock())), ItemStatus::new(None, None)])];
    let stocks: Vec<Stock> = vec![stock(); 2];
    let voters = vec![ServiceAddress { id: 1, service: address() }];
    let frontend = 0x0123_4567_89ab_cdef_u128;
    let names = vec![stock().name];
    let messages = [
        codec::encode(&SubmitTrades { trades: (1..4).map(trade).collect() }),
        codec::encode(&SubmitListings { listings: listed }),
        codec::encode(&Submitted { log_index: 7, decisions }),
        codec::encode(&reads),
        codec::encode(&answers),
        codec::encode(&PublishBatch { cluster_id: cluster_id(), previous: 7, through: 9, entries }),
        codec::encode(&InventorySnapshot { cluster_id: cluster_id(), index: 9, stocks, heals: false }),
        codec::encode(&PublishReply { incarnation: 5, applied: 9, exposed: 8, statuses }),
        codec::encode(&LeaseRequest { incarnation: 5 }),
        codec::encode(&LeaseGrant {
            cluster_id: cluster_id(),
            leader: 1,
            term: 3,
            duration_micros: 1_000_000,
            floor: 7,
            voters,
        }),
        codec::encode(&JoinRequest { cluster_id: cluster_id() }),
        codec::encode(&SubscribeRequest { frontend, session: 2, internal_address: address() }),
        codec::encode(&SubscribeReply { incarnation: 5, session: 2, duration_micros: 1_000_000 }),
        codec::encode(&UnsubscribeRequest { frontend, session: 2 }),
        codec::encode(&InvalidationBatch { incarnation: 5, session: 2, batch: 1, index: 9, names }),
        codec::encode(&InvalidationAck { frontend, incarnation: 5, session: 2, batch: 1 }),
    ];
    messages.iter().zip(0..).map(|(body, kind)| with_selector(kind, body)).collect()
}
