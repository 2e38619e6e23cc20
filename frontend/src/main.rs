//! The process `bazaar-frontend`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Result;
use bazaar_domain::config::ClusterConfig;
use bazaar_frontend::{Listeners, run};
use bazaar_service::{CommonArgs, bind, start::main_with};
use clap::Parser;

/// Worker threads of the process.
const THREADS: usize = 2;

/// The HTTP frontend of the stock bazaar. A flag wins over its environment variable, that over the configuration file.
#[derive(Debug, Parser)]
#[command(name = "bazaar-frontend", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Where clients come.
    #[arg(long, env = "BAZAAR_FRONTEND_PUBLIC", value_name = "ADDRESS")]
    public: Option<SocketAddr>,
    /// Where the catalog pushes invalidations.
    #[arg(long, env = "BAZAAR_FRONTEND_INTERNAL", value_name = "ADDRESS")]
    internal: Option<SocketAddr>,
    /// Metrics.
    #[arg(long, env = "BAZAAR_FRONTEND_ADMIN", value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Stocks kept in the cache; 0 switches it off.
    #[arg(long, env = "BAZAAR_FRONTEND_CACHE_SIZE", value_name = "STOCKS")]
    cache_size: Option<usize>,
    /// Appends the cache's content to this file after each change.
    #[arg(long, env = "BAZAAR_FRONTEND_CACHE_LOG", value_name = "FILE")]
    cache_log: Option<PathBuf>,
    /// How often the order leader is checked, in milliseconds.
    #[arg(long, env = "BAZAAR_FRONTEND_HEALTH_CHECK_INTERVAL_MS", value_name = "MS")]
    health_check_interval_ms: Option<u64>,
    /// How long a trade is held and retried, in milliseconds.
    #[arg(long, env = "BAZAAR_FRONTEND_TRADE_DEADLINE_MS", value_name = "MS")]
    trade_deadline_ms: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    main_with(&args.common, THREADS, async |shutdown| {
        let config = configured(&args)?;
        let listeners = Listeners {
            public: bind(config.frontend.public, "the frontend's public listener").await?,
            internal: bind(config.frontend.internal, "the frontend's internal listener").await?,
            admin: bind(config.frontend.admin, "the frontend's admin listener").await?,
        };
        tracing::info!(public = %config.frontend.public, "the frontend takes requests");
        run(listeners, Arc::new(config), shutdown).await
    })
}

/// The configuration file with what flags and the environment override.
fn configured(args: &Args) -> Result<ClusterConfig> {
    let mut config = args.common.load_config()?;
    let part = &mut config.frontend;
    let beside_config = part.cache_log.as_ref().map(|path| args.common.beside_config(path));
    let cache_log = args.cache_log.clone().or(beside_config);
    part.cache_log = cache_log.map(|path| path.to_string_lossy().into_owned());
    part.public = args.public.unwrap_or(part.public);
    part.internal = args.internal.unwrap_or(part.internal);
    part.admin = args.admin.unwrap_or(part.admin);
    part.cache_size = args.cache_size.unwrap_or(part.cache_size);
    part.health_check_interval_ms = args.health_check_interval_ms.unwrap_or(part.health_check_interval_ms);
    part.trade_deadline_ms = args.trade_deadline_ms.unwrap_or(part.trade_deadline_ms);
    Ok(config)
}
