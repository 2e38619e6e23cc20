//! The first start: puts the stocks of `stocks.toml` on offer, through the order log.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bazaar_domain::{
    Listing, Rejection, StockName,
    internal::SubmitListings,
    order::{Decision, Outcome},
};
use tokio_util::sync::CancellationToken;

use crate::{catalog::Catalog, leader::Leader, ledger::Serving};

/// Listing changes in one log entry.
const CHUNK_LISTINGS_MAX: usize = 1_000;
/// How long one chunk is tried before that is logged and tried again.
const SUBMIT_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after a chunk could not be listed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often the catalog looks whether it has what the leader committed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until the copy is current, and lists the stocks if it has none.
pub(crate) async fn list_stocks(
    catalog: Arc<Catalog>,
    leader: Arc<Leader>,
    stocks: Vec<Listing>,
    shutdown: CancellationToken,
) {
    shutdown.run_until_cancelled(list_missing(&catalog, &leader, &stocks, &shutdown)).await;
}

async fn list_missing(catalog: &Catalog, leader: &Leader, stocks: &[Listing], shutdown: &CancellationToken) {
    // Only a copy that may be served is known to hold everything that was listed before.
    while catalog.read().serving(catalog.clock.now()) != Serving::Yes {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let missing = {
        let ledger = catalog.read();
        missing_chunks(stocks, ledger.listed(), |name| ledger.lookup(name, catalog.clock.now()).value.is_some())
    };
    for chunk in &missing {
        submit(leader, chunk, shutdown).await;
    }
    if !missing.is_empty() {
        tracing::info!(stocks = missing.iter().map(|chunk| chunk.len()).sum::<usize>(), "the first stocks are listed");
    }
    catalog.has_first_stocks.store(true, Ordering::Release);
}

/// The chunks to list: all of them if nothing is listed. A chunk is one log entry, so it is listed wholly or not at
/// all; if some are and others are not, an earlier first start was interrupted, and the others follow.
fn missing_chunks(stocks: &[Listing], listed: usize, is_listed: impl Fn(StockName) -> bool) -> Vec<&[Listing]> {
    let is_missing = |chunk: &&[Listing]| !chunk.iter().any(|listing| is_listed(listing.name));
    let chunks = stocks.chunks(CHUNK_LISTINGS_MAX);
    let missing: Vec<_> = chunks.clone().filter(is_missing).collect();
    if listed == 0 || missing.len() < chunks.len() { missing } else { Vec::new() }
}

async fn submit(leader: &Leader, chunk: &[Listing], shutdown: &CancellationToken) {
    let request = SubmitListings { listings: chunk.to_vec() };
    loop {
        match leader.submit_within(&request, SUBMIT_DEADLINE, shutdown).await {
            Ok(submitted) => {
                for (listing, decision) in chunk.iter().zip(&submitted.decisions) {
                    warn_if_refused(listing.name, decision);
                }
                return;
            }
            Err(error) => tracing::warn!(%error, "the first stocks could not be listed yet"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn warn_if_refused(stock: StockName, decision: &Decision) {
    let refused = match decision {
        Decision::Fresh(Outcome::Rejected(rejection)) | Decision::Replayed(Outcome::Rejected(rejection)) => {
            (*rejection != Rejection::AlreadyListed).then(|| rejection.to_string())
        }
        Decision::KeyReused => Some("it was listed before, with other values".into()),
        Decision::Fresh(_) | Decision::Replayed(_) => None,
    };
    if let Some(reason) = refused {
        tracing::warn!(%stock, reason, "a stock of the stocks file is not listed");
    }
}

#[cfg(test)]
mod tests {
    use bazaar_domain::{Cents, IdempotencyKey, ListingChange};

    use super::*;

    fn listings(count: usize) -> Vec<Listing> {
        let listing = |number: usize| Listing {
            key: IdempotencyKey::new(&format!("k{number}")).unwrap(),
            name: StockName::new(&format!("s{number}")).unwrap(),
            change: ListingChange::Reprice { price: Cents::new(1).unwrap() },
        };
        (0..count).map(listing).collect()
    }

    #[test]
    fn an_empty_copy_misses_every_chunk() {
        let stocks = listings(2_500);
        let sizes: Vec<usize> = missing_chunks(&stocks, 0, |_| false).iter().map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
    }

    #[test]
    fn an_interrupted_first_start_goes_on_behind_what_is_listed() {
        let stocks = listings(2_500);
        let first = |name: StockName| stocks[..1_000].iter().any(|listing| listing.name == name);
        let missing = missing_chunks(&stocks, 1_000, first);
        assert_eq!(missing.concat(), stocks[1_000..]);
    }

    #[test]
    fn a_copy_with_stocks_of_its_own_misses_nothing() {
        let stocks = listings(10);
        assert!(missing_chunks(&stocks, 10, |_| true).is_empty());
        assert!(missing_chunks(&stocks, 3, |_| false).is_empty());
    }
}
