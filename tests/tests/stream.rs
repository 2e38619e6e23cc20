//! A program that follows the orders while clients trade and the leader is killed.

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, described, wait::WAIT_MAX};
use serde_json::Value;
use tokio::{task::JoinSet, time::timeout};

const CLIENTS: u64 = 8;
/// Trades of each client before and after the leader's death.
const TRADES: u64 = 100;
/// Orders that are read back at a time.
const PAGE: u64 = 1_000;

/// Trades as several clients at a time; every trade must succeed.
async fn trade(cluster: &Cluster, part: &str) -> Result<()> {
    let url = format!("{}/orders", cluster.url());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (http, url, part) = (cluster.client().clone(), url.clone(), part.to_owned());
        clients.spawn(async move {
            for number in 0..TRADES {
                let body = serde_json::json!({"name": format!("S{client}"), "type": "sell", "quantity": 1});
                let key = format!("{part}/{client}/{number}");
                let answer = http.post(&url).header("Idempotency-Key", key).json(&body).send().await?;
                ensure!(answer.status() == 200, "{}", answer.text().await?);
            }
            Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}

/// Reads a stream until it has brought so many orders.
async fn follow(mut response: reqwest::Response, orders: u64) -> Result<Vec<Value>> {
    let (mut text, mut seen) = (String::new(), Vec::new());
    while (seen.len() as u64) < orders {
        let piece = timeout(WAIT_MAX, response.chunk()).await.context("a piece of the stream")??;
        text += std::str::from_utf8(&piece.context("the stream goes on")?)?;
        while let Some((block, rest)) = text.split_once("\n\n") {
            if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) {
                seen.push(serde_json::from_str(data)?);
            }
            text = rest.to_owned();
        }
    }
    Ok(seen)
}

async fn all_orders(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut orders = Vec::new();
    loop {
        let url = format!("{}/orders?after={}&limit={PAGE}", cluster.url(), orders.len());
        let (status, page) = cluster.get(&url).await?;
        ensure!(status == 200, "{status} {page}");
        orders.extend(page["data"].as_array().context("orders")?.iter().cloned());
        if page["next_after"].is_null() {
            return Ok(orders);
        }
    }
}

#[tokio::test]
async fn a_follower_sees_every_order_once_although_the_leader_is_killed() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    // The harness's own client gives up after a while, and this one must not.
    let client = bazaar_service::tls::http_client().build()?;
    let stream = described::open(client.get(format!("{}/orders/stream", cluster.url()))).await?;
    let follower = tokio::spawn(follow(stream, 2 * CLIENTS * TRADES));
    trade(&cluster, "before").await?;
    let leader = cluster.leader().await?;
    cluster.kill(Name::Replica(leader));
    trade(&cluster, "after").await?;
    let seen = follower.await??;
    ensure!(seen == all_orders(&cluster).await?, "the stream and the orders differ");
    let numbers = seen.iter().map(|order| order["number"].as_u64().unwrap_or_default());
    ensure!(numbers.eq(1..=2 * CLIENTS * TRADES), "a gap, or an order twice");
    // Whoever comes later, from the beginning, sees the same.
    let stream =
        described::open(client.get(format!("{}/orders/stream", cluster.url())).header("Last-Event-ID", "0")).await?;
    ensure!(follow(stream, 2 * CLIENTS * TRADES).await? == seen, "the second follower saw something else");
    cluster.restart(Name::Replica(leader)).await?;
    cluster.check(None).await.map(drop)
}
