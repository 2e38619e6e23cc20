//! Histories made up, and a second opinion on them.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each file of tests uses a part of this")]

use std::{collections::BTreeMap, iter::zip};

use bazaar_linear::{
    Bounds, Op, Operation, Recorded, Report, Specification, Verdict, by_stock,
    stock::{Answer, Shown, State},
};

pub const STOCK: &str = "S0";

/// Numbers drawn from a seed (xorshift).
#[derive(Debug)]
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What a made-up history is like.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub clients: u64,
    pub operations: usize,
    pub listed: u64,
    /// Trades are of 1 to so many.
    pub quantity_max: u64,
    /// One of so many operations never gets an answer.
    pub unanswered_one_in: u64,
    /// One of so many shown numbers is left out, beside the quantity of an accepted trade, which is always left out.
    pub hidden_one_in: u64,
    /// Calls, effects and returns lie so far apart at most.
    pub delay_max_us: u64,
}

pub const LONG: Plan = Plan {
    clients: 30,
    operations: 20_000,
    listed: 500,
    quantity_max: 20,
    unanswered_one_in: 100,
    hidden_one_in: u64::MAX,
    delay_max_us: 1_000,
};

/// A stock that does one thing at a time, for the clients of a plan: linearizable by the way it is made.
pub fn simulated(draw: &mut Draw, plan: Plan) -> Vec<Recorded> {
    let mut made: Vec<(Option<u64>, Recorded)> = Vec::new();
    let each = plan.operations.div_ceil(plan.clients as usize);
    for client in 0..plan.clients {
        let mut now = draw.below(plan.delay_max_us);
        let mut again: Option<Recorded> = None;
        for number in 0..each.min(plan.operations - made.len()) {
            let name = format!("client {client}/{number}");
            let asked = again.take().unwrap_or_else(|| any_operation(draw, plan, &name, now));
            let asked = Recorded { call_us: now, client: name, ..asked };
            let effect = now + draw.below(plan.delay_max_us);
            now = effect + draw.below(plan.delay_max_us);
            if draw.one_in(plan.unanswered_one_in) {
                let late = effect + draw.below(30 * plan.delay_max_us);
                again = (asked.op != Op::Lookup && draw.one_in(3)).then(|| asked.clone());
                made.push((draw.one_in(2).then_some(late), asked));
            } else {
                made.push((Some(effect), Recorded { return_us: Some(now), ..asked }));
            }
            now += draw.below(plan.delay_max_us);
        }
    }
    made.sort_by_key(|(effect, _)| *effect);
    let listed = Recorded::listed(STOCK, plan.listed, 1);
    let (mut state, mut records) = (PlainState::of(&listed), vec![listed]);
    for (effect, mut record) in made {
        if effect.is_some() {
            let answer = state.act(&input(&record));
            record.answer = record.return_us.map(|_| hidden(draw, plan, answer));
        }
        records.push(record);
    }
    records
}

fn any_operation(draw: &mut Draw, plan: Plan, key: &str, now: u64) -> Recorded {
    let quantity = 1 + draw.below(plan.quantity_max);
    match draw.below(4) {
        0 => Recorded::buy(STOCK, "", now, quantity, key),
        1 => Recorded::sell(STOCK, "", now, quantity, key),
        _ => Recorded::lookup(STOCK, "", now),
    }
}

fn hidden(draw: &mut Draw, plan: Plan, answer: Answer) -> Answer {
    let mut hidden = |number: Option<u64>| number.filter(|_| !draw.one_in(plan.hidden_one_in));
    let mut part = |shown: Shown| Shown { quantity: hidden(shown.quantity), version: hidden(shown.version) };
    match answer {
        Answer::Accepted(shown) => Answer::Accepted(Shown { quantity: None, ..part(shown) }),
        Answer::Rejected(shown) => Answer::Rejected(part(shown)),
        Answer::Shown(shown) => Answer::Shown(part(shown)),
    }
}

/// The specification of a stock once more, written to be obviously right: every key is remembered.
#[derive(Debug)]
pub struct Plain;

pub type PlainInput = (Op, u64, Option<String>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlainState {
    quantity: i128,
    version: u64,
    outcomes: BTreeMap<String, Answer>,
}

pub fn input(record: &Recorded) -> PlainInput {
    (record.op, record.quantity.unwrap_or(0), record.key.clone())
}

impl PlainState {
    pub fn of(listed: &Recorded) -> Self {
        let Some(Answer::Shown(Shown { quantity: Some(quantity), version: Some(version) })) = listed.answer else {
            panic!("a listing")
        };
        Self { quantity: quantity.into(), version, outcomes: BTreeMap::new() }
    }

    fn act(&mut self, (op, quantity, key): &PlainInput) -> Answer {
        if let Some(outcome) = key.as_ref().and_then(|key| self.outcomes.get(key)) {
            return *outcome;
        }
        let change = match op {
            Op::Buy => -i128::from(*quantity),
            Op::Sell => i128::from(*quantity),
            Op::Lookup | Op::Listed => return Answer::Shown(self.shown()),
        };
        let outcome = if self.quantity + change < 0 {
            Answer::Rejected(self.shown())
        } else {
            self.quantity += change;
            self.version += 1;
            Answer::Accepted(self.shown())
        };
        self.outcomes.extend(key.clone().map(|key| (key, outcome)));
        outcome
    }

    fn shown(&self) -> Shown {
        Shown::both(self.quantity.try_into().unwrap(), self.version)
    }
}

impl Specification for Plain {
    type Input = PlainInput;
    type Output = Answer;
    type State = PlainState;

    fn step(state: &PlainState, input: &PlainInput, output: Option<&Answer>) -> Option<PlainState> {
        let mut after = state.clone();
        let right = after.act(input);
        let fits = |shown: &Shown, right: &Shown| {
            [(shown.quantity, right.quantity), (shown.version, right.version)]
                .iter()
                .all(|(shown, right)| shown.is_none() || shown == right)
        };
        let fits = match (output, &right) {
            (None, _) => true,
            (Some(Answer::Accepted(shown)), Answer::Accepted(right))
            | (Some(Answer::Rejected(shown)), Answer::Rejected(right))
            | (Some(Answer::Shown(shown)), Answer::Shown(right)) => fits(shown, right),
            _ => false,
        };
        fits.then_some(after)
    }
}

/// The operations of records, the first of which lists the only stock.
pub fn plain(records: &[Recorded]) -> (PlainState, Vec<Operation<PlainInput, Answer>>) {
    let operation = |record: &Recorded| Operation {
        input: input(record),
        called: record.call_us,
        answer: record.return_us.zip(record.answer),
    };
    (PlainState::of(&records[0]), records[1..].iter().map(operation).collect())
}

/// Whether one of all orders of any of the operations explains all answers, tried one after the other.
pub fn by_brute_force<S: Specification>(start: &S::State, operations: &[Operation<S::Input, S::Output>]) -> bool {
    fn any_order<S: Specification>(
        start: &S::State,
        operations: &[Operation<S::Input, S::Output>],
        order: &mut Vec<usize>,
    ) -> bool {
        if explains::<S>(start, operations, order) {
            return true;
        }
        for next in 0..operations.len() {
            if !order.contains(&next) {
                order.push(next);
                if any_order::<S>(start, operations, order) {
                    return true;
                }
                order.pop();
            }
        }
        false
    }
    any_order::<S>(start, operations, &mut Vec::new())
}

/// Whether this order has every answered operation in it, respects the times, and explains the answers.
pub fn explains<S: Specification>(
    start: &S::State,
    operations: &[Operation<S::Input, S::Output>],
    order: &[usize],
) -> bool {
    let whole = (0..operations.len()).all(|index| operations[index].answer.is_none() || order.contains(&index));
    let before = |a: usize, b: usize| matches!(operations[a].answer, Some((end, _)) if end < operations[b].called);
    let in_time = order.iter().enumerate().all(|(place, a)| order[..place].iter().all(|b| !before(*a, *b)));
    let mut state = start.clone();
    whole
        && in_time
        && order.iter().all(|index| {
            let operation = &operations[*index];
            let after = S::step(&state, &operation.input, operation.answer.as_ref().map(|(_, output)| output));
            after.is_some_and(|after| {
                state = after;
                true
            })
        })
}

/// The history without what was answered after the n-th answer, and when that was.
pub fn up_to<I: Clone, O: Clone>(operations: &[Operation<I, O>], answers: usize) -> (Vec<Operation<I, O>>, u64) {
    let ends = |(index, operation): (usize, &Operation<I, O>)| operation.answer.as_ref().map(|(end, _)| (*end, index));
    let mut all: Vec<_> = operations.iter().enumerate().filter_map(ends).collect();
    all.sort_unstable();
    let last = answers.checked_sub(1).map(|last| all[last]);
    let mut known = operations.to_vec();
    for (index, operation) in known.iter_mut().enumerate() {
        operation.answer = operation.answer.take().filter(|(end, _)| Some((*end, index)) <= last);
    }
    (known, last.map_or(0, |(end, _)| end))
}

/// The same, and without what was asked after that.
pub fn cut<I: Clone, O: Clone>(operations: &[Operation<I, O>], answers: usize) -> Vec<Operation<I, O>> {
    let (mut known, end) = up_to(operations, answers);
    known.retain(|operation| operation.called <= end);
    known
}

/// How many answers the shortest violation has, if there is one.
pub fn shortest_by_brute_force<S: Specification>(
    start: &S::State,
    operations: &[Operation<S::Input, S::Output>],
) -> Option<usize>
where
    S::Input: Clone,
    S::Output: Clone,
{
    let answers = operations.iter().filter(|operation| operation.answer.is_some()).count();
    (1..=answers).find(|answers| !by_brute_force::<S>(start, &cut(operations, *answers)))
}

/// The verdict on records of one stock.
pub fn verdict(records: &[Recorded]) -> Verdict<State> {
    let mut histories = by_stock(records).unwrap();
    let history = histories.pop().expect("a stock");
    assert!(histories.is_empty(), "one stock");
    Report::on(history, &Bounds::default()).verdict
}

/// How many answers the shortest violation has, if there is one.
pub fn shortest<State>(verdict: &Verdict<State>) -> Option<usize> {
    match verdict {
        Verdict::Ok => None,
        Verdict::Violation(violation) if violation.is_shortest() => Some(violation.answers),
        _ => panic!("a verdict that leaves nothing open"),
    }
}

/// Changes one number or word of an answer, as a fault would.
pub fn mutate(draw: &mut Draw, records: &mut [Recorded]) {
    let answered: Vec<usize> = (1..records.len()).filter(|index| records[*index].answer.is_some()).collect();
    let Some(index) = answered.get(draw.below(answered.len().max(1) as u64) as usize) else { return };
    let answer = records[*index].answer.as_mut().unwrap();
    let (Answer::Accepted(shown) | Answer::Rejected(shown) | Answer::Shown(shown)) = answer;
    let changed = |number: u64, up: bool| if up { number + 1 } else { number.saturating_sub(1) };
    match draw.below(3) {
        0 => shown.version = shown.version.map(|version| changed(version, draw.one_in(2))),
        1 => shown.quantity = shown.quantity.map(|quantity| changed(quantity, draw.one_in(2))),
        _ => {
            *answer = match *answer {
                Answer::Accepted(shown) => Answer::Rejected(shown),
                Answer::Rejected(shown) => Answer::Accepted(shown),
                other => other,
            }
        }
    }
}

/// The place of each operation's answer among all answers, from 1.
pub fn ranks(records: &[Recorded]) -> Vec<Option<usize>> {
    let mut ends: Vec<_> =
        zip(&records[1..], 1..).filter_map(|(record, index)| Some((record.return_us?, index))).collect();
    ends.sort_unstable();
    let mut ranks = vec![None; records.len()];
    zip(ends, 1..).for_each(|((_, index), rank)| ranks[index] = Some(rank));
    ranks
}
