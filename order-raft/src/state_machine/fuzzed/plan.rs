//! What happens in a run, made of the input's bytes: few keys and stocks, so that they come again, and quantities at
//! every bound.

use arbitrary::{Result, Unstructured};
use bazaar_domain::{
    Cents, Command, IdempotencyKey, Listing, ListingChange, Quantity, Side, StockName, Trade,
    limits::{PRICE_CENTS_MAX, STOCK_QUANTITY_MAX, TRADE_QUANTITY_MAX},
};
use openraft::EntryPayload;

use crate::{
    fuzzed::{log_id, members},
    raft_types::{Entry, LogCommand},
};

/// Steps of a run.
const STEPS_MAX: usize = 64;
/// Items of a command that the input spells out.
const ITEMS_MAX: usize = 6;
/// Trades of a command that it only asks for: some of these pass the number at which a digest is kept.
const MANY: usize = 400;
/// Commands of that kind in a run that may have them.
const MANY_MAX: usize = 3;
/// A run that begins with this byte may have them. They take as long as twenty others.
const LONG: u8 = 255;
/// Keys that commands share.
const KEYS: usize = 24;
const NAMES: [&str; 4] = ["A", "B", "A.B_C-1234567890123456789012345", "NONE"];

/// The content of an entry.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    Blank,
    Members,
    Command(Command),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    Leader,
    Follower,
}

#[derive(Debug)]
pub(super) enum Step {
    Entry(Payload),
    /// The follower applies so many entries together.
    Follow(usize),
    /// The leader builds a snapshot.
    Build,
    /// The follower gets it, if it is ahead of it.
    Install,
    Restart(Who),
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
}

impl Plan {
    pub(super) fn read(u: &mut Unstructured<'_>) -> Result<Self> {
        let (mut steps, mut many) = (Vec::new(), 0);
        let many_max = if u.arbitrary::<u8>()? == LONG { MANY_MAX } else { 0 };
        while !u.is_empty() && steps.len() < STEPS_MAX {
            let step = match u.int_in_range(0..=15)? {
                0 => Step::Build,
                1 => Step::Install,
                2 => Step::Restart(Who::Leader),
                3 => Step::Restart(Who::Follower),
                4 | 5 => Step::Follow(u.int_in_range(1..=8)?),
                6 => Step::Entry(Payload::Blank),
                7 => Step::Entry(Payload::Members),
                8 if many < many_max => {
                    many += 1;
                    Step::Entry(Payload::Command(many_trades(many, stock(u)?)))
                }
                8..=10 => Step::Entry(Payload::Command(Command::Listings(several(u, listing)?))),
                _ => Step::Entry(Payload::Command(Command::Trades(several(u, trade)?))),
            };
            steps.push(step);
        }
        Ok(Self { steps })
    }
}

/// The entry at a place of the log. Terms change now and then.
pub(super) fn entry(index: usize, payload: Payload) -> Entry {
    let index = index as u64;
    let payload = match payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Members => EntryPayload::Membership(members()),
        Payload::Command(command) => EntryPayload::Normal(LogCommand::encode(&command)),
    };
    Entry { log_id: log_id(1 + index / 16, index), payload }
}

/// All keys that a run may use more than once.
pub(super) fn keys() -> impl Iterator<Item = IdempotencyKey> {
    (0..KEYS).map(numbered)
}

fn numbered(number: usize) -> IdempotencyKey {
    // The last one is as long as a key may be.
    let text = if number + 1 == KEYS { "k".repeat(255) } else { format!("k{number}") };
    text.parse().expect("a key")
}

fn key(u: &mut Unstructured<'_>) -> Result<IdempotencyKey> {
    Ok(numbered(u.int_in_range(0..=KEYS - 1)?))
}

fn stock(u: &mut Unstructured<'_>) -> Result<StockName> {
    Ok(u.choose(&NAMES)?.parse().expect("a name"))
}

fn several<T>(u: &mut Unstructured<'_>, mut one: impl FnMut(&mut Unstructured<'_>) -> Result<T>) -> Result<Vec<T>> {
    let items = u.int_in_range(0..=ITEMS_MAX)?;
    (0..items).map(|_| one(u)).collect()
}

/// A number that is small, or near a bound.
fn number(u: &mut Unstructured<'_>, bounds: &[u64]) -> Result<u64> {
    Ok(match u.int_in_range(0..=3)? {
        0 => u.choose(bounds)?.saturating_sub(u.int_in_range(0..=2)?),
        1 => u.choose(bounds)?.saturating_add(u.int_in_range(0..=2)?),
        2 => u.arbitrary()?,
        _ => u.int_in_range(0..=200)?,
    })
}

fn trade(u: &mut Unstructured<'_>) -> Result<Trade> {
    let quantity = number(u, &[1, TRADE_QUANTITY_MAX])?.clamp(1, TRADE_QUANTITY_MAX);
    let quantity = Quantity::new(quantity).expect("clamped");
    let side = if u.arbitrary()? { Side::Buy } else { Side::Sell };
    Ok(Trade { key: key(u)?, name: stock(u)?, side, quantity })
}

fn listing(u: &mut Unstructured<'_>) -> Result<Listing> {
    let bounds = [0, TRADE_QUANTITY_MAX, STOCK_QUANTITY_MAX, u64::MAX];
    let price = |u: &mut Unstructured<'_>| -> Result<Cents> {
        Ok(Cents::new(number(u, &[0, PRICE_CENTS_MAX])?.min(PRICE_CENTS_MAX)).expect("not above the highest price"))
    };
    let change = match u.int_in_range(0..=2)? {
        0 => {
            let max_quantity = if u.arbitrary()? { Some(number(u, &bounds)?) } else { None };
            ListingChange::List { price: price(u)?, quantity: number(u, &bounds)?, max_quantity }
        }
        1 => ListingChange::Reprice { price: price(u)? },
        _ => ListingChange::Restock { quantity: number(u, &bounds)? },
    };
    Ok(Listing { key: key(u)?, name: stock(u)?, change })
}

/// Sells and buys in turn, each under a key of its own.
fn many_trades(round: usize, name: StockName) -> Command {
    let trade = |number: usize| Trade {
        key: format!("many-{round}-{number}").parse().expect("a key"),
        name,
        side: if number.is_multiple_of(2) { Side::Sell } else { Side::Buy },
        quantity: Quantity::new(1).expect("not 0"),
    };
    Command::Trades((0..MANY).map(trade).collect())
}

/// Bytes that list a stock, trade with it, and let the follower keep up in each way; the last ones have every byte then.
pub(crate) fn command_seeds() -> Vec<Vec<u8>> {
    let list = [9, 1, 0, 0, 3, 100, 3, 200, 0, 0];
    let buy = [12, 1, 3, 5, 1, 1, 0];
    let sell = [12, 1, 3, 5, 0, 2, 0];
    let runs: [&[&[u8]]; 5] = [
        &[&[0], &list, &buy, &sell, &buy],
        &[&[0], &list, &buy, &[0, 1], &sell, &[2, 3]],
        &[&[0], &[7, 6], &list, &[4, 2], &buy, &[3, 5, 1]],
        &[&[LONG], &list, &[8, 0], &[8, 0], &[0, 1], &[8, 0], &[2, 3]],
        &[&[0], &list, &buy, &buy, &[0], &sell, &[4, 1, 1], &[3]],
    ];
    let every_byte = [&[0][..], &list, &buy, &(0..=255).collect::<Vec<_>>()].concat();
    runs.iter().map(|steps| steps.concat()).chain([every_byte]).collect()
}
