//! Keeps the cache's lease: asks the catalog for it, renews it, and gives it back at the end.

use std::{sync::Arc, time::Duration};

use axum::http::header;
use bazaar_domain::{
    codec,
    config::ClusterConfig,
    internal::{SubscribeReply, SubscribeRequest, UnsubscribeRequest},
};
use bazaar_service::Caller;
use tokio_util::sync::CancellationToken;

use crate::lookup::Lookups;

/// How long the catalog may take to hear that this frontend stops.
const UNSUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(500);

/// The task that keeps the lease.
#[derive(Debug)]
pub(crate) struct LeaseKeeper {
    lookups: Arc<Lookups>,
    caller: Caller,
    config: Arc<ClusterConfig>,
    /// Where the catalog's invalidations are taken.
    /// How the catalog reaches this frontend, as `host:port`.
    internal_address: String,
}

impl LeaseKeeper {
    pub(crate) fn new(
        lookups: Arc<Lookups>,
        caller: Caller,
        config: Arc<ClusterConfig>,
        internal_address: String,
    ) -> Self {
        Self { lookups, caller, config, internal_address }
    }

    /// Renews the lease until `shutdown`, then gives it back. A cache that is off needs none.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        if !self.lookups.is_on() {
            return;
        }
        let _ = shutdown.run_until_cancelled(self.renew_for_ever()).await;
        self.give_back().await;
    }

    async fn renew_for_ever(&self) {
        let clock = self.lookups.clock();
        let url = self.caller.url(&self.config.catalog.service, "/subscribe");
        let mut was_leased = false;
        loop {
            let session = self.lookups.lease_request();
            let request = SubscribeRequest {
                frontend: self.lookups.frontend(),
                session,
                internal_address: self.internal_address.clone(),
            };
            // Read before the request is sent: the lease counts from here.
            let asked_at = clock.now();
            let timeout = self.config.leases.ttl() / 2;
            match self.caller.post::<_, SubscribeReply>(&url, &request, timeout, None).await {
                Ok(reply) => self.lookups.lease_answer(&reply, asked_at),
                Err(error) => tracing::debug!(%error, "the catalog did not answer the lease request"),
            }
            let lease_end = self.lookups.leased_until();
            if lease_end.is_some() != was_leased {
                was_leased = lease_end.is_some();
                tracing::info!(leased = was_leased, session, "the cache's lease changed");
            }
            if self.lookups.lease_request() != session {
                // It lapsed meanwhile: the new session asks at once.
                continue;
            }
            let renew_at = asked_at.plus(self.config.leases.renew_every());
            let wake = lease_end.map_or(renew_at, |end| end.min(renew_at));
            tokio::time::sleep_until(clock.instant(wake).into()).await;
        }
    }

    /// The cache lets go first, so that no lookup is answered from it once the catalog has stopped waiting for it.
    async fn give_back(&self) {
        let session = self.lookups.end_session();
        let url = self.caller.url(&self.config.catalog.service, "/unsubscribe");
        let request = UnsubscribeRequest { frontend: self.lookups.frontend(), session };
        let told = self.caller.http().post(url).timeout(UNSUBSCRIBE_TIMEOUT);
        let told =
            told.header(header::CONTENT_TYPE, codec::RECORD_MEDIA_TYPE).body(codec::encode(&request)).send().await;
        if let Err(error) = told {
            tracing::debug!(%error, "the catalog was not told that this frontend stops; its lease runs out by itself");
        }
    }
}
