//! One key, one outcome: however often and whenever it is sent.

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, cluster::LISTED_QUANTITY, wait_until};
use futures::future::try_join_all;

const SENT_AT_ONCE: usize = 100;

#[tokio::test]
async fn a_key_sent_a_hundred_times_at_once_trades_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    let answers = try_join_all((0..SENT_AT_ONCE).map(|_| cluster.trade("one-key", "S1", "buy", 3))).await?;
    same_answers(&answers)?;
    let stock = cluster.stock("S1").await?;
    ensure!(stock["quantity"] == LISTED_QUANTITY - 3 && stock["version"] == 2, "{stock}");
    Ok(())
}

#[tokio::test]
async fn a_key_sent_a_hundred_times_across_a_failover_trades_once() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let leader = Name::Replica(cluster.leader().await?);
    let before = try_join_all((0..SENT_AT_ONCE / 2).map(|_| cluster.trade("one-key", "S1", "sell", 3))).await?;
    cluster.kill(leader);
    let after = try_join_all((0..SENT_AT_ONCE / 2).map(|_| cluster.trade("one-key", "S1", "sell", 3))).await?;
    same_answers(&[before, after].concat())?;
    let stock = cluster.stock("S1").await?;
    ensure!(stock["quantity"] == LISTED_QUANTITY + 3 && stock["version"] == 2, "{stock}");
    cluster.restart(leader).await?;
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_hundred_new_keys_in_flight_when_the_leader_dies_each_trade_once() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let leader = Name::Replica(cluster.leader().await?);
    cluster.signal(leader, "STOP")?;
    let keys: Vec<String> = (0..SENT_AT_ONCE).map(|number| format!("key-{number}")).collect();
    let trades = try_join_all(keys.iter().map(|key| cluster.trade(key, "S2", "buy", 1)));
    let killed = async {
        // The leader dies once trades are on their way to it.
        wait_until("trades are sent", || async { (sent_trades(&cluster).await.ok()? > 0).then_some(()) }).await?;
        cluster.signal(leader, "KILL")
    };
    let (answers, killed) = futures::join!(trades, killed);
    killed?;
    for (status, body) in answers? {
        ensure!(status == 200, "{status} {body}");
    }
    let stock = cluster.stock("S2").await?;
    ensure!(stock["quantity"] == LISTED_QUANTITY - SENT_AT_ONCE as u64, "{stock}");
    cluster.kill(leader);
    cluster.restart(leader).await?;
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_key_reused_for_another_trade_is_refused_and_a_rejection_is_sticky() -> Result<()> {
    let cluster = Cluster::start().await?;
    ensure!(cluster.trade("k", "S1", "buy", 1).await?.0 == 200);
    let (status, body) = cluster.trade("k", "S1", "buy", 2).await?;
    ensure!(status == 422 && body["error"]["kind"] == "key_reused", "{status} {body}");
    let (status, body) = cluster.trade("too-much", "S1", "buy", LISTED_QUANTITY + 1).await?;
    ensure!(status == 409 && body["error"]["kind"] == "insufficient_quantity", "{status} {body}");
    ensure!(cluster.trade("more", "S1", "sell", 10).await?.0 == 200);
    let again = cluster.trade("too-much", "S1", "buy", LISTED_QUANTITY + 1).await?;
    ensure!(again == (status, body), "{again:?}");
    Ok(())
}

/// How many trades the frontend has sent to a leader so far, by its metrics.
async fn sent_trades(cluster: &Cluster) -> Result<u64> {
    let text = cluster.client().get(cluster.metrics_url(Name::Frontend(1))).send().await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix("bazaar_frontend_gateway_sent_trades_total "));
    Ok(line.context("no such meter")?.parse()?)
}

fn same_answers(answers: &[(reqwest::StatusCode, serde_json::Value)]) -> Result<()> {
    let (status, body) = &answers[0];
    ensure!(*status == 200, "{status} {body}");
    for answer in answers {
        ensure!(answer == &answers[0], "{answer:?} is not {:?}", answers[0]);
    }
    Ok(())
}
