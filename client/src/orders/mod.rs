//! `bazaar orders`: lists orders, or follows them as they are made.

mod events;
mod follow;
mod list;

pub(crate) use list::newest;

use anyhow::Result;
use bazaar_domain::{StockName, api::OrderView, limits::PAGE_ORDERS_MAX};
use clap::Args;
use serde::Serialize;

use crate::{Context, api::explained, interrupt::until_interrupted, order::orders_table, output::Report};

/// Most orders that are listed at a time.
const ORDERS_MAX: u64 = 1_000_000;

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar orders                              the newest 20
  bazaar orders --after 0 --limit 100        the first 100
  bazaar orders --stock GameStart            the newest 20 of one stock; all orders are read for that
  bazaar orders --follow                     each order from now on, until Ctrl-C
  bazaar orders --follow --after 0 --output json

--follow connects again by itself when the connection breaks, goes on behind the last order that it showed, and checks
that no number is left out. Ctrl-C ends it with exit code 0.";

/// The arguments of `bazaar orders`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct OrdersArgs {
    /// Show orders behind this number; without this the newest ones, or with --follow those made from now on.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub after: Option<u64>,
    /// Show at most so many orders [default: 20, or with --follow all].
    #[arg(long, value_name = "ORDERS", value_parser = clap::value_parser!(u64).range(1..=ORDERS_MAX))]
    pub limit: Option<u64>,
    /// Show only orders of the stock of this name.
    #[arg(long, value_name = "NAME")]
    pub stock: Option<StockName>,
    /// Go on showing orders as they are made, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
}

impl OrdersArgs {
    fn wants(&self, order: &OrderView) -> bool {
        self.stock.is_none_or(|stock| stock == order.name)
    }
}

#[derive(Debug, Serialize)]
struct OrdersReport {
    orders: Vec<OrderView>,
}

impl Report for OrdersReport {
    fn to_text(&self, colour: bool) -> String {
        orders_table(&self.orders, colour)
    }
}

/// Runs the command.
///
/// # Errors
/// If the orders cannot be read, or a followed number is left out.
pub async fn run(context: &Context, args: OrdersArgs) -> Result<()> {
    if args.follow {
        return until_interrupted(follow::run(context, &args)).await;
    }
    let orders = list::read(&context.frontend, &args, PAGE_ORDERS_MAX).await;
    let orders = orders.map_err(|failure| explained(&context.frontend, &failure))?;
    context.printer.print(&OrdersReport { orders });
    Ok(())
}
