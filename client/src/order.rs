//! `bazaar order`: shows an order.

use anyhow::Result;
use bazaar_domain::api::OrderView;
use clap::Args;
use serde::Serialize;

use crate::{
    Context,
    api::explained,
    output::{Report, table, table_text},
};

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar order 1
  bazaar order 1 --output json";

/// The arguments of `bazaar order`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct OrderArgs {
    /// The order's number, from 1.
    #[arg(allow_negative_numbers = true)]
    pub number: u64,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct OrderReport(OrderView);

impl Report for OrderReport {
    fn to_text(&self, colour: bool) -> String {
        orders_table([&self.0], colour)
    }
}

/// Orders as a table.
pub fn orders_table<'a>(orders: impl IntoIterator<Item = &'a OrderView>, colour: bool) -> String {
    let mut rows = table(&["ORDER", "NAME", "TYPE", "QUANTITY", "PRICE", "STOCK VERSION", "KEY"], colour);
    for order in orders {
        let OrderView { number, name, side, quantity, price, stock_version, key } = order;
        rows.add_row([
            number.to_string(),
            name.to_string(),
            side.to_string(),
            quantity.to_string(),
            price.to_string(),
            stock_version.to_string(),
            key.to_string(),
        ]);
    }
    table_text(&rows)
}

/// Runs the command.
///
/// # Errors
/// If there is no such order, or nobody can tell.
pub async fn run(context: &Context, args: OrderArgs) -> Result<()> {
    let answer = context.frontend.order(args.number).await;
    let order = answer.map_err(|failure| explained(&context.frontend, &failure))?;
    context.printer.print(&OrderReport(order));
    Ok(())
}
