//! The process `bazaar-frontend`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result};
use bazaar_domain::{
    Address,
    config::{ClusterConfig, ReadConsistency},
};
use bazaar_frontend::{Listeners, Options, Playground, run_with};
use bazaar_service::{CommonArgs, bind, start::main_with};
use clap::Parser;

/// Frontends on one machine, at most: as many as the service ports of the configuration leave room for.
const INSTANCES_MAX: i64 = 50;
/// How far the ports of two frontends on one machine are apart.
const INSTANCE_PORTS: u16 = 100;
/// The HTTP frontend of the stock bazaar. A flag wins over its environment variable, that over the configuration file.
#[derive(Debug, Parser)]
#[command(name = "bazaar-frontend", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// Which of several frontends on this machine: each after the first takes the configuration's ports plus 100, 200, …,
    /// and its cache log is numbered.
    #[arg(long, env = "BAZAAR_FRONTEND_INSTANCE", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=INSTANCES_MAX))]
    instance: u16,
    /// Where clients come.
    #[arg(long, env = "BAZAAR_FRONTEND_PUBLIC", value_name = "ADDRESS")]
    public: Option<SocketAddr>,
    /// Where the catalog pushes invalidations.
    #[arg(long, env = "BAZAAR_FRONTEND_INTERNAL", value_name = "ADDRESS")]
    internal: Option<SocketAddr>,
    /// How the catalog reaches the internal listener, if not at the address that it is bound to.
    #[arg(long, env = "BAZAAR_FRONTEND_INTERNAL_ADVERTISED", value_name = "ADDRESS")]
    internal_advertised: Option<Address>,
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
    /// What a lookup gets while the catalog cannot promise a current answer: `strong` for an error, `stale-ok` for what
    /// the catalog has, marked as stale.
    #[arg(long, env = "BAZAAR_FRONTEND_READ_CONSISTENCY", value_name = "CONSISTENCY")]
    read_consistency: Option<ReadConsistency>,
    /// Whether the page /ui is served.
    #[arg(long, env = "BAZAAR_FRONTEND_UI", value_name = "true|false")]
    ui: Option<bool>,
    /// The folder of the cluster, if the page may kill and restart its processes; 'scripts/cluster start --playground'
    /// sets it.
    #[arg(long, env = "BAZAAR_PLAYGROUND", value_name = "DIR", requires = "playground_script")]
    playground: Option<PathBuf>,
    /// The script with which it does so.
    #[arg(long, env = "BAZAAR_PLAYGROUND_SCRIPT", value_name = "FILE")]
    playground_script: Option<PathBuf>,
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    main_with(&args.common, async |shutdown| {
        let config = configured(&args)?;
        let playground = playground(&args, &config)?;
        let listeners = Listeners {
            public: bind(&config.frontend.public.into(), "the frontend's public listener", &config).await?,
            internal: bind(&config.frontend.internal.into(), "the frontend's internal listener", &config).await?,
            admin: bind(&config.frontend.admin.into(), "the frontend's admin listener", &config).await?,
        };
        tracing::info!(public = %config.frontend.public, "the frontend takes requests");
        let options = Options { playground, ..Options::default() };
        run_with(options, listeners, Arc::new(config), shutdown).await
    })
}

/// The cluster that the page may break, if it is one for that.
fn playground(args: &Args, config: &ClusterConfig) -> Result<Option<Playground>> {
    let (Some(data), Some(script)) = (&args.playground, &args.playground_script) else { return Ok(None) };
    let public = config.frontend.public;
    anyhow::ensure!(public.ip().is_loopback(), "a playground is for this machine only, and {public} is for others too");
    Playground::open(script, data, &args.common.config).map(|playground| Some(playground.of_frontend(args.instance)))
}

/// The configuration file with what flags and the environment override.
fn configured(args: &Args) -> Result<ClusterConfig> {
    let mut config = args.common.load_config()?;
    let part = &mut config.frontend;
    for address in [&mut part.public, &mut part.internal, &mut part.admin] {
        *address = of_instance(*address, args.instance)?;
    }
    if let Some(advertised) = &mut part.internal_advertised {
        *advertised = advertised_by_instance(advertised, args.instance)?;
    }
    if let Some(advertised) = &args.internal_advertised {
        part.internal_advertised = Some(advertised.to_string());
    }
    let beside_config = part.cache_log.as_ref().map(|path| args.common.beside_config(path));
    let cache_log = args.cache_log.clone().or(beside_config);
    part.cache_log = cache_log.map(|path| numbered(&path, args.instance).to_string_lossy().into_owned());
    part.public = args.public.unwrap_or(part.public);
    part.internal = args.internal.unwrap_or(part.internal);
    part.admin = args.admin.unwrap_or(part.admin);
    part.cache_size = args.cache_size.unwrap_or(part.cache_size);
    part.health_check_interval_ms = args.health_check_interval_ms.unwrap_or(part.health_check_interval_ms);
    part.read_consistency = args.read_consistency.unwrap_or(part.read_consistency);
    part.ui = args.ui.unwrap_or(part.ui);
    part.trade_deadline_ms = args.trade_deadline_ms.unwrap_or(part.trade_deadline_ms);
    Ok(config)
}

/// The address of a listener of one of several frontends on this machine.
fn of_instance(mut address: SocketAddr, instance: u16) -> Result<SocketAddr> {
    address.set_port(port_of_instance(address.port(), instance)?);
    Ok(address)
}

/// Likewise for the `host:port` at which the catalog reaches the internal listener.
fn advertised_by_instance(advertised: &str, instance: u16) -> Result<String> {
    let (host, port) = advertised.rsplit_once(':').context("frontend.internal_advertised is host:port")?;
    let port = port.parse().context("frontend.internal_advertised is host:port")?;
    Ok(format!("{host}:{}", port_of_instance(port, instance)?))
}

fn port_of_instance(port: u16, instance: u16) -> Result<u16> {
    let moved = port.checked_add((instance - 1) * INSTANCE_PORTS);
    moved.with_context(|| format!("frontend {instance} would need a port above 65535"))
}

/// `cache.log` becomes `cache-2.log` for the second frontend.
fn numbered(path: &Path, instance: u16) -> PathBuf {
    if instance == 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{instance}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{instance}"),
    };
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frontend_of_a_machine_has_its_own_ports_and_cache_log() {
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(of_instance(address, 1).unwrap(), address);
        assert_eq!(of_instance(address, 3).unwrap().port(), 8280);
        assert!(of_instance("127.0.0.1:65500".parse().unwrap(), 2).is_err());
        assert_eq!(advertised_by_instance("shop.example:8081", 2).unwrap(), "shop.example:8181");
        assert!(advertised_by_instance("shop.example", 2).is_err());
        assert_eq!(numbered(Path::new("logs/cache.log"), 1), Path::new("logs/cache.log"));
        assert_eq!(numbered(Path::new("logs/cache.log"), 2), Path::new("logs/cache-2.log"));
        assert_eq!(numbered(Path::new("cache"), 3), Path::new("cache-3"));
    }
}
