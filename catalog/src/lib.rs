//! The catalog: price, quantity and trading volume of every stock.
//!
//! It follows the order log: the leader publishes committed trades, the catalog decides them with the shared trade
//! rule, and exposes the new values once no frontend can show the older ones any more. The decisions are in [`ledger`],
//! [`decide`] and [`incoming`], without I/O; [`store`] keeps the copy; the other modules are thin shells around them.

mod catalog;
pub mod decide;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzzed;
mod http;
pub mod incoming;
mod initial;
mod leader;
mod lease;
pub mod ledger;
pub mod meters;
mod push;
pub mod store;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use bazaar_domain::{Listing, config::ClusterConfig};
use bazaar_service::{Auth, Clock, HttpLimits, Tls, data_dir::DataDir, ended_early, serve, tls::Identity};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use catalog::Catalog;
use leader::Leader;
use ledger::Ledger;
use store::RocksStore;

/// What the data directory belongs to.
const DATA_KIND: &str = "catalog";
/// The format of what is in it.
const DATA_FORMAT: u32 = 1;

/// What a catalog needs besides the cluster's configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; made if it is not there.
    pub data: PathBuf,
    /// The stocks of the first start.
    pub stocks: Vec<Listing>,
}

/// Runs a catalog on `listener` until `shutdown`. The data directory can be opened again once this returns.
///
/// # Errors
/// If the data directory or the files of TLS cannot be used, or a write to the directory fails later.
pub async fn run(
    listener: TcpListener,
    config: Arc<ClusterConfig>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<()> {
    bazaar_service::meters::begin(&[meters::METRICS, bazaar_service::meters::DATA]);
    let tls = Tls::load(config.tls.as_ref(), Identity::Catalog)?;
    let auth = Auth::load(config.auth.as_ref())?;
    let data = DataDir::open(&options.data, DATA_KIND, DATA_FORMAT)?;
    let (store, copy) = RocksStore::open(&data.path().join("copy"))?;
    tracing::info!(applied = copy.applied, stocks = copy.stocks.len(), data = %data.path().display(), "the catalog starts");
    let clock = Clock::start();
    let ledger = Ledger::new(Uuid::now_v7().as_u64_pair().1, config.leases, copy, clock.now());
    // A token of its own, so that a failure ends the tasks without ending the caller's other parts.
    let shutdown = shutdown.child_token();
    let (fatal, mut failure) = mpsc::channel(1);
    let catalog = Arc::new(Catalog::new(ledger, clock, tls.caller(), Arc::new(store), shutdown.clone(), fatal));
    let leader = Arc::new(Leader::new(&config, catalog.caller.clone()));

    let tasks = TaskTracker::new();
    let every = config.leases.renew_every();
    let mut lease = tasks.spawn(lease::keep(Arc::clone(&catalog), Arc::clone(&leader), every, shutdown.clone()));
    tasks.spawn(initial::list_stocks(Arc::clone(&catalog), Arc::clone(&leader), options.stocks, shutdown.clone()));
    tasks.close();
    let parts =
        http::Parts { catalog: Arc::clone(&catalog), leader, shutdown: shutdown.clone(), data: data.path().to_owned() };
    let served =
        serve(tls.internal(listener), http::routes(parts, &tls, &auth), HttpLimits::default(), shutdown.clone());
    let result = tokio::select! {
        biased;
        Some(error) = failure.recv() => Err(error),
        result = served => result.context("the catalog's listener failed"),
        ended = ended_early(&mut lease, "the keeper of the lease", &shutdown) => Err(ended),
    };
    shutdown.cancel();
    tasks.wait().await;
    catalog.close().await;
    result
}
