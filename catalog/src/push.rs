//! Sends an invalidation to one frontend until it no longer owes the ack.

use std::time::Duration;

use bazaar_domain::internal::InvalidationAck;
use metrics::counter;

use crate::{catalog::Catalog, ledger::SendInvalidation};

/// How long one attempt may take; a lost one is then sent again well within the lease.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(300);
/// Pause after a failed attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// Sends the invalidation again and again until its ack counts, or is not waited for any more.
pub(crate) async fn push(catalog: &Catalog, send: SendInvalidation) {
    let url = catalog.caller.url(&send.address, "/invalidation");
    let mut is_told = false;
    while catalog.read().owes(&send) {
        let answer = catalog.caller.post::<_, InvalidationAck>(&url, &send.batch, ATTEMPT_TIMEOUT, None).await;
        match answer {
            Ok(ack) if acknowledge(catalog, ack) => return,
            Ok(ack) => tracing::debug!(address = send.address, ?ack, "an ack that does not count"),
            Err(error) if !is_told => {
                is_told = true;
                let address = &send.address;
                tracing::warn!(address, %error, "a frontend does not acknowledge; trades wait for it until its lease ends");
            }
            Err(_) => {}
        }
        counter!("bazaar_catalog_push_retries_total").increment(1);
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn acknowledge(catalog: &Catalog, ack: InvalidationAck) -> bool {
    let mut ledger = catalog.write();
    ledger.acknowledge(ack, catalog.clock.now())
}
