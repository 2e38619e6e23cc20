//! The shell around the [`Intake`]: proposes entries to Raft, watches the gate, answers requests.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bazaar_domain::{ApiError, Command, ErrorKind, Listing, Trade, TradeFate, internal::Submitted};
use bazaar_service::{Origin, traces::Span};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    gate::{Gate, sleep_until},
    intake::{Effect, Event, Intake, ItemKind, ProposalKey, RequestKey},
    meters,
    node::OrderRaft,
    raft_types::{AppliedCommand, LogCommand},
};

/// The items of a request.
#[derive(Debug)]
pub enum Items {
    /// Trades.
    Trades(Vec<Trade>),
    /// Listing changes.
    Listings(Vec<Listing>),
}

impl Items {
    fn kind(&self) -> ItemKind {
        match self {
            Self::Trades(_) => ItemKind::Trades,
            Self::Listings(_) => ItemKind::Listings,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Trades(trades) => trades.len(),
            Self::Listings(listings) => listings.len(),
        }
    }
}

/// A request on its way into the log.
#[derive(Debug)]
pub struct Submission {
    /// Its items.
    pub items: Items,
    /// Whose request it is, for logs and traces.
    pub origin: Option<Origin>,
    /// Where its answer goes.
    pub reply: oneshot::Sender<Result<Submitted, ApiError>>,
}

type Proposal = BoxFuture<'static, (ProposalKey, Result<(u64, AppliedCommand), String>)>;

struct Shell {
    raft: OrderRaft,
    intake: Intake,
    items: BTreeMap<RequestKey, (Items, Option<Origin>)>,
    replies: BTreeMap<RequestKey, oneshot::Sender<Result<Submitted, ApiError>>>,
    proposals: FuturesUnordered<Proposal>,
    /// When each applied entry began to wait for its release, by index.
    applied_at: BTreeMap<u64, Instant>,
    next_request: RequestKey,
}

/// Runs the intake until `shutdown`. The channel's bound is the bound on requests that wait to be looked at.
pub async fn run(
    raft: OrderRaft,
    gate: Arc<Gate>,
    mut submissions: mpsc::Receiver<Submission>,
    shutdown: CancellationToken,
) {
    let mut shell = Shell {
        raft,
        intake: Intake::default(),
        items: BTreeMap::new(),
        replies: BTreeMap::new(),
        proposals: FuturesUnordered::new(),
        applied_at: BTreeMap::new(),
        next_request: 0,
    };
    let waiting = meters::WAITING_REQUESTS.gauge();
    let mut changed = gate.watch();
    let mut term = gate.term();
    shell.step(Event::Leading(term.is_some()));
    loop {
        let wake = match shell.intake.waits_for() {
            Some(_) => gate.next_change().map(|moment| gate.instant(moment)),
            None => None,
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(submission) = submissions.recv() => shell.submit(submission),
            Some((proposal, result)) = shell.proposals.next() => shell.proposed(proposal, result),
            _ = changed.changed() => {
                let now = gate.term();
                if now != term {
                    term = now;
                    shell.step(Event::Leading(term.is_some()));
                }
            }
            () = sleep_until(wake) => {}
        }
        waiting.set(shell.replies.len() as f64);
        match shell.intake.waits_for() {
            Some(_) => shell.step(Event::Released(gate.released())),
            None => shell.applied_at.clear(),
        }
    }
}

impl Shell {
    fn submit(&mut self, submission: Submission) {
        let request = self.next_request;
        self.next_request += 1;
        let (kind, items) = (submission.items.kind(), submission.items.len());
        self.items.insert(request, (submission.items, submission.origin));
        self.replies.insert(request, submission.reply);
        self.step(Event::Submit { request, kind, items });
    }

    fn proposed(&mut self, proposal: ProposalKey, result: Result<(u64, AppliedCommand), String>) {
        let event = match result {
            Ok((index, applied)) => {
                self.applied_at.insert(index, Instant::now());
                Event::Applied { proposal, index, decisions: applied.decisions }
            }
            Err(error) => {
                tracing::debug!(proposal, error, "a proposal failed");
                Event::ProposalFailed { proposal }
            }
        };
        self.step(event);
    }

    fn step(&mut self, event: Event) {
        for effect in self.intake.step(event) {
            match effect {
                Effect::Propose { proposal, kind, requests } => self.propose(proposal, kind, &requests),
                Effect::Answer { request, index, decisions } => {
                    if let Some(applied) = self.applied_at.remove(&index) {
                        meters::RELEASE_SECONDS.histogram().record(applied.elapsed());
                    }
                    self.reply(request, Ok(Submitted { log_index: index, decisions }));
                }
                Effect::Unknown { request } => self.reply(
                    request,
                    Err(ApiError::new(
                        ErrorKind::OutcomeUnknown,
                        "the leadership changed; send it again with the same key",
                    )
                    .with_outcome(TradeFate::Unknown)),
                ),
                Effect::Overloaded { request } => {
                    self.items.remove(&request);
                    self.reply(request, Err(overloaded()));
                }
            }
        }
    }

    fn propose(&mut self, proposal: ProposalKey, kind: ItemKind, requests: &[RequestKey]) {
        let mut trades = Vec::new();
        let mut listings = Vec::new();
        let mut origins = Vec::with_capacity(requests.len());
        for request in requests {
            let (items, origin) = self.items.remove(request).expect("a waiting request has its items");
            origins.extend(origin);
            match items {
                Items::Trades(items) if trades.is_empty() => trades = items,
                Items::Trades(items) => trades.extend(items),
                Items::Listings(items) => listings.extend(items),
            }
        }
        let command = LogCommand::encode(&match kind {
            ItemKind::Trades => Command::Trades(trades),
            ItemKind::Listings => Command::Listings(listings),
        });
        let span = Span::part("propose", origins.iter().filter_map(|origin| origin.trace.clone()));
        let shared = origins.first().map(|first| Origin::shared(first, origins.len() - 1, span.as_ref()));
        if let Some(shared) = shared.as_ref().filter(|_| origins.len() > 1 && tracing::enabled!(tracing::Level::DEBUG))
        {
            for origin in &origins {
                tracing::debug!(request = origin.id.as_str(), travels_as = shared.id.as_str(), "shares a log entry");
            }
        }
        let command = command.with_origin(shared);
        let raft = self.raft.clone();
        self.proposals.push(Box::pin(async move {
            let started = Instant::now();
            let result = raft.client_write(command).await;
            meters::PROPOSE_SECONDS.histogram().record(started.elapsed());
            let result = result.map(|written| (written.log_id.index, written.data)).map_err(|error| error.to_string());
            end_propose(span, &result);
            (proposal, result)
        }));
    }

    fn reply(&mut self, request: RequestKey, result: Result<Submitted, ApiError>) {
        // Nobody waits any more if the caller went away; the entry stands all the same.
        let _ = self.replies.remove(&request).expect("each request is answered once").send(result);
    }
}

/// Ends the span of a proposal.
fn end_propose(span: Option<Span>, result: &Result<(u64, AppliedCommand), String>) {
    let Some(mut span) = span else { return };
    match result {
        Ok((index, _)) => span.set("bazaar.log_index", i64::try_from(*index).unwrap_or(i64::MAX)),
        Err(error) => span.fail(error.clone()),
    }
}

/// More is waiting than may.
pub fn overloaded() -> ApiError {
    ApiError::new(ErrorKind::Overloaded, "the leader has as much to do as it takes at a time; try again")
        .with_outcome(TradeFate::NotApplied)
}
