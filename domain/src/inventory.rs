//! The trade rule: whether a trade happens, and what the stock is afterwards.
//!
//! Invariant (conservation): for every stock `listed + sold_to_us - bought_from_us == quantity >= 0`. Each function
//! here returns either the whole next stock or a rejection; nothing is ever half changed.

use serde::{Deserialize, Serialize};

use crate::{
    command::{Listing, ListingChange, Trade},
    error::ErrorKind,
    limits::{STOCK_QUANTITY_MAX, STOCKS_MAX},
    words::{Cents, Side, StockName},
};

/// A stock: what it costs, how many there are, and how much was traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stock {
    /// Its name.
    pub name: StockName,
    /// What one costs.
    pub price: Cents,
    /// How many can be bought now.
    pub quantity: u64,
    /// Bought and sold together, since it was listed.
    pub trade_volume: u64,
    /// 1 when listed; one more with each accepted trade or listing change of this stock.
    pub version: u64,
    /// The most there may be.
    pub max_quantity: Option<u64>,
}

impl Stock {
    /// A sum over everything but the name, with which two keepers find that their copies differ. Two stocks that differ
    /// in one field have different 64-bit states (each step is a bijection), and so almost certainly different sums.
    /// The step is that of Firefox's hash; it is no defence against malice.
    pub fn checksum(&self) -> u32 {
        const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;
        let max_quantity = self.max_quantity.unwrap_or(u64::MAX);
        let words = [self.price.get(), self.quantity, self.trade_volume, self.version, max_quantity];
        let sum = words.into_iter().fold(0_u64, |sum, word| (sum.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER));
        (sum >> 32) as u32
    }
}

/// Why a trade or a listing change does not happen. Sticky: the same key gets the same answer for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// No stock of that name is listed.
    #[error("stock not found")]
    StockNotFound,
    /// A buy of more than there are.
    #[error("insufficient quantity: {available} available")]
    InsufficientQuantity {
        /// How many there were when the trade was decided.
        available: u64,
    },
    /// A sell or restock past the stock's maximum, or a trading volume past what can be counted.
    #[error("the stock cannot take that many: at most {max}")]
    QuantityLimit {
        /// The bound that would be passed.
        max: u64,
    },
    /// The stock is listed already.
    #[error("the stock is listed already")]
    AlreadyListed,
    /// As many stocks are listed as there may be.
    #[error("no more stocks can be listed")]
    TooManyStocks,
}

impl Rejection {
    /// The kind of error that a client sees.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::StockNotFound => ErrorKind::StockNotFound,
            Self::InsufficientQuantity { .. } => ErrorKind::InsufficientQuantity,
            Self::QuantityLimit { .. } => ErrorKind::QuantityLimit,
            Self::AlreadyListed => ErrorKind::AlreadyListed,
            Self::TooManyStocks => ErrorKind::TooManyStocks,
        }
    }
}

/// Decides a trade against the stock as it is now, and returns the stock as it is afterwards.
///
/// # Errors
/// The rejection, if the trade cannot happen; the stock is then as before.
pub fn decide(stock: Option<&Stock>, trade: &Trade) -> Result<Stock, Rejection> {
    let stock = stock.ok_or(Rejection::StockNotFound)?;
    let traded = trade.quantity.get();
    let quantity = match trade.side {
        Side::Buy => {
            stock.quantity.checked_sub(traded).ok_or(Rejection::InsufficientQuantity { available: stock.quantity })?
        }
        Side::Sell => grown(stock, traded)?,
    };
    let trade_volume = stock
        .trade_volume
        .checked_add(traded)
        .filter(|volume| *volume <= STOCK_QUANTITY_MAX)
        .ok_or(Rejection::QuantityLimit { max: STOCK_QUANTITY_MAX })?;
    Ok(Stock { quantity, trade_volume, version: stock.version + 1, ..*stock })
}

/// Decides a listing change against the stock as it is now (`listed` stocks exist in all).
///
/// # Errors
/// The rejection, if the change cannot happen.
pub fn decide_listing(stock: Option<&Stock>, listed: usize, listing: &Listing) -> Result<Stock, Rejection> {
    match (&listing.change, stock) {
        (ListingChange::List { .. }, Some(_)) => Err(Rejection::AlreadyListed),
        (ListingChange::List { .. }, None) if listed >= STOCKS_MAX => Err(Rejection::TooManyStocks),
        (ListingChange::List { price, quantity, max_quantity }, None) => {
            let max = max_quantity.unwrap_or(STOCK_QUANTITY_MAX).min(STOCK_QUANTITY_MAX);
            if *quantity > max {
                return Err(Rejection::QuantityLimit { max });
            }
            Ok(Stock {
                name: listing.name,
                price: *price,
                quantity: *quantity,
                trade_volume: 0,
                version: 1,
                max_quantity: *max_quantity,
            })
        }
        (_, None) => Err(Rejection::StockNotFound),
        (ListingChange::Reprice { price }, Some(stock)) => {
            Ok(Stock { price: *price, version: stock.version + 1, ..*stock })
        }
        (ListingChange::Restock { quantity }, Some(stock)) => {
            Ok(Stock { quantity: grown(stock, *quantity)?, version: stock.version + 1, ..*stock })
        }
    }
}

/// The quantity after `more` were added.
fn grown(stock: &Stock, more: u64) -> Result<u64, Rejection> {
    let max = stock.max_quantity.unwrap_or(STOCK_QUANTITY_MAX).min(STOCK_QUANTITY_MAX);
    stock.quantity.checked_add(more).filter(|quantity| *quantity <= max).ok_or(Rejection::QuantityLimit { max })
}
