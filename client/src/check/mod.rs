//! `bazaar check`: compares all keepers of orders and stocks, from the outside.

pub mod audit;
pub mod replicas;
pub mod report;
pub mod stocks;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bazaar_domain::{Address, limits::PAGE_ORDERS_MAX};
use clap::Args;
use futures::future::{join_all, join3};
use tokio::time::Instant;

use crate::{
    Context,
    admin::{Replica, catalog_stocks},
    api::{Failure, Frontend},
    retry::retrying,
    workload::record::{Records, parse_records},
};
use audit::OrderAudit;
use report::{CheckReport, Row};
use stocks::Shown;

/// How long the check waits for replicas and stocks to come to rest.
const REST_WAIT_MAX: Duration = Duration::from_secs(30);
/// Stocks that show the same difference for so long are at rest: it will not go away.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// Pause between two looks at the stocks.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// How long a page of orders is retried.
const PAGE_RETRY_BUDGET: Duration = Duration::from_secs(30);

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar check
  bazaar check --records acknowledged     with the orders that a workload wrote down
  bazaar check --allow-unreachable        while a replica is away";

/// The arguments of `bazaar check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Acknowledged orders that must be there, as written by workload --records.
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// Replicas that do not answer are named, but do not fail the check.
    #[arg(long)]
    pub allow_unreachable: bool,
}

/// Runs the command.
///
/// # Errors
/// If a check does not hold, or the configuration or the records cannot be read.
pub async fn run(context: &Context, args: CheckArgs) -> Result<()> {
    let report = CheckReport::new(rows(context, args.records.as_deref(), args.allow_unreachable).await?);
    context.printer.print(&report);
    if !report.ok {
        bail!("not every check holds; see the rows marked FAIL");
    }
    Ok(())
}

/// Makes all checks of the cluster of the configuration; `records` names the acknowledged orders that must be there.
///
/// # Errors
/// If the configuration or the records cannot be read; what does not hold is a row.
pub async fn rows(context: &Context, records: Option<&Path>, allow_unreachable: bool) -> Result<Vec<Row>> {
    let config = context.cluster()?;
    let records = records.map_or_else(|| Ok(Records::new()), read_records)?;
    let all: Vec<Replica> =
        config.replicas.iter().map(|replica| Replica::new(replica, context.frontend.caller())).collect();
    Ok(check(&context.frontend, &config.catalog.service, &all, records, allow_unreachable).await)
}

fn read_records(path: &Path) -> Result<Records> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the records {shown} cannot be read, check --records"))?;
    parse_records(&text).with_context(|| format!("the records {shown} are damaged"))
}

/// Makes all checks.
async fn check(
    frontend: &Frontend,
    catalog: &Address,
    all: &[Replica],
    records: Records,
    allow_unreachable: bool,
) -> Vec<Row> {
    let counts = replicas::order_counts(all).await;
    let mut rows = vec![replicas::reachable_row(&counts, allow_unreachable)];
    let reachable: Vec<Replica> =
        all.iter().zip(&counts).filter(|(_, (_, count))| count.is_ok()).map(|(replica, _)| replica.clone()).collect();
    let common = counts.iter().filter_map(|(_, count)| count.as_ref().ok().copied()).min();
    let mut held = 0;
    if let Some(common) = common {
        rows.push(replicas::digest_row(&reachable, common).await);
        let (row, most) = replicas::same_count_row(&reachable, REST_WAIT_MAX).await;
        rows.push(row);
        held = most;
        if most != common {
            rows.push(replicas::digest_row(&reachable, most).await);
        }
    }
    rows.extend(orders_and_stocks(frontend, catalog, &reachable, records, held).await);
    rows
}

/// Reads all orders and then compares the stocks with them, again and again while trades are still being applied.
async fn orders_and_stocks(
    frontend: &Frontend,
    catalog: &Address,
    reachable: &[Replica],
    records: Records,
    held: u64,
) -> Vec<Row> {
    let mut audit = OrderAudit::new(records);
    if let Err(failure) = read_on(frontend, &mut audit).await {
        let details = format!("orders after {} cannot be read at {}: {failure}", audit.last_number(), frontend.url());
        return vec![Row::fail("orders can be read", details)];
    }
    let deadline = Instant::now() + REST_WAIT_MAX;
    let mut newest: Option<(Shown, Instant)> = None;
    let stock_rows = loop {
        let shown = look(frontend, catalog, reachable).await;
        let rows = stocks::rows(&shown, audit.sums());
        let now = Instant::now();
        let since = match &newest {
            Some((same, since)) if *same == shown => *since,
            _ => now,
        };
        if rows.iter().all(|row| row.passed) || now >= deadline || now - since >= SETTLED_AFTER {
            break rows;
        }
        newest = Some((shown, since));
        tokio::time::sleep(LOOK_PERIOD).await;
        // Orders that came in between belong to what the stocks show next.
        if let Err(failure) = read_on(frontend, &mut audit).await {
            break vec![Row::fail("orders can be read", failure.to_string())];
        }
    };
    audit.rows(held).into_iter().chain(stock_rows).collect()
}

/// Takes all orders behind the last one that was taken.
async fn read_on(frontend: &Frontend, audit: &mut OrderAudit) -> Result<(), Failure> {
    loop {
        let after = audit.last_number();
        let page = retrying(PAGE_RETRY_BUDGET, || frontend.orders(after, PAGE_ORDERS_MAX)).await.result?;
        page.data.iter().for_each(|order| audit.take(order));
        // A page that brings nothing new ends it, whatever it says about a next one.
        if page.next_after.is_none() || audit.last_number() == after {
            return Ok(());
        }
    }
}

/// Looks at every keeper's stocks.
async fn look(frontend: &Frontend, catalog: &Address, reachable: &[Replica]) -> Shown {
    let inventories = join_all(reachable.iter().map(async |replica| {
        let inventory = replica.inventory().await;
        (replica.id, inventory.map_err(|failure| failure.to_string()))
    }));
    let (replicas, catalog, frontend) =
        join3(inventories, catalog_stocks(frontend.caller(), catalog), frontend.stocks()).await;
    Shown {
        replicas,
        catalog: catalog.map_err(|failure| failure.to_string()),
        frontend: frontend.map_err(|failure| failure.to_string()),
    }
}
