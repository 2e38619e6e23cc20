//! The HTTP frontend: answers lookups from a leased LRU cache, and takes trades and order reads to the order leader.
//!
//! [`cache`] and [`gateway`] decide without a clock and without I/O; everything else is a thin shell around them.

pub mod cache;
mod cache_log;
mod catalog;
pub mod gateway;
mod http;
mod internal;
mod lease;
mod legacy;
mod lookup;
pub mod meters;
mod streams;
mod ui;

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use bazaar_domain::config::ClusterConfig;
use bazaar_service::{Auth, Clock, HttpLimits, Tls, ended_early, serve, serve_express, tls::Identity};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use crate::ui::control::Playground;
use crate::{
    cache_log::CacheLog,
    catalog::Catalog,
    gateway::Gateway,
    http::{App, Timings, answers::Answers, express::PublicExpress},
    lease::LeaseKeeper,
    lookup::Lookups,
    streams::Streams,
    ui::Ui,
};

/// The frontend's bound listeners.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub public: TcpListener,
    /// For the catalog's invalidations.
    pub internal: TcpListener,
    /// For metrics.
    pub admin: TcpListener,
}

/// Serves until `shutdown`, finishes open requests, and gives the cache's lease back.
///
/// # Errors
/// If the cache log cannot be opened, a listener has no address, or the files of TLS do not serve.
pub async fn run(listeners: Listeners, config: Arc<ClusterConfig>, shutdown: CancellationToken) -> Result<()> {
    run_in(None, listeners, config, shutdown).await
}

/// As [`run`]; in a playground, the page can kill and restart processes.
///
/// # Errors
/// As [`run`].
pub async fn run_in(
    playground: Option<Playground>,
    listeners: Listeners,
    config: Arc<ClusterConfig>,
    shutdown: CancellationToken,
) -> Result<()> {
    bazaar_service::meters::begin(&[meters::METRICS]);
    let tls = Tls::load(config.tls.as_ref(), Identity::Frontend)?;
    let auth = Auth::load(config.auth.as_ref())?;
    let clock = Clock::start();
    let catalog = Catalog::new(tls.caller(), config.catalog.service.clone(), config.frontend.read_consistency);
    let log = match &config.frontend.cache_log {
        Some(path) => Some(CacheLog::open(Path::new(path)).await?),
        None => None,
    };
    let lookups = Arc::new(Lookups::new(config.frontend.cache_size, clock, catalog.clone(), log));
    let (gateway, mut gateway_task) = Gateway::start(&config, tls.caller(), clock);
    let internal_address = advertised(&listeners.internal, config.frontend.internal_advertised.as_deref())?;
    let lease = LeaseKeeper::new(Arc::clone(&lookups), tls.caller(), Arc::clone(&config), internal_address);
    let streams = Arc::new(Streams::new(gateway.clone(), shutdown.clone()));
    let (timings, answers) = (Timings::new(), Answers::new());
    let app = Arc::new(App { lookups, catalog, gateway, streams: Arc::clone(&streams), auth, timings, answers });

    let public_limits = HttpLimits { connections_max: config.frontend.connections_max, ..HttpLimits::default() };
    let limits = HttpLimits::default();
    let express = PublicExpress(Arc::clone(&app));
    // A browser's page cannot bring a token along, and it shows every trade.
    let has_page = config.frontend.ui && config.auth.is_none();
    let ui = has_page.then(|| Ui::start(Arc::clone(&app), tls.caller(), &config, playground, shutdown.clone()));
    let public_routes = http::public_routes(Arc::clone(&app), ui);
    let public = serve_express(tls.public(listeners.public), express, public_routes, public_limits, shutdown.clone());
    let internal_door = tls.internal(listeners.internal);
    let internal = serve(internal_door, internal::routes(Arc::clone(&app), &tls), limits, shutdown.clone());
    let admin = serve(tls.internal(listeners.admin), http::admin_routes(app), limits, shutdown.clone());
    let serving = async {
        let (public, internal, admin, ()) = tokio::join!(public, internal, admin, lease.run(shutdown.clone()));
        public.and(internal).and(admin).context("a listener failed")
    };
    let result = tokio::select! {
        biased;
        result = serving => result,
        never = streams.follow() => match never {},
        // Without the gateway every trade would be refused for ever: better the process ends and is started anew.
        ended = ended_early(&mut gateway_task, "the order gateway", &shutdown) => Err(ended),
    };
    // The last handle went with the routes, unless a connection was cut off; its trades are safe under their keys.
    gateway_task.abort();
    result
}

/// How the catalog reaches the internal listener.
fn advertised(internal: &TcpListener, configured: Option<&str>) -> Result<String> {
    if let Some(address) = configured {
        return Ok(address.to_owned());
    }
    let bound = internal.local_addr().context("the internal listener has no address")?;
    // The catalog would call itself: no invalidation would arrive, and every trade would wait for a lease to end.
    anyhow::ensure!(
        !bound.ip().is_unspecified(),
        "frontend.internal is bound to all addresses ({bound}); give frontend.internal_advertised, the host and port that the catalog reaches"
    );
    Ok(bound.to_string())
}
