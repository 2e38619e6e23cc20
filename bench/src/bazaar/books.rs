//! Nothing may have got lost under load.

use anyhow::{Context, Result, ensure};
use bazaar_domain::api::{Data, StockView};
use bazaar_tests::{cluster::REPLICAS, wait_until};

use super::Bazaar;

impl Bazaar {
    /// Checks that all replicas hold the same orders, and that the stocks moved by what these say: all are for one piece.
    ///
    /// # Errors
    /// If not.
    pub async fn check_books(&self) -> Result<()> {
        wait_until("all replicas hold the same orders", || self.agree()).await?;
        let orders = self.standing().await?.orders;
        let (_, answer) = self.cluster.get(&format!("{}/stocks", self.cluster.url())).await?;
        let stocks: Data<Vec<StockView>> = serde_json::from_value(answer).context("the stocks have another form")?;
        let moved: u64 = stocks.data.iter().map(|stock| stock.trade_volume).sum();
        ensure!(moved == orders, "there are {orders} orders, but the stocks moved by {moved}");
        Ok(())
    }

    /// Nothing, as long as the digests of the replicas' orders differ.
    async fn agree(&self) -> Option<()> {
        let first = self.position(REPLICAS[0]).await.ok()?;
        for replica in &REPLICAS[1..] {
            let other = self.position(*replica).await.ok()?;
            (first["digest"].is_object() && first["digest"] == other["digest"]).then_some(())?;
        }
        Some(())
    }
}
