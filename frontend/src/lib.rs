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

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bazaar_domain::config::ClusterConfig;
use bazaar_service::{Auth, Clock, HttpLimits, Tls, ended_early, serve, serve_express, tls::Identity};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use crate::ui::control::Playground;
use crate::{
    cache_log::CacheLog,
    catalog::Catalog,
    gateway::Gateway,
    http::{App, Timings, answers::Answers, express::PublicExpress, sites::Sites},
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
    run_with(Options::default(), listeners, config, shutdown).await
}

/// What is not in the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster whose processes the page can kill and restart.
    pub playground: Option<Playground>,
    /// Streams of orders at a time; more are refused.
    pub streams_max: usize,
    /// Pages that are kept current at a time.
    pub pages_max: usize,
    /// After this silence a stream of orders shows that it lives; as often it is checked who reads it.
    pub keep_alive_every: Duration,
    /// A client of the public listener that takes nothing of its answer for so long is cut off.
    pub write_stall_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            playground: None,
            streams_max: streams::STREAMS_MAX,
            pages_max: ui::stream::WATCHERS_MAX,
            keep_alive_every: streams::KEEP_ALIVE_EVERY,
            write_stall_max: HttpLimits::default().write_stall_max,
        }
    }
}

/// As [`run`], with these options.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    options: Options,
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
    let streams = Arc::new(Streams::new(gateway.clone(), &options, shutdown.clone()));
    let (timings, answers) = (Timings::new(), Answers::new());
    let app = Arc::new(App { lookups, catalog, gateway, streams: Arc::clone(&streams), auth, timings, answers });

    let limits = HttpLimits::default();
    let public_limits = HttpLimits {
        connections_max: config.frontend.connections_max,
        write_stall_max: options.write_stall_max,
        ..limits
    };
    let express = PublicExpress(Arc::clone(&app));
    let (ui, mut ui_task) = match no_page(&config) {
        Some(why) => (Err(why), None),
        None => {
            let (ui, task) = Ui::start(Arc::clone(&app), tls.caller(), &config, &options, shutdown.clone());
            (Ok(ui), Some(task))
        }
    };
    let sites = Sites::of(&listeners.public, config.frontend.public_name.as_deref());
    let public_routes = http::public_routes(Arc::clone(&app), ui, sites);
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
        // A page that is open would go on showing what was so, as if it were so still.
        Some(ended) = page_ended(ui_task.as_mut(), &shutdown) => Err(ended),
    };
    // The last handle went with the routes, unless a connection was cut off; its trades are safe under their keys.
    gateway_task.abort();
    if let Some(task) = ui_task {
        task.abort();
    }
    result
}

async fn page_ended(task: Option<&mut JoinHandle<()>>, shutdown: &CancellationToken) -> Option<anyhow::Error> {
    Some(ended_early(task?, "the task behind the page", shutdown).await)
}

/// Why there is no page, if there is none.
fn no_page(config: &ClusterConfig) -> Option<&'static str> {
    if config.auth.is_some() {
        return Some(
            "there is no page where tokens are asked for ([auth]): a browser sends none with it, and it shows every \
             trade; see docs/page.md",
        );
    }
    (!config.frontend.ui).then_some("the page is switched off (frontend.ui = false)")
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
