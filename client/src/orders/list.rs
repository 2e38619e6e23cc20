//! Finds the orders that are to be listed, page by page.

use std::collections::VecDeque;

use bazaar_domain::api::OrderView;

use super::OrdersArgs;
use crate::api::{Failure, Frontend};

/// How many are listed if nothing else is said.
const LIMIT_DEFAULT: u64 = 20;

/// The orders that the arguments ask for, by number.
///
/// # Errors
/// If a page cannot be read.
pub(super) async fn read(frontend: &Frontend, args: &OrdersArgs, page_size: usize) -> Result<Vec<OrderView>, Failure> {
    let limit = usize::try_from(args.limit.unwrap_or(LIMIT_DEFAULT)).unwrap_or(usize::MAX);
    let start = match (args.after, args.stock) {
        (Some(after), _) => after,
        // Numbers have no gap, so the newest ones are found without reading those before.
        (None, None) => newest(frontend).await?.saturating_sub(limit as u64),
        (None, Some(_)) => 0,
    };
    let (mut found, mut position) = (VecDeque::new(), start);
    loop {
        let page = frontend.orders(position, page_size).await?;
        position = page.data.last().map_or(position, |order| order.number);
        for order in page.data.into_iter().filter(|order| args.wants(order)) {
            found.push_back(order);
            if args.after.is_some() && found.len() == limit {
                return Ok(found.into());
            }
            if found.len() > limit {
                found.pop_front();
            }
        }
        if page.next_after.is_none() {
            return Ok(found.into());
        }
    }
}

/// The number of the newest order; 0 if there is none.
///
/// # Errors
/// If the orders cannot be read.
pub(crate) async fn newest(frontend: &Frontend) -> Result<u64, Failure> {
    // Invariant: there is no order behind `above`, and one behind `below`, unless that is 0.
    let (mut below, mut above) = (0, 1);
    while !frontend.orders(above, 1).await?.data.is_empty() {
        (below, above) = (above, above.saturating_mul(2));
    }
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if frontend.orders(middle, 1).await?.data.is_empty() { above = middle } else { below = middle }
    }
    let last = frontend.orders(below, 1).await?.data.first().map(|order| order.number);
    Ok(last.unwrap_or(below))
}
