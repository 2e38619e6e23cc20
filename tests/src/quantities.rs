//! Compares every quantity that was shown with what the orders make of it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{Cluster, cluster::LISTED_QUANTITY, history::History, wait_until};

/// Orders of a page.
const PAGE_ORDERS: u64 = 1_000;
/// The version of a stock that was never traded.
pub const LISTED_VERSION: u64 = 1;

/// The quantity of each version of one stock.
type Versions = BTreeMap<u64, i64>;

/// Every quantity shown with a version must be what was listed, plus the sells and minus the buys up to that version, and
/// no order takes more than there was.
///
/// # Errors
/// If it is not so, or the orders cannot be read.
pub async fn check(history: &History, cluster: &Cluster) -> Result<()> {
    let orders = all_orders(cluster).await?;
    let expected = expected(&orders)?;
    let shown = history.quantities();
    for ((stock, version), quantity) in &shown {
        let listed = (*version == LISTED_VERSION).then_some(i64::try_from(LISTED_QUANTITY)?);
        let known = expected.get(stock.as_str()).and_then(|versions| versions.get(version).copied()).or(listed);
        ensure!(
            Some(i64::try_from(*quantity)?) == known,
            "{stock} at version {version}: {quantity}, and not {known:?}, which the orders say"
        );
    }
    println!("{} things seen, {} orders, {} quantities compared", history.len(), orders.len(), shown.len());
    Ok(())
}

/// All orders, oldest first.
async fn all_orders(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut orders = Vec::new();
    let mut after = 0;
    loop {
        let url = format!("{}/orders?after={after}&limit={PAGE_ORDERS}", cluster.url());
        // Refused while leaders change, as at any time.
        let page = wait_until(&url, || async {
            let (status, page) = cluster.get(&url).await.ok()?;
            (status == StatusCode::OK).then_some(page)
        })
        .await?;
        orders.extend(page["data"].as_array().with_context(|| format!("no page: {page}"))?.iter().cloned());
        match page["next_after"].as_u64() {
            Some(next) => after = next,
            None => return Ok(orders),
        }
    }
}

/// The quantities that the orders give each traded stock, version by version.
fn expected(orders: &[Value]) -> Result<HashMap<&str, Versions>> {
    let listed = i64::try_from(LISTED_QUANTITY)?;
    let mut stocks: HashMap<&str, Versions> = HashMap::new();
    for order in orders {
        let version = order["stock_version"].as_u64().context("a version")?;
        let quantity = order["quantity"].as_i64().context("a quantity")?;
        let change = if order["type"] == "sell" { quantity } else { -quantity };
        let versions = stocks.entry(order["name"].as_str().context("a name")?).or_default();
        let (last, before) =
            versions.last_key_value().map_or((LISTED_VERSION, listed), |(last, quantity)| (*last, *quantity));
        ensure!(version == last + 1, "{order} follows version {last}");
        ensure!(before + change >= 0, "{order}: there were {before}");
        versions.insert(version, before + change);
    }
    Ok(stocks)
}
