//! Keeps the catalog's own lease: asks for it at every renewal interval.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{catalog::Catalog, leader::Leader, ledger::Serving, meters::LEASE_FAILURES};

/// Pause before the lease is asked for again after nobody gave one.
const RETRY_PAUSE: Duration = Duration::from_millis(30);

/// Renews the lease until the shutdown, and logs when lookups begin or cease to be answered.
pub(crate) async fn keep(catalog: Arc<Catalog>, leader: Arc<Leader>, every: Duration, shutdown: CancellationToken) {
    let incarnation = catalog.read().incarnation();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Serving::Silent;
    let mut shunned_before = 0;
    while shutdown.run_until_cancelled(renew(&catalog, &leader, incarnation, &mut ticks)).await.is_some() {
        let (serving, shunned) = {
            let ledger = catalog.read();
            (ledger.serving(catalog.clock.now()), ledger.shunned())
        };
        if shunned > shunned_before {
            tracing::warn!(shunned, "a frontend acknowledges too slowly, or not at all: it gets no lease for a while");
        }
        shunned_before = shunned;
        if serving != before {
            log_change(serving, leader.known());
            before = serving;
        }
    }
}

async fn renew(catalog: &Catalog, leader: &Leader, incarnation: u64, ticks: &mut tokio::time::Interval) {
    ticks.tick().await;
    match leader.ask_lease(incarnation).await {
        Some(granted) => {
            let mut ledger = catalog.write();
            let asked_at = catalog.clock.at(granted.asked_at);
            let duration = Duration::from_micros(granted.grant.duration_micros);
            ledger.lease_granted(
                &granted.grant.cluster_id,
                asked_at,
                duration,
                granted.grant.floor,
                catalog.clock.now(),
            );
        }
        None => {
            LEASE_FAILURES.counter().increment(1);
            // An election takes a fraction of a second, and lookups wait for its end.
            ticks.reset_after(RETRY_PAUSE);
        }
    }
}

fn log_change(serving: Serving, leader: Option<u64>) {
    match serving {
        Serving::Yes => tracing::info!(leader, "lookups are answered"),
        Serving::Silent => {}
        Serving::Behind => tracing::info!(leader, "lookups wait until the catalog has what the leader committed"),
        Serving::NoLease => tracing::warn!(leader, "no leader gives a lease: lookups are refused"),
    }
}
