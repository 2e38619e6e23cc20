//! The shell around the [`Publisher`]: sends committed trades to the catalog and reports what it exposed to the gate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bazaar_domain::{
    Address, ErrorKind,
    internal::{ItemStatus, PublishBatch, PublishReply},
};
use bazaar_service::{CallError, Caller, Clock, Origin, remarks, traces::Span};
use futures::future::{BoxFuture, OptionFuture};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    gate::{Gate, sleep_until},
    meters,
    publish::{Effect, Event, Publisher, first_divergence},
    state_machine::{State, index_of, recent::RecentEntry},
};

/// Items published in one call, at most (about).
const PUBLISH_ITEMS_MAX: usize = 16_384;

/// What the publisher needs.
pub struct Context {
    /// The replica's state.
    pub state: Arc<State>,
    /// The release gate.
    pub gate: Arc<Gate>,
    /// The life of the catalog that asked for a lease last.
    pub catalog_seen: watch::Receiver<u64>,
    /// The cluster.
    pub cluster_id: String,
    /// How it is called.
    pub caller: Caller,
    /// The catalog.
    pub catalog: Address,
    /// How long a call may take: the catalog answers once it has exposed the batch, which may take two leases.
    pub timeout: Duration,
    /// The clock.
    pub clock: Clock,
}

/// A call in flight: what was sent, to compare the catalog's results with, and its answer.
type Call = BoxFuture<'static, (Vec<Arc<RecentEntry>>, Result<PublishReply, CallError>)>;

/// Publishes until `shutdown`.
pub async fn run(mut context: Context, shutdown: CancellationToken) {
    let mut publisher = Publisher::default();
    let mut term = context.gate.watch();
    // This replica may lead already: the first look must not be missed.
    term.mark_changed();
    let mut applied = context.state.watch_applied();
    let mut leads = None;
    let mut call: OptionFuture<Call> = None.into();
    loop {
        let wake = publisher.wake_at().map(|moment| context.clock.instant(moment).into());
        let events = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = term.changed() => {
                let now = *term.borrow_and_update();
                if now == leads { continue }
                leads = now;
                // The applied index first, so that the first answer of the catalog can be acted on.
                vec![Event::Applied(context.state.applied_index()), Event::Leading(now.is_some())]
            }
            _ = applied.changed() => vec![Event::Applied(index_of(*applied.borrow_and_update()))],
            Ok(()) = context.catalog_seen.changed() => {
                vec![Event::CatalogSeen { incarnation: *context.catalog_seen.borrow_and_update() }]
            }
            Some((sent, result)) = &mut call => {
                call = None.into();
                vec![answered(&sent, result)]
            }
            () = sleep_until(wake) => vec![Event::Tick],
        };
        for event in events {
            let mut effects = publisher.step(event, context.clock.now());
            while !effects.is_empty() {
                let mut follow_up = Vec::new();
                for effect in effects {
                    match start(&context, effect) {
                        Started::Call(started) => call = Some(started).into(),
                        Started::Missing => follow_up = publisher.step(Event::Missing, context.clock.now()),
                        Started::Nothing => {}
                    }
                }
                effects = follow_up;
            }
        }
    }
}

enum Started {
    Call(Call),
    Missing,
    Nothing,
}

fn start(context: &Context, effect: Effect) -> Started {
    let (caller, timeout) = (context.caller.clone(), context.timeout);
    match effect {
        Effect::Exposed(index) => {
            context.gate.exposed(index);
            Started::Nothing
        }
        Effect::SendInventory { heals } => {
            let inventory = context.state.inventory_snapshot(&context.cluster_id, heals);
            tracing::info!(
                index = inventory.index,
                stocks = inventory.stocks.len(),
                heals,
                "sending the inventory to the catalog"
            );
            let url = caller.url(&context.catalog, "/inventory");
            Started::Call(Box::pin(async move { (Vec::new(), caller.post(&url, &inventory, timeout, None).await) }))
        }
        Effect::SendAfter { previous } => {
            let (through, sent) = match previous {
                None => (0, Vec::new()),
                Some(previous) => match context.state.recent_after(previous, PUBLISH_ITEMS_MAX) {
                    None => return Started::Missing,
                    Some(range) => (range.through, range.entries),
                },
            };
            let batch = PublishBatch {
                cluster_id: context.cluster_id.clone(),
                previous: previous.unwrap_or(0),
                through,
                entries: sent.iter().map(|entry| entry.published.clone()).collect(),
            };
            let url = caller.url(&context.catalog, "/orders");
            let origins: Vec<&Origin> = sent.iter().filter_map(|entry| entry.origin.as_deref()).collect();
            let span = Span::call("publish", origins.iter().filter_map(|origin| origin.trace.clone()));
            let shared = origins.first().map(|first| Origin::shared(first, origins.len() - 1, span.as_ref()));
            Started::Call(Box::pin(async move {
                let started = Instant::now();
                let posted = caller.post(&url, &batch, timeout, shared.as_ref().map(|origin| &origin.id));
                let result = match &shared {
                    Some(origin) => origin.scope(posted).await,
                    None => posted.await,
                };
                meters::PUBLISH_SECONDS.histogram().record(started.elapsed());
                remark(shared.as_ref(), &batch, &result, started.elapsed());
                end_publish(span, &result);
                (sent, result)
            }))
        }
    }
}

/// Says which log entries, and so whose trades, a publish carried that was slow or failed.
fn remark(shared: Option<&Origin>, batch: &PublishBatch, result: &Result<PublishReply, CallError>, took: Duration) {
    if batch.entries.is_empty() || (result.is_ok() && !remarks::is_slow(took)) || !remarks::may_remark() {
        return;
    }
    tracing::warn!(
        request = shared.map(|origin| origin.id.as_str()),
        after = batch.previous,
        through = batch.through,
        error = result.as_ref().err().map(ToString::to_string),
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "a publish to the catalog was slow or failed"
    );
}

fn end_publish(span: Option<Span>, result: &Result<PublishReply, CallError>) {
    if let Some(mut span) = span
        && let Err(error) = result
    {
        span.fail(error.to_string());
    }
}

fn answered(sent: &[Arc<RecentEntry>], result: Result<PublishReply, CallError>) -> Event {
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => {
            meters::PUBLISH_FAILURES.counter().increment(1);
            tracing::debug!(%error, "the catalog could not be told");
            return match error {
                CallError::Answered(refusal) if refusal.kind == ErrorKind::WrongCluster => Event::Foreign,
                _ => Event::Failed,
            };
        }
    };
    let ours: Vec<(u64, &[ItemStatus])> =
        sent.iter().map(|entry| (entry.published.index, &entry.statuses[..])).collect();
    let diverged = first_divergence(&ours, &reply.statuses);
    if let Some((index, ours, theirs)) = diverged {
        meters::DIVERGENCES.counter().increment(1);
        tracing::error!(index, ?ours, ?theirs, "the catalog decided differently; it gets the inventory anew");
    }
    Event::Replied { reply, diverged: diverged.is_some() }
}
