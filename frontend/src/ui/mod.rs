//! The page `/ui`: the state of the whole cluster, drawn here and kept current in the browser by one stream of events.
//!
//! A task looks at every process while somebody looks at the page ([`collect`]). What it finds is a [`model::View`];
//! pure functions make of it log lanes ([`lanes`]), a history of failovers ([`history`]), rates ([`traffic`]) and the
//! parts of the page ([`render`]). [`hub`] keeps the newest form of each part for those who look.

mod assets;
mod collect;
pub(crate) mod control;
#[cfg(test)]
mod fixtures;
mod history;
mod hub;
mod lanes;
mod log_entry;
mod model;
mod render;
mod routes;
pub(crate) mod stream;
mod traffic;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bazaar_domain::{ReplicaId, condition::State, config::ClusterConfig};
use bazaar_service::Caller;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::routes::{no_routes, routes};
use self::{
    collect::{Collector, is_eventful},
    control::Control,
    hub::Hub,
    model::View,
};
use crate::{Options, http::App};

/// Time between two looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while something is wrong.
const LOOK_EVERY_IN_TROUBLE: Duration = Duration::from_millis(300);
/// The cluster is looked at for so long after the last visitor.
const LINGER: Duration = Duration::from_secs(5);
/// An older look is not shown to a new visitor.
const OLD_AFTER: Duration = Duration::from_secs(2);
/// How long the page waits for a look of its own; a halted replica takes part of it.
const FRESH_WITHIN: Duration = Duration::from_secs(3);

/// What the routes of the page work with.
pub(crate) struct Ui {
    hub: Hub,
    /// How many event streams are open.
    watchers: AtomicUsize,
    /// How many may be.
    pages_max: usize,
    /// Somebody came to look.
    visited: Notify,
    /// When somebody came last.
    visit: Mutex<Option<Instant>>,
    /// When the cluster was looked at last.
    looked: watch::Sender<Option<Instant>>,
    caller: Caller,
    /// Where the replicas can be asked for a log entry; members that the configuration does not name are learnt.
    admins: Mutex<BTreeMap<ReplicaId, String>>,
    control: Option<Control>,
    shutdown: CancellationToken,
}

impl Ui {
    /// The page of a frontend, and the task that keeps it current; it ends with `shutdown`.
    pub(crate) fn start(
        app: Arc<App>,
        caller: Caller,
        config: &ClusterConfig,
        options: &Options,
        shutdown: CancellationToken,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let collector = Collector::new(app, caller.clone(), config);
        let ui = Arc::new(Self {
            hub: Hub::new(rand::random()),
            watchers: AtomicUsize::new(0),
            visited: Notify::new(),
            visit: Mutex::default(),
            looked: watch::Sender::new(None),
            caller,
            admins: Mutex::new(collector.admins()),
            pages_max: options.pages_max,
            control: options.playground.clone().map(Control::new),
            shutdown: shutdown.clone(),
        });
        let watching = Arc::clone(&ui);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = watching.watch(collector) => {}
            }
        });
        (ui, task)
    }

    /// Looks at the cluster while somebody looks at the page.
    async fn watch(&self, mut collector: Collector) {
        let mut before: Option<View> = None;
        loop {
            while !self.is_watched() {
                self.visited.notified().await;
            }
            collector.rested();
            while self.is_watched() {
                let begun = Instant::now();
                let view = collector.look().await;
                self.hub.publish(render::parts(&view), news(before.as_ref(), &view));
                *self.admins() = collector.admins();
                self.looked.send_replace(Some(Instant::now()));
                let pause = if is_eventful(&view) { LOOK_EVERY_IN_TROUBLE } else { LOOK_EVERY };
                before = Some(view);
                tokio::time::sleep_until(begun + pause).await;
            }
        }
    }

    fn is_watched(&self) -> bool {
        let visit = *self.visit.lock().unwrap_or_else(PoisonError::into_inner);
        self.watchers.load(Ordering::Relaxed) > 0 || visit.is_some_and(|visit| visit.elapsed() < LINGER)
    }

    /// Somebody looks.
    fn visited(&self) {
        *self.visit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.visited.notify_one();
    }

    /// Waits until there is a look that is not old, but not for ever.
    async fn fresh(&self) {
        self.visited();
        let is_fresh = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < OLD_AFTER);
        let _ = timeout(FRESH_WITHIN, self.looked.subscribe().wait_for(is_fresh)).await;
    }

    fn admins(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, String>> {
        self.admins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is worth saying aloud: a new state of the cluster, and what replicas wrote down since the last look.
fn news(before: Option<&View>, now: &View) -> Vec<String> {
    let Some(before) = before else { return Vec::new() };
    let known = before.events.first().map_or(0, |(_, event)| event.unix_ms);
    let fresh = now.events.iter().rev().filter(|entry| entry.1.unix_ms >= known && !before.events.contains(entry));
    let mut news: Vec<String> = fresh.map(|(id, event)| format!("Replica {id}: {}", event.what)).collect();
    if before.steady.state != now.steady.state || (now.steady.state != State::Healthy && before.steady != now.steady) {
        news.push(now.steady.sentence.clone());
    }
    news
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{condition::Condition, gap::Event};

    use super::*;

    #[test]
    fn a_new_state_and_new_events_are_said_once() {
        let before = fixtures::view();
        assert_eq!(news(Some(&before), &before), Vec::<String>::new());
        let mut now = before.clone();
        now.events.insert(0, (2, Event { unix_ms: 9_000, term: 8, what: "elected leader".into() }));
        now.steady = Condition { state: State::Degraded, sentence: "Degraded: something".into(), ..now.steady };
        assert_eq!(news(Some(&before), &now), ["Replica 2: elected leader", "Degraded: something"]);
        assert_eq!(news(Some(&now), &now), Vec::<String>::new());
        assert_eq!(news(None, &now), Vec::<String>::new());
    }
}
