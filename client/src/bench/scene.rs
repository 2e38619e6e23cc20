//! What requests are made of, asked of the frontend before the measurement.

use anyhow::{Result, bail};
use bazaar_domain::StockName;

use crate::{
    api::{Failure, Frontend, explained},
    orders::newest,
};

use super::{BenchArgs, Kind, generator::Scene, wire::Target};

/// The stocks, and for order reads how many orders there are.
///
/// # Errors
/// If the frontend does not answer, or has nothing to measure with.
pub async fn scene(frontend: &Frontend, target: &Target, args: &BenchArgs) -> Result<Scene> {
    let explain = |failure: Failure| explained(frontend, &failure);
    let stocks: Vec<StockName> = frontend.stocks().await.map_err(explain)?.iter().map(|stock| stock.name).collect();
    if stocks.is_empty() {
        bail!("no stock is listed; list one at the catalog, or check --url");
    }
    let orders = match args.kind {
        Kind::Order => newest(frontend).await.map_err(explain)?,
        _ => 0,
    };
    if args.kind == Kind::Order && orders == 0 {
        bail!("there are no orders to read yet; run 'bazaar bench --kind trade' first");
    }
    let run = rand::random();
    let token = frontend.access().authorization().map_or(String::new(), |text| format!("authorization: {text}\r\n"));
    let headers = format!("host: {}\r\n{token}", target.authority);
    Ok(Scene { kind: args.kind, headers, stocks, orders, batch_size: args.batch_size, run })
}
