//! How a leader is replaced: because it died, because it is to stop, because another is preferred, and not otherwise.

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, cluster::REPLICAS, wait_until};

async fn term(cluster: &Cluster, id: u64) -> Result<u64> {
    let (_, health) = cluster.get(&format!("{}/health", cluster.url_of(Name::Replica(id)))).await?;
    health["data"]["term"].as_u64().context("a term")
}

fn tells(events: &[String], what: &str) -> bool {
    events.iter().any(|event| event.contains(what))
}

/// Election timeouts that do not end within a test: only the detector can replace the leader.
const ONLY_THE_DETECTOR: &str = "[raft]\nelection_min_ms = 5000\nelection_max_ms = 8000\n";

#[tokio::test]
async fn a_killed_leader_is_replaced_because_its_process_is_gone() -> Result<()> {
    let mut cluster = Cluster::start_with(ONLY_THE_DETECTOR).await?;
    let killed = cluster.leader().await?;
    cluster.kill(Name::Replica(killed));
    let (status, body) = cluster.trade("after", "S1", "buy", 1).await?;
    ensure!(status == 200, "{status} {body}");
    let successor = cluster.leader().await?;
    let events = cluster.events(successor).await?;
    ensure!(tells(&events, &format!("replica {killed} is lost, its process is gone")), "{events:?}");
    ensure!(tells(&events, "takes trades"), "{events:?}");
    // What a replica wrote down survives its own death.
    cluster.restart(Name::Replica(killed)).await?;
    let events = cluster.events(killed).await?;
    ensure!(tells(&events, "incarnation 1") && tells(&events, "incarnation 2"), "{events:?}");
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_halted_leader_is_replaced_because_it_is_silent() -> Result<()> {
    let mut cluster = Cluster::start_with(ONLY_THE_DETECTOR).await?;
    let halted = cluster.leader().await?;
    cluster.signal(Name::Replica(halted), "STOP")?;
    let (status, body) = cluster.trade("meanwhile", "S1", "buy", 1).await?;
    ensure!(status == 200, "{status} {body}");
    cluster.signal(Name::Replica(halted), "CONT")?;
    cluster.wait_ready(Name::Replica(halted)).await?;
    wait_until("the halted leader has stepped down", || async {
        cluster.events(halted).await.ok().filter(|events| tells(events, "stepped down"))
    })
    .await?;
    let events = cluster.events(cluster.leader().await?).await?;
    ensure!(tells(&events, &format!("replica {halted} is lost, it is silent")), "{events:?}");
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_first() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    for _ in 0..3 {
        let stopped = cluster.leader().await?;
        cluster.stop(Name::Replica(stopped)).await?;
        let successor = cluster.leader().await?;
        let events = cluster.events(successor).await?;
        ensure!(!tells(&events, &format!("replica {stopped} is lost")), "{events:?}");
        cluster.restart(Name::Replica(stopped)).await?;
        let events = cluster.events(stopped).await?;
        ensure!(tells(&events, "leadership is handed to replica"), "{events:?}");
    }
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_follower_that_was_away_comes_back_without_an_election() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let leader = cluster.leader().await?;
    let before = term(&cluster, leader).await?;
    let away = REPLICAS.into_iter().find(|id| *id != leader).context("there are followers")?;
    cluster.signal(Name::Replica(away), "STOP")?;
    // Long enough that it misses every heartbeat: the leader has taken trades and noticed that it does not answer.
    let members = format!("{}/admin/raft", cluster.admin_url(leader));
    let (status, body) = cluster.trade("meanwhile", "S1", "buy", 1).await?;
    ensure!(status == 200, "{status} {body}");
    wait_until("the leader knows that it lags", || async {
        let (_, raft) = cluster.get(&members).await.ok()?;
        let followers = raft["data"]["followers"].as_array()?.clone();
        let lags = |follower: &serde_json::Value| follower["lag_ms"].as_u64().is_some_and(|lag| lag > 1_000);
        followers.iter().find(|follower| follower["id"] == away).filter(|follower| lags(follower)).map(drop)
    })
    .await?;
    cluster.signal(Name::Replica(away), "CONT")?;
    cluster.wait_ready(Name::Replica(away)).await?;
    let (status, body) = cluster.trade("after", "S1", "buy", 1).await?;
    ensure!(status == 200, "{status} {body}");
    ensure!(cluster.leader().await? == leader && term(&cluster, leader).await? == before, "an election took place");
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn the_highest_id_leads_again_if_that_is_preferred() -> Result<()> {
    let mut cluster = Cluster::start_with("[raft]\nleader_preference = \"highest-id\"\n").await?;
    let leads = async |cluster: &Cluster, id: u64| {
        wait_until("the highest id leads", || async { cluster.leader().await.ok().filter(|leader| *leader == id) })
            .await
    };
    leads(&cluster, 3).await?;
    cluster.kill(Name::Replica(3));
    let (status, body) = cluster.trade("meanwhile", "S1", "buy", 1).await?;
    ensure!(status == 200, "{status} {body}");
    leads(&cluster, 2).await?;
    cluster.restart(Name::Replica(3)).await?;
    leads(&cluster, 3).await?;
    cluster.check(None).await?;
    Ok(())
}
