//! `bazaar stocks`: lists all stocks.

use anyhow::Result;
use bazaar_domain::api::StockView;
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
  bazaar stocks
  bazaar stocks --output json";

/// The arguments of `bazaar stocks`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StocksArgs {}

#[derive(Debug, Serialize)]
struct StocksReport {
    stocks: Vec<StockView>,
}

impl Report for StocksReport {
    fn to_text(&self, colour: bool) -> String {
        let mut rows = table(&["NAME", "PRICE", "QUANTITY", "VOLUME", "VERSION"], colour);
        for StockView { name, price, quantity, trade_volume, version } in &self.stocks {
            let numbers = [*quantity, *trade_volume, *version].map(|number| number.to_string());
            rows.add_row([name.to_string(), price.to_string()].into_iter().chain(numbers));
        }
        table_text(&rows)
    }
}

/// Runs the command.
///
/// # Errors
/// If the stocks cannot be read.
pub async fn run(context: &Context) -> Result<()> {
    let stocks = context.frontend.stocks().await;
    let stocks = stocks.map_err(|failure| explained(&context.frontend, &failure))?;
    context.printer.print(&StocksReport { stocks });
    Ok(())
}
