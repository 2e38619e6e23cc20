//! What requests are made of, asked of the frontend before the measurement.

use anyhow::{Result, bail};
use bazaar_domain::StockName;

use crate::api::{Failure, Frontend, explained};

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
        Kind::Order => last_order(frontend).await.map_err(explain)?,
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

/// The number of the newest order: doubled until there is none behind, then halved.
async fn last_order(frontend: &Frontend) -> Result<u64, Failure> {
    let (mut below, mut above) = (0, 1);
    while has_order_after(frontend, above - 1).await? {
        below = above;
        above *= 2;
    }
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if has_order_after(frontend, middle - 1).await? { below = middle } else { above = middle }
    }
    Ok(below)
}

async fn has_order_after(frontend: &Frontend, number: u64) -> Result<bool, Failure> {
    Ok(!frontend.orders(number, 1).await?.data.is_empty())
}
