//! The named bounds of the system. Each has its unit last in its name.

/// Longest name of a stock.
pub const STOCK_NAME_BYTES_MAX: usize = 32;
/// Longest idempotency key.
pub const KEY_BYTES_MAX: usize = 255;
/// Longest name of a token, which is kept before its keys.
pub const TOKEN_NAME_BYTES_MAX: usize = 32;
/// Largest quantity of one trade.
pub const TRADE_QUANTITY_MAX: u64 = 1_000_000_000;
/// Largest quantity a stock may hold, and largest trading volume: both stay exact as a JSON number (below 2^53).
pub const STOCK_QUANTITY_MAX: u64 = 1_000_000_000_000_000;
/// Highest price, in cents; exact as a JSON number with two decimals.
pub const PRICE_CENTS_MAX: u64 = 100_000_000_000;
/// Most trades in one `POST /orders/batch`, and in one log entry.
pub const BATCH_TRADES_MAX: usize = 8_192;
/// Most orders in one page of `GET /orders?after=`.
pub const PAGE_ORDERS_MAX: usize = 1_000;
/// Most orders that the reads of one internal request may return together.
pub const READS_ORDERS_MAX: usize = 1_024;
/// Orders in a page when the request names no limit.
pub const PAGE_ORDERS_DEFAULT: usize = 100;
/// Largest body of a single trade.
pub const TRADE_BODY_BYTES_MAX: usize = 16 * 1024;
/// Largest body of `POST /orders/batch`: every trade with the longest key and name.
pub const BATCH_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest body on an internal hop (a full inventory of 100,000 stocks fits).
pub const INTERNAL_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most stocks that can be listed.
pub const STOCKS_MAX: usize = 200_000;
