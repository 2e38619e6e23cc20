//! The arguments, and the way from a command's name to its code.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bazaar_domain::{
    Quantity,
    config::{ClusterConfig, FrontendConfig},
};
use bazaar_service::start::read_config_file;
use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::{
    access::{Access, AccessArgs},
    api::Frontend,
    backup, bench, certs, check, crash, failover, init, log, manual, members, order, orders,
    output::{Format, Printer},
    query, ready, restore, status, stocks, sweep,
    terminal::Colour,
    tokens, tour, trade, workload,
};

/// Worker threads of every command but `bench`.
const WORKER_THREADS: usize = 2;

/// Longest that a command can be told to wait, in seconds: a day.
pub const WAIT_S_MAX: u64 = 86_400;

/// The configuration of whoever is in a checkout.
pub const CONFIG_DEFAULT: &str = "config/cluster.toml";

/// Above the flags of all commands in the help of each.
pub const GLOBAL: &str = "Global options";

/// Trades and looks up at the stock bazaar, measures it, and checks that it keeps its promises.
#[derive(Debug, Parser)]
#[command(name = "bazaar", version)]
pub struct Cli {
    /// What all commands take.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands take.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// The frontend [default: the public address in the configuration file, or else http://127.0.0.1:8080].
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub url: Option<String>,
    /// The cluster's configuration file; commands that look at replicas take their addresses from it [default:
    /// config/cluster.toml].
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// TLS and tokens.
    #[command(flatten)]
    pub access: AccessArgs,
    /// How results are printed on standard output; remarks and progress go to standard error.
    #[arg(long, global = true, default_value = "table", help_heading = GLOBAL)]
    pub output: Format,
    /// When tables are coloured.
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN", visible_alias = "colour", help_heading = GLOBAL)]
    pub color: Colour,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lead through a trade, a leader's death, a lost quorum and the final check, on the running cluster.
    Tour(tour::TourArgs),
    /// The classic client: look up stocks, trade, fetch every acknowledged order back and compare.
    Workload(workload::WorkloadArgs),
    /// List all stocks.
    Stocks(stocks::StocksArgs),
    /// Look a stock up.
    Query(query::QueryArgs),
    /// Buy or sell.
    Trade(trade::TradeArgs),
    /// Show an order.
    Order(order::OrderArgs),
    /// List orders, or show each one as it is made.
    Orders(orders::OrdersArgs),
    /// Check that all keepers hold the same orders and stocks, and that nothing is lost, doubled or made up.
    Check(check::CheckArgs),
    /// Show the state of every process, and what the cluster can bear.
    Status(status::StatusArgs),
    /// Found a cluster of replicas that wait with empty data directories.
    Init(init::InitArgs),
    /// Say whether a process can serve, or wait until it can.
    Ready(ready::ReadyArgs),
    /// Show the members of the cluster, or change them.
    Members(members::MembersArgs),
    /// Take the leader away while clients trade, and say how long no trade was answered.
    Failover(failover::FailoverArgs),
    /// Kill random replicas while clients run, bring them back, and compare all databases.
    Crash(crash::CrashArgs),
    /// Show entries of a replica's log.
    Log(log::LogArgs),
    /// Take a backup of all orders and stocks from a running replica, or check one.
    Backup(backup::BackupArgs),
    /// Make the data of a new cluster from a backup.
    Restore(restore::RestoreArgs),
    /// Make a development authority and certificates for TLS, or show when they end.
    Certs(certs::CertsArgs),
    /// Make tokens for those who may trade, read or administrate.
    Tokens(tokens::TokensArgs),
    /// Measure throughput and latency over real connections.
    Bench(bench::BenchArgs),
    /// Measure latencies by the probability of a trade, with the cache on and off, and draw them.
    Sweep(sweep::SweepArgs),
    /// Print what makes a shell complete commands and flags.
    Completions(manual::CompletionsArgs),
    /// Print or write the manual.
    Man(manual::ManArgs),
}

impl Command {
    /// Whether it calls processes. What makes certificates must work before there are any.
    fn asks_processes(&self) -> bool {
        !matches!(self, Self::Certs(_) | Self::Tokens(_) | Self::Restore(_) | Self::Completions(_) | Self::Man(_))
    }
}

/// What a command works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// The frontend.
    pub frontend: Frontend,
    /// Where results go.
    pub printer: Printer,
    /// Whether the frontend is the one that commands take without --url.
    pub is_default_url: bool,
    config: PathBuf,
}

impl Context {
    /// The cluster's configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.config.clone()
    }

    /// Reads the cluster's configuration.
    ///
    /// # Errors
    /// If it cannot be read or is wrong; the message names the file and the flag.
    pub fn cluster(&self) -> Result<ClusterConfig> {
        read_cluster(&self.config)
    }
}

impl Cli {
    /// The runtime that suits the command.
    ///
    /// # Errors
    /// If the operating system refuses a thread.
    pub fn runtime(&self) -> io::Result<Runtime> {
        if matches!(self.command, Command::Bench(_)) {
            // The load has threads and runtimes of its own; here is only what waits for them.
            Builder::new_current_thread().enable_all().build()
        } else {
            Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()
        }
    }
}

/// Runs a command.
///
/// # Errors
/// If not all went well; the report, if there is one, is printed before.
pub async fn run(cli: Cli) -> Result<()> {
    let GlobalArgs { url, config, access, output, color } = cli.global;
    let is_named = config.is_some();
    let config = config.unwrap_or_else(|| CONFIG_DEFAULT.into());
    let (access, public) = if cli.command.asks_processes() {
        let public = frontend_of(&config, is_named)?;
        (access.resolve(&config)?, public)
    } else {
        (Access::default(), FrontendConfig::default().public)
    };
    let default_url = access.caller().url(public, "");
    let frontend = Frontend::reached_by(access, url.as_ref().unwrap_or(&default_url))?;
    let is_default_url = frontend.url() == default_url;
    let context = Context { frontend, printer: Printer::new(output, color.wanted()), is_default_url, config };
    match cli.command {
        Command::Tour(args) => tour::run(&context, args).await,
        Command::Workload(args) => workload::run(&context, args).await,
        Command::Stocks(_) => stocks::run(&context).await,
        Command::Query(args) => query::run(&context, args).await,
        Command::Trade(args) => trade::run(&context, args).await,
        Command::Order(args) => order::run(&context, args).await,
        Command::Orders(args) => orders::run(&context, args).await,
        Command::Check(args) => check::run(&context, args).await,
        Command::Status(args) => status::run(&context, args).await,
        Command::Init(args) => init::run(&context, args).await,
        Command::Ready(args) => ready::run(&context, args).await,
        Command::Members(args) => members::run(&context, args).await,
        Command::Failover(args) => failover::run(&context, args).await,
        Command::Crash(args) => crash::run(&context, args).await,
        Command::Log(args) => log::run(&context, args).await,
        Command::Backup(args) => backup::run(&context, args).await,
        Command::Restore(args) => restore::run(&context, args).await,
        Command::Certs(args) => certs::run(&context, &args),
        Command::Tokens(args) => tokens::run(&context, &args),
        Command::Bench(args) => bench::run(&context, args).await,
        Command::Sweep(args) => sweep::run(&context, args).await,
        Command::Completions(args) => manual::completions(&context, &args),
        Command::Man(args) => manual::man(&context, &args),
    }
}

/// Reads a quantity from an argument.
///
/// # Errors
/// If it is no whole number, 0 or too large.
pub fn parse_quantity(text: &str) -> Result<Quantity, String> {
    let number = text.parse().map_err(|_| "a quantity is a whole number from 1 to 1000000000".to_owned())?;
    Quantity::new(number).map_err(|word| word.0)
}

/// The frontend of the cluster that the configuration file describes. Most commands need nothing else from the file, so
/// where nobody named one and there is none, the default address serves. A named one that cannot be read is another
/// cluster than the default one.
fn frontend_of(config: &Path, is_named: bool) -> Result<SocketAddr> {
    let public = if !is_named && !config.exists() {
        FrontendConfig::default().public
    } else {
        read_cluster(config)?.frontend.public
    };
    Ok(reachable(public))
}

/// How a listener is reached from its own machine: one that is bound to all addresses also has that of loopback, which
/// is the one that certificates name.
fn reachable(mut listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listener
}

fn read_cluster(path: &Path) -> Result<ClusterConfig> {
    let text = read_config_file(path).context("name the cluster's file with --config")?;
    ClusterConfig::parse(&text).with_context(|| {
        format!("the configuration {} is wrong, correct it or name another with --config", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_frontend_on_all_addresses_is_called_on_loopback() {
        let called = |listener: &str| reachable(listener.parse().unwrap()).to_string();
        assert_eq!(called("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(called("[::]:8080"), "[::1]:8080");
        assert_eq!(called("10.0.0.1:8080"), "10.0.0.1:8080");
    }
}
