//! Life with one replica, and a leader that was asleep.

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, cluster::REPLICAS, wait_until};

#[tokio::test]
async fn without_a_quorum_trades_are_refused_in_words_and_stale_lookups_still_answer() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    ensure!(cluster.trade("before", "S1", "buy", 5).await?.0 == 200);
    let leader = cluster.leader().await?;
    let followers: Vec<u64> = REPLICAS.into_iter().filter(|id| *id != leader).collect();
    for id in &followers {
        cluster.kill(Name::Replica(*id));
    }
    // The leader notices by itself that nobody answers any more; from then on nothing is proposed.
    let health = format!("{}/health", cluster.url_of(Name::Replica(leader)));
    wait_until("the leader is not ready any more", || async {
        cluster.get(&health).await.ok().filter(|(_, health)| health["data"]["ready"] == false)
    })
    .await?;
    let (status, body) = cluster.trade("refused", "S1", "buy", 5).await?;
    ensure!(status == 503 && body["error"]["kind"] == "no_quorum", "{status} {body}");
    ensure!(body["error"]["outcome"] == "not_applied", "{body}");
    let message = body["error"]["message"].as_str().context("a message")?;
    ensure!(message.contains("1 of 3 replicas"), "{message}");
    let (status, body) = cluster.get(&format!("{}/stocks/S1?consistency=stale", cluster.url())).await?;
    ensure!(status == 200 && body["data"]["version"] == 2, "{status} {body}");
    let (status, body) = cluster.get(&format!("{}/stocks/S1", cluster.url())).await?;
    ensure!(status == 503, "a lookup that cannot be promised is refused: {body}");

    let back = *followers.first().context("two followers")?;
    cluster.restart(Name::Replica(back)).await?;
    let (status, body) = cluster.trade("after", "S1", "buy", 5).await?;
    ensure!(status == 200, "trades go on by themselves: {status} {body}");
    cluster.restart(Name::Replica(followers[1])).await?;
    let (status, body) = cluster.trade("refused", "S1", "buy", 5).await?;
    ensure!(status == 200, "what was refused can be sent again: {status} {body}");
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_leader_that_was_asleep_answers_nothing_wrong_when_it_wakes() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let asleep = cluster.leader().await?;
    cluster.signal(Name::Replica(asleep), "STOP")?;
    let (status, body) = cluster.trade("meanwhile", "S3", "buy", 5).await?;
    ensure!(status == 200, "another leader takes over: {status} {body}");
    cluster.signal(Name::Replica(asleep), "CONT")?;
    // Straight at the old leader, as soon as it can answer: an order read must not miss the order.
    let (status, body) = cluster.get(&format!("{}/orders/1", cluster.url_of(Name::Replica(asleep)))).await?;
    ensure!(status != 404, "the old leader denied an acknowledged order: {body}");
    cluster.wait_ready(Name::Replica(asleep)).await?;
    cluster.check(None).await?;
    Ok(())
}
