//! What a stock does, in its own words and on purpose without those of the service: a checker that shared the rule with
//! what it checks would share its mistakes.
//!
//! A stock is a quantity and a version. A sell adds to the quantity. A buy takes from it, or is rejected if there are
//! not so many. (So is a sell past what can be counted.) What is accepted makes the next version; nothing else does. A
//! trade under a key that was decided before changes nothing and gets the first outcome again, rejections included.
//!
//! Not known here: a stock's maximum (a sell that it rejects is taken for a violation), changes of a listing, and one
//! key for two different trades.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::specification::Specification;

/// The specification of a stock.
#[derive(Debug, Clone, Copy)]
pub struct Stock;

/// What is asked of a stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// What it is.
    Lookup,
    /// To buy so many.
    Buy(u64, Key),
    /// To sell so many to it.
    Sell(u64, Key),
}

/// The key of a trade: nothing if no other operation has it, and so nobody can ask for its outcome again. Keeping only
/// the others makes the states small, and trades that differ by the key alone equal.
pub type Key = Option<u32>;

/// What an answer shows of a stock; what it leaves out could be anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shown {
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u64>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The trade happened; the stock as it was right after it.
    Accepted(Shown),
    /// There were not enough; the stock as it was then.
    Rejected(Shown),
    /// The answer of a lookup.
    Shown(Shown),
}

/// A stock between two operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// How many there are.
    pub quantity: u64,
    /// One more with each accepted trade.
    pub version: u64,
    /// The outcomes that somebody may ask for again. Shared, since most steps leave them as they are.
    decided: Arc<BTreeMap<u32, Outcome>>,
}

/// What became of a trade, and the stock right after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Outcome {
    accepted: bool,
    quantity: u64,
    version: u64,
}

impl Shown {
    /// All that can be shown.
    pub fn both(quantity: u64, version: u64) -> Self {
        Self { quantity: Some(quantity), version: Some(version) }
    }

    /// A version alone, as in the receipt of a trade.
    pub fn version(version: u64) -> Self {
        Self { quantity: None, version: Some(version) }
    }

    /// Whether a stock with this quantity and version can be shown so.
    fn fits(self, quantity: u64, version: u64) -> bool {
        self.quantity.is_none_or(|shown| shown == quantity) && self.version.is_none_or(|shown| shown == version)
    }
}

impl Answer {
    /// Whether a trade with this outcome can be answered so.
    fn fits(self, outcome: Outcome) -> bool {
        match self {
            Self::Accepted(shown) => outcome.accepted && shown.fits(outcome.quantity, outcome.version),
            Self::Rejected(shown) => !outcome.accepted && shown.fits(outcome.quantity, outcome.version),
            Self::Shown(_) => false,
        }
    }

    fn version(self) -> Option<u64> {
        let (Self::Accepted(shown) | Self::Rejected(shown) | Self::Shown(shown)) = self;
        shown.version
    }
}

impl State {
    /// A stock of which nothing was traded yet.
    pub fn new(quantity: u64, version: u64) -> Self {
        Self { quantity, version, decided: Arc::default() }
    }

    /// The outcome of a trade and the state after it. Without a quantity to come to, the trade is rejected.
    fn trade(&self, quantity: Option<u64>, key: Key) -> Option<(Outcome, Self)> {
        let mut after = self.clone();
        if let Some(first) = key.and_then(|key| self.decided.get(&key)) {
            return Some((*first, after));
        }
        if let Some(quantity) = quantity {
            (after.quantity, after.version) = (quantity, self.version.checked_add(1)?);
        }
        let outcome = Outcome { accepted: quantity.is_some(), quantity: after.quantity, version: after.version };
        if let Some(key) = key {
            Arc::make_mut(&mut after.decided).insert(key, outcome);
        }
        Some((outcome, after))
    }
}

impl Specification for Stock {
    type Input = Input;
    type Output = Answer;
    type State = State;

    fn step(state: &State, input: &Input, answer: Option<&Answer>) -> Option<State> {
        let (outcome, after) = match *input {
            Input::Buy(quantity, key) => state.trade(state.quantity.checked_sub(quantity), key)?,
            Input::Sell(quantity, key) => state.trade(state.quantity.checked_add(quantity), key)?,
            Input::Lookup => {
                let fits = match answer {
                    None => true,
                    Some(Answer::Shown(shown)) => shown.fits(state.quantity, state.version),
                    Some(_) => false,
                };
                return fits.then(|| state.clone());
            }
        };
        answer.is_none_or(|answer| answer.fits(outcome)).then_some(after)
    }

    fn progress(state: &State) -> u64 {
        state.version
    }

    fn accepted_at(input: &Input, answer: &Answer) -> RangeInclusive<u64> {
        let Some(version) = answer.version() else { return 0..=u64::MAX };
        match (input, answer) {
            // A key that was decided gives its outcome for ever.
            (Input::Buy(_, Some(_)) | Input::Sell(_, Some(_)), _) => version.saturating_sub(1)..=u64::MAX,
            (_, Answer::Accepted(_)) => version.saturating_sub(1)..=version.saturating_sub(1),
            _ => version..=version,
        }
    }

    fn is_idle(state: &State, input: &Input, answer: Option<&Answer>) -> bool {
        match input {
            Input::Lookup => true,
            Input::Buy(_, Some(key)) | Input::Sell(_, Some(key)) => state.decided.contains_key(key),
            Input::Buy(_, None) | Input::Sell(_, None) => matches!(answer, Some(Answer::Rejected(_))),
        }
    }
}
