//! Sends an invalidation to one frontend until it no longer owes the ack.

use std::time::Duration;

use bazaar_domain::internal::InvalidationAck;
use bazaar_service::{Origin, RequestId, traces::Span};

use crate::{catalog::Catalog, ledger::SendInvalidation, meters::PUSH_RETRIES};

/// How long one attempt may take; a lost one is then sent again well within the lease.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(300);
/// Pause after a failed attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// Sends the invalidation again and again until its ack counts, or is not waited for any more.
pub(crate) async fn push(catalog: &Catalog, send: SendInvalidation) {
    let url = catalog.caller.url(&send.address, "/invalidation");
    let mut is_told = false;
    let origin = Origin::current();
    let span = Span::call("invalidate", origin.as_ref().and_then(|origin| origin.trace.clone()));
    let origin = origin.map(|origin| origin.within(span.as_ref()));
    let id = origin.as_ref().map(|origin| &origin.id);
    while catalog.read().owes(&send) {
        let sent = catalog.caller.post::<_, InvalidationAck>(&url, &send.batch, ATTEMPT_TIMEOUT, id);
        let answer = match &origin {
            Some(origin) => origin.scope(sent).await,
            None => sent.await,
        };
        match answer {
            Ok(ack) if acknowledge(catalog, ack) => return,
            Ok(ack) => tracing::debug!(address = send.address, ?ack, "an ack that does not count"),
            Err(error) if !is_told => {
                is_told = true;
                let (address, request) = (&send.address, id.map(RequestId::as_str));
                tracing::warn!(request, address, %error, "a frontend does not acknowledge; trades wait for it until its lease ends");
            }
            Err(_) => {}
        }
        PUSH_RETRIES.counter().increment(1);
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn acknowledge(catalog: &Catalog, ack: InvalidationAck) -> bool {
    let mut ledger = catalog.write();
    ledger.acknowledge(ack, catalog.clock.now())
}
