//! A way to a violation, in words.

use std::fmt;

use crate::{
    action::Action,
    bounds::Bounds,
    network::Message,
    properties::Record,
    state::{Owner, State},
};

/// The name of a replica.
pub fn replica_name(replica: usize) -> String {
    format!("L{}", replica + 1)
}

/// The name of a frontend.
pub fn frontend_name(frontend: usize) -> String {
    ["A", "B", "C"][frontend].to_owned()
}

/// The name of a stock.
pub fn stock_name(stock: usize) -> String {
    crate::log::name(stock).as_str().to_owned()
}

fn owner_name(owner: Owner) -> String {
    match owner {
        Owner::Replica(replica) => replica_name(replica),
        Owner::Catalog => "the catalog".to_owned(),
        Owner::Frontend(frontend) => frontend_name(frontend),
    }
}

/// One event and what followed from it.
#[derive(Debug)]
pub struct TraceStep {
    /// How many ticks had passed.
    pub ticks: u64,
    /// The event.
    pub event: String,
    /// What followed.
    pub notes: Vec<String>,
}

impl TraceStep {
    /// Tells an event in the state in which it happens.
    pub fn new(state: &State, action: Action, record: Record) -> Self {
        let mut notes = record.notes.unwrap_or_default();
        notes.extend(record.violation.map(|violation| format!("VIOLATION: {violation}")));
        Self { ticks: state.spent.ticks, event: tell(state, action), notes }
    }
}

/// A sequence of events.
#[derive(Debug)]
pub struct Trace {
    /// In their order.
    pub steps: Vec<TraceStep>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number:>3}  tick {}  {}", step.ticks, step.event)?;
            for note in &step.notes {
                writeln!(f, "               - {note}")?;
            }
        }
        Ok(())
    }
}

fn tell(state: &State, action: Action) -> String {
    match action {
        Action::Tick { missed_by: None } => "time passes".into(),
        Action::Tick { missed_by: Some(owner) } => {
            format!("time passes, and the clock of {} stands still", owner_name(owner))
        }
        Action::Commit => format!(
            "a trade is committed at index {} in the term of {}, who need not know yet",
            state.log.last_index() + 1,
            replica_name(state.votes)
        ),
        Action::Apply(replica) => format!("{} hears what is committed, and applies it", replica_name(replica)),
        Action::Elect(replica) => format!(
            "{} gets the votes of term {}; {} does not notice",
            replica_name(replica),
            state.term + 1,
            replica_name(state.votes)
        ),
        Action::Grant(replica) => format!("{} grants the catalog a lease", replica_name(replica)),
        Action::Publish { through, diverges } => {
            let how = if diverges { ", and decides it differently from the leader" } else { "" };
            format!("the catalog takes the log through index {through}{how}")
        }
        Action::Inventory { index, heals } => {
            let why = if heals { ", which heals a divergence" } else { "" };
            format!("the catalog takes the inventory of index {index}{why}")
        }
        Action::Expose => "the catalog exposes what is pending".into(),
        Action::Restart { copy: None } => "the catalog crashes and starts again".into(),
        Action::Restart { copy: Some(index) } => {
            format!("the catalog crashes and starts again with its copy of index {index}")
        }
        Action::Ask(frontend) => format!("{} asks for a lease", frontend_name(frontend)),
        Action::Deliver { position, stays } => {
            let copy = if stays { " (a copy stays under way)" } else { "" };
            format!("{}{copy}", tell_message(&state.network.messages()[position]))
        }
        Action::Lookup { frontend, stock } => tell_lookup(state, frontend, stock),
        Action::AnswerFetch { frontend, flight } => {
            let stock = state.frontends[frontend].flights[flight].stock;
            format!("the catalog answers the fetch of {} by {}", stock_name(stock), frontend_name(frontend))
        }
        Action::Land { frontend, flight } => {
            let stock = state.frontends[frontend].flights[flight].stock;
            format!("the answer to the fetch of {} arrives at {}", stock_name(stock), frontend_name(frontend))
        }
        Action::GoOn { frontend, .. } => format!("the lookup that waited at {} goes on", frontend_name(frontend)),
    }
}

fn tell_lookup(state: &State, frontend: usize, stock: usize) -> String {
    let (who, what) = (frontend_name(frontend), stock_name(stock));
    if state.frontends[frontend].flights.iter().any(|flight| flight.stock == stock) {
        format!("a client looks {what} up at {who}, which is fetching it already")
    } else {
        format!("a client looks {what} up at {who}, which fetches it from the catalog")
    }
}

fn tell_message(message: &Message) -> String {
    match message {
        Message::Grant { .. } => "the grant reaches the catalog".into(),
        Message::Request { frontend, session, .. } => {
            format!("the lease request of {}, session {session}, reaches the catalog", frontend_name(*frontend))
        }
        Message::Reply { frontend, reply, .. } => {
            format!("the lease for session {} reaches {}", reply.session, frontend_name(*frontend))
        }
        Message::Invalidation { frontend, batch } => format!(
            "the invalidation of batch {} for session {} reaches {}",
            batch.batch,
            batch.session,
            frontend_name(*frontend)
        ),
        Message::Ack(ack) => {
            let from = usize::try_from(ack.frontend).map(frontend_name).unwrap_or_default();
            format!("an ack of {from} for batch {} and session {} reaches the catalog", ack.batch, ack.session)
        }
    }
}

/// The bounds in one line.
pub fn tell_bounds(bounds: &Bounds) -> String {
    format!(
        "{} replicas, {} frontends, {} stocks; {} trades, {} elections, {} crashes, {} repeats, {} ticks (a lease lasts {}, margin {} %)",
        bounds.replicas,
        bounds.frontends,
        bounds.stocks,
        bounds.trades.len(),
        bounds.elections,
        bounds.crashes,
        bounds.repeats,
        bounds.ticks,
        bounds.ttl_ticks,
        bounds.margin_percent
    )
}
