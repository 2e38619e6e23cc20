//! What is true: the entries as they were applied first, and what clients have been shown. Every later word is compared.

use std::collections::{BTreeMap, BTreeSet};

use bazaar_domain::{
    ErrorKind, IdempotencyKey, Order, Outcome, Side, Stock, StockName, Trade, TradeFate,
    internal::{OrderRead, OrderReadAnswer},
    order::{Decision, StoredOutcome},
};

use crate::{
    message::Reply,
    plan::{Action, Op},
    raft::Position,
    state::AppliedNote,
};

/// A promise that was broken, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// What a client had been shown when it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Before {
    version: u64,
    orders: u64,
    key_is_known: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Truth {
    notes: BTreeMap<u64, AppliedNote>,
    /// Each stock at each version that a client may see: those at the end of an entry.
    stocks: BTreeMap<(StockName, u64), Stock>,
    outcomes: BTreeMap<IdempotencyKey, StoredOutcome>,
    /// Which key each order has.
    orders: BTreeMap<u64, IdempotencyKey>,
    /// What the trades so far make of the quantities.
    quantities: BTreeMap<StockName, u64>,
    /// All trades that clients send, under their keys.
    trades: BTreeMap<IdempotencyKey, Vec<Trade>>,
    shown: BTreeMap<StockName, u64>,
    orders_shown: u64,
    known_keys: BTreeSet<IdempotencyKey>,
}

type Verdict = Result<(), Violation>;

fn violated(text: String) -> Verdict {
    Err(Violation(text))
}

impl Truth {
    /// The truth at the start: these stocks, and what clients are going to send.
    pub fn new<'a>(stocks: AppliedNote, ops: impl Iterator<Item = &'a Op>) -> Self {
        let mut truth = Self::default();
        for stock in &stocks.stocks {
            truth.stocks.insert((stock.name, stock.version), *stock);
            truth.quantities.insert(stock.name, stock.quantity);
            truth.shown.insert(stock.name, stock.version);
        }
        truth.notes.insert(stocks.position.index, stocks);
        ops.for_each(|op| truth.expect(op));
        truth
    }

    /// A client is going to do this.
    pub fn expect(&mut self, op: &Op) {
        if let Action::Trade(trade) = &op.action {
            self.trades.entry(trade.key.clone()).or_default().push(trade.clone());
        }
    }

    /// A replica has applied an entry: the first one that does says what it means.
    ///
    /// # Errors
    /// If another one said otherwise, or a rule is broken.
    pub fn applied(&mut self, note: AppliedNote) -> Verdict {
        if let Some(known) = self.notes.get(&note.position.index) {
            return if *known == note {
                Ok(())
            } else {
                violated(format!(
                    "two replicas applied different entries at {}: {known:?} and {note:?}",
                    note.position.index
                ))
            };
        }
        let before = self.notes.values().next_back().map_or(0, |last| last.orders);
        let mut numbers = Vec::new();
        for (key, stored) in &note.outcomes {
            if let Some(known) = self.outcomes.insert(key.clone(), *stored) {
                return violated(format!("key {} got a second outcome: {known:?}, then {stored:?}", key.as_str()));
            }
            if let Outcome::Accepted { number, .. } = stored.outcome {
                numbers.push(number);
                self.orders.insert(number, key.clone());
                self.count(key, stored);
            }
        }
        numbers.sort_unstable();
        if !numbers.iter().copied().eq(before + 1..=note.orders) {
            return violated(format!("orders {numbers:?} follow order {before}, and there are {}", note.orders));
        }
        for stock in &note.stocks {
            if self.quantities.get(&stock.name) != Some(&stock.quantity) {
                return violated(format!(
                    "{stock:?} is not what its trades make of it: {:?}",
                    self.quantities.get(&stock.name)
                ));
            }
            self.stocks.insert((stock.name, stock.version), *stock);
        }
        self.notes.insert(note.position.index, note);
        Ok(())
    }

    fn count(&mut self, key: &IdempotencyKey, stored: &StoredOutcome) {
        let sent = self.trades.get(key).into_iter().flatten();
        let Some(trade) = sent.into_iter().find(|trade| trade.fingerprint() == stored.fingerprint) else { return };
        let quantity = self.quantities.entry(trade.name).or_default();
        *quantity = match trade.side {
            Side::Buy => quantity.wrapping_sub(trade.quantity.get()),
            Side::Sell => quantity.wrapping_add(trade.quantity.get()),
        };
    }

    /// What was shown before an operation begins.
    pub fn before(&self, action: &Action) -> Before {
        match action {
            Action::Lookup { stock } => Before { version: self.shown[stock], ..Before::default() },
            Action::Trade(_) => Before::default(),
            Action::Read(OrderRead::ByKey(key)) => {
                Before { key_is_known: self.known_keys.contains(key), ..Before::default() }
            }
            Action::Read(_) => Before { orders: self.orders_shown, ..Before::default() },
        }
    }

    /// A client was answered. Returns the position of the entry that the answer shows, which must be durable.
    ///
    /// # Errors
    /// If the answer breaks a promise.
    pub fn answered(&mut self, action: &Action, before: Before, reply: &Reply) -> Result<Option<Position>, Violation> {
        match (action, reply) {
            (_, Reply::Failed(_)) => Ok(None),
            (Action::Lookup { stock }, Reply::Stock(view)) => {
                let Some(view) = view else { return Err(Violation(format!("{stock} is said not to be listed"))) };
                if view.version < before.version {
                    return Err(Violation(format!(
                        "a lookup of {stock} showed version {}, after version {} had been shown",
                        view.version, before.version
                    )));
                }
                let is_true =
                    self.stocks.get(&(*stock, view.version)).is_some_and(|true_one| true_one.quantity == view.quantity);
                if !is_true {
                    return Err(Violation(format!("{stock} never was {view:?}")));
                }
                self.show_version(*stock, view.version);
                Ok(None)
            }
            (Action::Trade(trade), Reply::Decided(decision)) => self.decided(trade, *decision),
            (Action::Read(read), Reply::Read(answer)) => self.read(read, before, answer).map(|()| None),
            (action, reply) => unreachable!("{reply:?} is no answer to {action}"),
        }
    }

    fn decided(&mut self, trade: &Trade, decision: Decision) -> Result<Option<Position>, Violation> {
        let Some(stored) = self.outcomes.get(&trade.key).copied() else {
            return Err(Violation(format!("{decision:?} under {}, which no replica has applied", trade.key.as_str())));
        };
        let is_same = stored.fingerprint == trade.fingerprint();
        let is_true = match decision {
            Decision::Fresh(outcome) | Decision::Replayed(outcome) => is_same && outcome == stored.outcome,
            Decision::KeyReused => !is_same,
        };
        if !is_true {
            return Err(Violation(format!("{decision:?} under {}, which has {stored:?}", trade.key.as_str())));
        }
        self.known_keys.insert(trade.key.clone());
        if let (true, Outcome::Accepted { number, stock_version }) = (is_same, stored.outcome) {
            self.show_version(trade.name, stock_version);
            self.orders_shown = self.orders_shown.max(number);
        }
        Ok(self.notes.get(&stored.log_index).map(|note| note.position))
    }

    fn read(&mut self, read: &OrderRead, before: Before, answer: &OrderReadAnswer) -> Verdict {
        match (read, answer) {
            (OrderRead::ByNumber(number), OrderReadAnswer::Order(None)) if *number <= before.orders => {
                violated(format!("order {number} is said not to exist, after order {} was shown", before.orders))
            }
            (OrderRead::ByNumber(number), OrderReadAnswer::Order(Some(order))) if order.number != *number => {
                violated(format!("order {number} is shown as {order:?}"))
            }
            (OrderRead::Newest, OrderReadAnswer::Order(newest)) => {
                let number = newest.as_ref().map_or(0, |order| order.number);
                if number < before.orders {
                    return violated(format!("the newest order is said to be {number}, after {} was", before.orders));
                }
                newest.iter().try_for_each(|order| self.show_order(order))
            }
            (OrderRead::ByNumber(_), OrderReadAnswer::Order(order)) => {
                order.iter().try_for_each(|order| self.show_order(order))
            }
            (OrderRead::ByKey(key), OrderReadAnswer::Key(None)) if before.key_is_known => {
                violated(format!("key {} is said not to be known, after it was decided", key.as_str()))
            }
            (OrderRead::ByKey(_), OrderReadAnswer::Key(None)) => Ok(()),
            (OrderRead::ByKey(key), OrderReadAnswer::Key(Some((stored, order)))) => {
                if self.outcomes.get(key) != Some(stored) {
                    return violated(format!("key {} is shown with {stored:?}", key.as_str()));
                }
                self.known_keys.insert(key.clone());
                order.iter().try_for_each(|order| self.show_order(order))
            }
            (OrderRead::After { after, .. }, OrderReadAnswer::Page { orders, more, .. }) => {
                let through = after + orders.len() as u64;
                if !orders.iter().map(|order| order.number).eq(after + 1..=through) {
                    return violated(format!("what follows order {after} is said to be {orders:?}"));
                }
                if !more && through < before.orders {
                    return violated(format!(
                        "order {through} is said to be the last, after {} was shown",
                        before.orders
                    ));
                }
                orders.iter().try_for_each(|order| self.show_order(order))
            }
            (read, answer) => unreachable!("{answer:?} is no answer to {read:?}"),
        }
    }

    /// An order is shown: it must be what apply made, and nothing older may be shown after it.
    fn show_order(&mut self, order: &Order) -> Verdict {
        if self.orders.get(&order.number) != Some(&order.key) {
            return violated(format!("no order is {order:?}"));
        }
        self.show_version(order.name, order.stock_version);
        self.orders_shown = self.orders_shown.max(order.number);
        Ok(())
    }

    fn show_version(&mut self, stock: StockName, version: u64) {
        let shown = self.shown.entry(stock).or_default();
        *shown = (*shown).max(version);
    }

    /// After the run: `replies` are the answers to the plan's operations, none where there was none.
    ///
    /// # Errors
    /// If clients were told that a trade did not happen, and it did.
    pub fn refused_trades_did_not_happen(&self, ops: &[Op], replies: &[Option<Reply>]) -> Verdict {
        let is_refused = |reply: &Option<Reply>| {
            matches!(reply, Some(Reply::Failed(error))
                if error.outcome == Some(TradeFate::NotApplied) && error.kind != ErrorKind::OutcomeUnknown)
        };
        for key in self.outcomes.keys() {
            let of_key = |op: &Op| matches!(&op.action, Action::Trade(trade) if trade.key == *key);
            let mut told = ops.iter().zip(replies).filter(|(op, _)| of_key(op)).map(|(_, reply)| reply).peekable();
            if told.peek().is_some() && told.all(is_refused) {
                return violated(format!("key {} was refused as not applied, and was applied", key.as_str()));
            }
        }
        Ok(())
    }

    /// The newest version of a stock.
    pub fn newest(&self, stock: StockName) -> u64 {
        self.stocks.range((stock, 0)..=(stock, u64::MAX)).next_back().map_or(0, |((_, version), _)| *version)
    }

    /// How many entries decided several trades.
    pub fn shared_entries(&self) -> u64 {
        self.notes.values().filter(|note| note.position.index > 1 && note.outcomes.len() > 1).count() as u64
    }

    /// How many orders there are.
    pub fn orders(&self) -> u64 {
        self.orders.len() as u64
    }
}
