//! Histories of many stocks as records: what a harness writes and the command reads.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    history::Operation,
    stock::{Answer, Input, Key, Shown, State},
};

/// What a record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// The stock as it was before all operations on it.
    Listed,
    /// A trade that takes from it.
    Buy,
    /// A trade that adds to it.
    Sell,
    /// A look at it.
    Lookup,
}

/// One operation on one stock, or how the stock was before all of them; in a file, one line of JSON.
///
/// All attempts of one client at one trade can be one record, from the first request to the final answer. They can
/// also be a record each, with the same key. Whoever got no answer must not go on under the same name of a client:
/// the operation may still be under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// What was asked.
    pub op: Op,
    /// Of which stock.
    pub stock: String,
    /// Who asked. Only people need it.
    #[serde(default)]
    pub client: String,
    /// When the first request was sent, in microseconds of a clock that all records share.
    #[serde(default)]
    pub call_us: u64,
    /// When the answer was there; nothing if none came, or one that leaves the outcome open.
    #[serde(default)]
    pub return_us: Option<u64>,
    /// How many were traded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u64>,
    /// The trade's idempotency key. A trade without one is never sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The answer; there is one if there is `return_us`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

impl Recorded {
    fn asked(op: Op, stock: &str, client: &str, call_us: u64) -> Self {
        let (stock, client) = (stock.into(), client.into());
        Self { op, stock, client, call_us, return_us: None, quantity: None, key: None, answer: None }
    }

    /// The stock as it was before all operations on it. Each stock needs one such record.
    pub fn listed(stock: &str, quantity: u64, version: u64) -> Self {
        Self::asked(Op::Listed, stock, "", 0).answered(0, Answer::Shown(Shown::both(quantity, version)))
    }

    /// A lookup, not answered yet.
    pub fn lookup(stock: &str, client: &str, call_us: u64) -> Self {
        Self::asked(Op::Lookup, stock, client, call_us)
    }

    /// A buy, not answered yet.
    pub fn buy(stock: &str, client: &str, call_us: u64, quantity: u64, key: &str) -> Self {
        Self { quantity: Some(quantity), key: Some(key.into()), ..Self::asked(Op::Buy, stock, client, call_us) }
    }

    /// A sell, not answered yet.
    pub fn sell(stock: &str, client: &str, call_us: u64, quantity: u64, key: &str) -> Self {
        Self { op: Op::Sell, ..Self::buy(stock, client, call_us, quantity, key) }
    }

    /// The same with its answer.
    #[must_use]
    pub fn answered(self, return_us: u64, answer: Answer) -> Self {
        Self { return_us: Some(return_us), answer: Some(answer), ..self }
    }

    fn operation(&self, key: Key) -> Result<Operation<Input, Answer>, Fault> {
        let input = match (self.op, self.quantity) {
            (Op::Lookup, _) => Input::Lookup,
            (Op::Buy, Some(quantity)) => Input::Buy(quantity, key),
            (Op::Sell, Some(quantity)) => Input::Sell(quantity, key),
            (Op::Buy | Op::Sell, None) => return Err(Fault::NoQuantity),
            (Op::Listed, _) => return Err(Fault::ListedTwice),
        };
        let answer = match (self.return_us, self.answer) {
            (Some(returned), Some(answer)) if returned >= self.call_us => Some((returned, answer)),
            (Some(_), Some(_)) => return Err(Fault::AnsweredBefore),
            (None, None) => None,
            _ => return Err(Fault::HalfAnAnswer),
        };
        if answer.is_some_and(|(_, answer)| matches!(answer, Answer::Shown(_)) != (input == Input::Lookup)) {
            return Err(Fault::ForeignAnswer);
        }
        Ok(Operation { input, called: self.call_us, answer })
    }
}

/// Why a record is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// It is not the JSON of one.
    #[error("{0}")]
    Form(String),
    /// The stock has two first states.
    #[error("the stock is listed already")]
    ListedTwice,
    /// The stock has none.
    #[error("no record lists the stock")]
    NotListed,
    /// A listing that leaves something open.
    #[error("a listing is answered with \"shown\", a quantity and a version")]
    HalfAListing,
    /// A trade of nobody knows how many.
    #[error("a trade has a quantity")]
    NoQuantity,
    /// Time ran backwards.
    #[error("it was answered before it was asked")]
    AnsweredBefore,
    /// An answer without its time, or the other way round.
    #[error("\"return_us\" and \"answer\" go together")]
    HalfAnAnswer,
    /// The answer of another kind of operation.
    #[error("a lookup is answered with \"shown\", a trade with \"accepted\" or \"rejected\"")]
    ForeignAnswer,
    /// What the service refuses.
    #[error("another trade has the same key")]
    KeyReused,
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("record {number}: {fault}")]
pub struct BadRecord {
    /// Which one, from 1; in a file, its line.
    pub number: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Reads records, one in each line.
///
/// # Errors
/// The first line that is none.
pub fn read(text: &str) -> Result<Vec<Recorded>, BadRecord> {
    let record = |(line, number): (&str, usize)| {
        serde_json::from_str(line).map_err(|error| BadRecord { number, fault: Fault::Form(error.to_string()) })
    };
    text.lines().zip(1..).map(record).collect()
}

/// What was seen of one stock.
#[derive(Debug, Clone)]
pub struct StockHistory<'a> {
    /// Its name.
    pub stock: &'a str,
    /// How it was before all operations.
    pub start: State,
    /// The operations as they were recorded.
    pub records: Vec<&'a Recorded>,
    /// The operations as they are checked, in the same order.
    pub operations: Vec<Operation<Input, Answer>>,
}

/// Takes records apart by stock: nothing that happens to one stock says anything about another, so a whole history is
/// linearizable if that of each stock is.
///
/// # Errors
/// The first record that cannot be used.
pub fn by_stock(records: &[Recorded]) -> Result<Vec<StockHistory<'_>>, BadRecord> {
    let keys = shared_keys(records)?;
    let mut stocks = listed(records)?;
    for (record, number) in records.iter().zip(1..).filter(|(record, _)| record.op != Op::Listed) {
        let bad = |fault| BadRecord { number, fault };
        let history = stocks.get_mut(record.stock.as_str()).ok_or_else(|| bad(Fault::NotListed))?;
        let key = record.key.as_deref().and_then(|key| keys.get(key).copied());
        history.operations.push(record.operation(key).map_err(bad)?);
        history.records.push(record);
    }
    Ok(stocks.into_values().collect())
}

fn listed(records: &[Recorded]) -> Result<BTreeMap<&str, StockHistory<'_>>, BadRecord> {
    let mut stocks = BTreeMap::new();
    for (record, number) in records.iter().zip(1..).filter(|(record, _)| record.op == Op::Listed) {
        let Some(Answer::Shown(Shown { quantity: Some(quantity), version: Some(version) })) = record.answer else {
            return Err(BadRecord { number, fault: Fault::HalfAListing });
        };
        let stock = record.stock.as_str();
        let start = State::new(quantity, version);
        let history = StockHistory { stock, start, records: Vec::new(), operations: Vec::new() };
        if stocks.insert(stock, history).is_some() {
            return Err(BadRecord { number, fault: Fault::ListedTwice });
        }
    }
    Ok(stocks)
}

/// The keys that more than one record has, numbered.
fn shared_keys(records: &[Recorded]) -> Result<HashMap<&str, u32>, BadRecord> {
    let mut first_uses: HashMap<&str, &Recorded> = HashMap::new();
    let mut shared = HashMap::new();
    for (record, number) in records.iter().zip(1..) {
        let Some(key) = record.key.as_deref() else { continue };
        let Some(first) = first_uses.insert(key, record) else { continue };
        if (first.op, &first.stock, first.quantity) != (record.op, &record.stock, record.quantity) {
            return Err(BadRecord { number, fault: Fault::KeyReused });
        }
        let next = u32::try_from(shared.len()).expect("fewer keys than that fit in memory");
        shared.entry(key).or_insert(next);
    }
    Ok(shared)
}
