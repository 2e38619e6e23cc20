//! How many bytes an order has: as its client sent it, and as it is stored.

use anyhow::{Context, Result, ensure};
use bazaar_domain::{
    Order,
    api::{KeyedTradeBody, OrderPage, OrderView},
    codec,
};
use serde::Serialize;

use super::Bazaar;

/// Orders that are looked at: the newest ones.
const SAMPLE_ORDERS: u64 = 100;
/// The key of an order in the database is its number in eight bytes.
const KEY_BYTES: f64 = 8.0;

/// Mean bytes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OrderBytes {
    /// As JSON with its key: what the client wanted, without HTTP around it.
    pub sent: f64,
    /// As a record under its number.
    pub stored: f64,
}

impl Bazaar {
    /// Measures the newest orders.
    ///
    /// # Errors
    /// If there are none.
    pub async fn order_bytes(&self) -> Result<OrderBytes> {
        let after = self.standing().await?.orders.saturating_sub(SAMPLE_ORDERS);
        let url = format!("{}/orders?after={after}&limit={SAMPLE_ORDERS}", self.cluster().url());
        let (_, answer) = self.cluster().get(&url).await?;
        let page: OrderPage = serde_json::from_value(answer).context("a page of orders has another form")?;
        mean(&page.data)
    }
}

fn mean(orders: &[OrderView]) -> Result<OrderBytes> {
    ensure!(!orders.is_empty(), "there are no orders to measure");
    let count = orders.len() as f64;
    let sent: usize = orders.iter().map(|order| sent(order).map(|body| body.len())).sum::<Result<_>>()?;
    let stored: usize = orders.iter().map(|order| codec::encode(&record(order)).len()).sum();
    Ok(OrderBytes { sent: sent as f64 / count, stored: stored as f64 / count + KEY_BYTES })
}

fn sent(order: &OrderView) -> Result<Vec<u8>> {
    let OrderView { key, name, side, quantity, .. } = order.clone();
    Ok(serde_json::to_vec(&KeyedTradeBody { key, name, side, quantity })?)
}

fn record(order: &OrderView) -> Order {
    let OrderView { number, name, side, quantity, price, stock_version, key } = order.clone();
    // An order's entry is not shown; its number is at least as large, and both take as many bytes or one more.
    Order { number, key, name, side, quantity, price, stock_version, log_index: number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_smaller_in_the_store_than_as_json() {
        let order: OrderView = serde_json::from_str(
            r#"{"number":300,"name":"S1","type":"buy","quantity":1,"price":15.99,"stock_version":40,"key":"bench-1"}"#,
        )
        .unwrap();
        let bytes = mean(&[order.clone(), order]).unwrap();
        assert_eq!(bytes.sent, br#"{"key":"bench-1","name":"S1","type":"buy","quantity":1}"#.len() as f64);
        assert!(bytes.stored > KEY_BYTES + 10.0 && bytes.stored < bytes.sent, "{bytes:?}");
        assert!(mean(&[]).is_err());
    }
}
