//! What must hold, and the answers that are given as soon as they can be.
//!
//! An answer that may be given is given at once, and remembered: that makes the demands on all others as strong as any
//! client could make them, and leaves nothing out, since an answer changes nothing in a process.

use std::fmt;

use bazaar_catalog::ledger::Serving;
use bazaar_domain::{Cents, Moment};
use bazaar_frontend::cache::Lookup;

use crate::{
    goals::{Goal, Goals},
    log::{Content, name, wrong_price},
    state::{Owner, State},
    trace::{frontend_name, replica_name, stock_name},
};

/// What should never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A lookup was answered with an older version than somebody had been shown before it began.
    Older {
        /// Who answered.
        by: String,
        /// Which stock.
        stock: usize,
        /// The version that was answered.
        version: u64,
        /// The version that somebody had been shown.
        shown: u64,
    },
    /// An order that somebody had seen was reported as missing.
    OrderGone {
        /// Who answered.
        by: String,
    },
    /// The catalog's exposure went back within one life.
    ExposureWentBack {
        /// From.
        from: u64,
        /// To.
        to: u64,
    },
    /// A value that diverged was shown after it had been healed.
    Diverged {
        /// Who showed it.
        by: String,
        /// Which stock.
        stock: usize,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older { by, stock, version, shown } => {
                let stock = stock_name(*stock);
                write!(f, "{by} answers a lookup of {stock} with version {version}; version {shown} was shown before")
            }
            Self::OrderGone { by } => write!(f, "{by} reports an order as missing that was shown before"),
            Self::ExposureWentBack { from, to } => write!(f, "the catalog's exposure goes back from {from} to {to}"),
            Self::Diverged { by, stock } => {
                write!(f, "{by} shows the diverged value of {} after the healing", stock_name(*stock))
            }
        }
    }
}

/// What a step brought about.
#[derive(Debug, Default)]
pub struct Record {
    /// Goals that it reached.
    pub goals: Goals,
    /// What it broke.
    pub violation: Option<Violation>,
    /// What followed from it, in words, if somebody wants to read that.
    pub notes: Option<Vec<String>>,
}

impl Record {
    /// One that keeps words.
    pub fn in_words() -> Self {
        Self { notes: Some(Vec::new()), ..Self::default() }
    }

    /// Keeps a note, if notes are kept.
    pub fn note(&mut self, words: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push(words());
        }
    }

    /// Keeps the first violation.
    pub fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }
}

/// Gives every answer that can be given after a step, and checks it. `before` is the state that the step began in.
pub fn observe(state: &mut State, before: &State, record: &mut Record) {
    check_exposure(state, before, record);
    hear_of_exposure(state, record);
    let mut shown_before = before.shown;
    loop {
        let shown = state.shown;
        for replica in 0..state.replicas.len() {
            answer_trades_and_reads(state, replica, record);
        }
        // Whoever did not change, at an unchanged time and with unchanged demands, answers as before.
        let is_new = shown != shown_before || state.shown != shown || state.spent.ticks != before.spent.ticks;
        if is_new || !state.catalog.is(&before.catalog) {
            answer_at_catalog(state, record);
        }
        for frontend in 0..state.frontends.len() {
            if is_new || !state.frontends[frontend].is(&before.frontends[frontend]) {
                hit(state, frontend, record);
            }
        }
        if state.shown == shown || record.violation.is_some() {
            return;
        }
        shown_before = shown;
    }
}

fn check_exposure(state: &mut State, before: &State, record: &mut Record) {
    let (from, to) = (state.catalog.exposed, state.catalog.ledger.exposed());
    if state.catalog.ledger.incarnation() == before.catalog.ledger.incarnation() && to < from {
        record.fail(Violation::ExposureWentBack { from, to });
    }
    if to != from {
        state.catalog().exposed = to;
    }
}

/// Every leader, old or new, hears at once what the catalog would answer. Hearing it later would only delay answers.
fn hear_of_exposure(state: &mut State, record: &mut Record) {
    let exposed = state.catalog.ledger.reply(Vec::new(), state.now(Owner::Catalog)).exposed;
    for replica in 0..state.replicas.len() {
        let known = &state.replicas[replica];
        if known.believes() && exposed > known.release.catalog_exposed() {
            state.replica(replica).release.exposed(exposed);
            record.note(|| format!("{} hears that the catalog exposed index {exposed}", replica_name(replica)));
        }
    }
}

fn answer_trades_and_reads(state: &mut State, replica: usize, record: &mut Record) {
    let now = state.now(Owner::Replica(replica));
    let known = &state.replicas[replica];
    let Some(term) = known.release.term() else { return };
    // A read is confirmed by a quorum, which only the holder of the votes has. It may then wait for long.
    let confirms = state.votes == replica && known.admits(now);
    if confirms && !known.has_confirmed_reads {
        state.replica(replica).has_confirmed_reads = true;
    }
    let known = &state.replicas[replica];
    let of_its_term = |(_, entry): &(u64, crate::log::Entry)| entry.term == term;
    let answered = state.log.range(0, known.released(now)).filter(of_its_term).map(|(index, _)| index).last();
    let readable = known.readable(now);
    let by_ack = known.release.catalog_exposed();
    if confirms && readable >= known.own_first && state.shown.order_index > known.applied {
        record.fail(Violation::OrderGone { by: replica_name(replica) });
    }
    for index in [answered.unwrap_or(0), readable] {
        show_order(state, replica, index, by_ack, record);
    }
}

/// An answer shows the trade at an index, or the last one before it.
fn show_order(state: &mut State, replica: usize, index: u64, by_ack: u64, record: &mut Record) {
    let trade = |(index, entry): (u64, crate::log::Entry)| match entry.content {
        Content::Trade(stock) => Some((index, stock)),
        Content::Blank => None,
    };
    let log = state.log.clone();
    for (index, stock) in log.range(state.shown.order_index, index).filter_map(trade) {
        state.shown.order_index = index;
        let version = log.version(stock, index);
        state.shown.versions[stock] = state.shown.versions[stock].max(version);
        let is_acked = index <= by_ack;
        record.goals.add(if is_acked { Goal::AnsweredByAck } else { Goal::AnsweredWithoutAck });
        if replica > 0 {
            record.goals.add(Goal::AnsweredBySecondLeader);
        }
        record.note(|| {
            let why = if is_acked { "the catalog exposed it" } else { "without the catalog's word" };
            let who = replica_name(replica);
            format!("{who} answers the trade at index {index}: {} has version {version} ({why})", stock_name(stock))
        });
    }
}

/// A lookup at a frontend that has no cache, or no lease.
fn answer_at_catalog(state: &mut State, record: &mut Record) {
    let now = state.now(Owner::Catalog);
    let catalog = state.catalog.clone();
    if catalog.ledger.serving(now) != Serving::Yes {
        return;
    }
    record.goals.add(Goal::Served);
    if catalog.ledger.incarnation() > 1 {
        record.goals.add(Goal::ServedAfterCrash);
    }
    for stock in 0..state.stocks() {
        let Some(read) = catalog.ledger.lookup(name(stock), now).value else { continue };
        if read.version > 1 {
            record.goals.add(Goal::ServedNewValue);
        }
        show_stock(state, "the catalog", stock, read.version, read.price, record);
    }
}

/// A lookup of each stock at a frontend, as far as it hits.
fn hit(state: &mut State, frontend: usize, record: &mut Record) {
    let now: Moment = state.now(Owner::Frontend(frontend));
    for stock in 0..state.stocks() {
        let Lookup::Hit(answer) = state.frontend(frontend).cache.lookup(&name(stock), now) else { continue };
        let version = answer.stock.version;
        record.goals.add(if version > 1 { Goal::HitNewValue } else { Goal::Hit });
        show_stock(state, &frontend_name(frontend), stock, version, answer.stock.price, record);
    }
}

fn show_stock(state: &mut State, by: &str, stock: usize, version: u64, price: Cents, record: &mut Record) {
    let shown = &mut state.shown.versions[stock];
    if version < *shown {
        return record.fail(Violation::Older { by: by.to_owned(), stock, version, shown: *shown });
    }
    if version > *shown {
        *shown = version;
        record.note(|| format!("{by} answers a lookup of {} with version {version}", stock_name(stock)));
    }
    if state.shown.is_healed && price == wrong_price() {
        record.fail(Violation::Diverged { by: by.to_owned(), stock });
    }
}

/// A lookup that waited, or had to fetch, ends with an answer.
pub fn end_lookup(state: &mut State, by: &str, stock: usize, must_see: u64, version: u64, record: &mut Record) {
    if version < must_see {
        record.fail(Violation::Older { by: by.to_owned(), stock, version, shown: must_see });
    }
    state.shown.versions[stock] = state.shown.versions[stock].max(version);
}
