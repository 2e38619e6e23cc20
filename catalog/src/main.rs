//! The catalog's process: arguments, configuration, listener.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use bazaar_catalog::Options;
use bazaar_domain::{Address, config::parse_stocks};
use bazaar_service::{
    CommonArgs, bind,
    start::{main_with, read_config_file},
};
use clap::Parser;
use tokio_util::sync::CancellationToken;

/// The catalog: price, quantity and trading volume of every stock.
#[derive(Debug, Parser)]
#[command(name = "bazaar-catalog", version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    /// The data directory.
    #[arg(long, env = "BAZAAR_CATALOG_DATA", default_value = "data/catalog", value_name = "DIR")]
    data: PathBuf,
    /// Where to listen, instead of the configuration's catalog.service.
    #[arg(long, env = "BAZAAR_CATALOG_SERVICE", value_name = "ADDR")]
    service: Option<Address>,
    /// The stocks of the first start, instead of the configuration's catalog.stocks.
    #[arg(long, env = "BAZAAR_CATALOG_STOCKS", value_name = "FILE")]
    stocks: Option<PathBuf>,
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let common = args.common.clone();
    main_with(&common, |shutdown| start(args, shutdown))
}

async fn start(args: Args, shutdown: CancellationToken) -> Result<()> {
    let config = args.common.load_config()?;
    let file = args.stocks.unwrap_or_else(|| args.common.beside_config(&config.catalog.stocks));
    let stocks = parse_stocks(&read_config_file(&file)?)
        .with_context(|| format!("the stocks file {} is wrong", file.display()))?;
    let listener = bind(args.service.as_ref().unwrap_or(&config.catalog.service), "the catalog", &config).await?;
    bazaar_catalog::run(listener, Arc::new(config), Options { data: args.data, stocks }, shutdown).await
}
