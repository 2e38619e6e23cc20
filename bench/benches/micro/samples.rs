//! The stocks and trades that are measured: ten stocks as in `scripts/bench`, and keys as long as a UUID.

use bazaar_domain::{Cents, Command, IdempotencyKey, Quantity, Side, Stock, StockName, Trade};

/// Stocks on offer.
pub(crate) const STOCKS: u64 = 10;

/// The name of a stock.
pub(crate) fn name(stock: u64) -> StockName {
    format!("Stock-{stock}").parse().expect("letters, a dash and digits make a name")
}

/// A stock that is never sold out here.
pub(crate) fn stock(number: u64) -> Stock {
    let price = Cents::new(1_599).expect("a small price");
    Stock { name: name(number), price, quantity: 1_000_000_000_000, trade_volume: 0, version: 1, max_quantity: None }
}

/// The trade with this number: its key is its own, and grows with it as a UUIDv7 does with time.
pub(crate) fn trade(number: u64) -> Trade {
    let key = format!("01939a5c-7f00-7000-8000-{number:012x}");
    let key: IdempotencyKey = key.parse().expect("hexadecimal digits and dashes make a key");
    let side = if number.is_multiple_of(2) { Side::Buy } else { Side::Sell };
    Trade { key, name: name(number % STOCKS), side, quantity: Quantity::new(3).expect("more than none") }
}

/// The command of a log entry that holds so many trades, the first with this number.
pub(crate) fn command(first: u64, trades: u64) -> Command {
    Command::Trades((first..first + trades).map(trade).collect())
}
