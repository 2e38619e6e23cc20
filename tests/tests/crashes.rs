//! What an acknowledged order survives: the death of any process, and of all at once.

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Cluster, Name,
    cluster::{REPLICAS, finished},
    process::Process,
    wait_until,
};

/// Acknowledged trades after which a workload is disturbed.
const UNDER_WAY: usize = 100;
/// Requests of a workload that is stopped by SIGTERM, after which it still checks what it did.
const ENDLESS: &str = "100000000";

fn workload(cluster: &Cluster, requests: &str) -> Result<(Process, std::path::PathBuf)> {
    let records = cluster.folder().join("acknowledged");
    let arguments = ["workload", "--requests", requests, "--clients", "8", "--prob", "0.5", "--seed", "1", "--records"];
    let path = records.to_str().context("a folder that is no text")?;
    Ok((cluster.bazaar("workload", &[&arguments[..], &[path]].concat())?, records))
}

fn acknowledged(records: &std::path::Path) -> usize {
    std::fs::read_to_string(records).unwrap_or_default().lines().count()
}

async fn under_way(records: &std::path::Path, more: usize) -> Result<()> {
    let wanted = acknowledged(records) + more;
    wait_until("the workload trades", || async { (acknowledged(records) >= wanted).then_some(()) }).await
}

/// Waits for the workload's end: no request of it failed, nothing is missing, and all keepers agree.
async fn ends_well(cluster: &Cluster, clients: Process, records: &std::path::Path) -> Result<()> {
    let report = finished(clients).await?;
    ensure!(report.contains("mismatches: 0"), "{report}");
    cluster.check(Some(records)).await?;
    Ok(())
}

/// Kills each replica in turn while clients trade, and brings it back.
async fn kill_in_turn(leader_first: bool) -> Result<()> {
    let mut cluster = Cluster::start().await?;
    // Without an end of its own, so that it lasts through all three deaths.
    let (clients, records) = workload(&cluster, ENDLESS)?;
    let mut order: Vec<u64> = REPLICAS.to_vec();
    let leader = cluster.leader().await?;
    order.sort_by_key(|id| (*id == leader) != leader_first);
    for id in order {
        under_way(&records, UNDER_WAY).await?;
        cluster.kill(Name::Replica(id));
        under_way(&records, UNDER_WAY).await?;
        cluster.restart(Name::Replica(id)).await?;
    }
    clients.signal("TERM")?;
    ends_well(&cluster, clients, &records).await
}

#[tokio::test]
async fn acknowledged_orders_survive_the_death_of_each_replica_leader_first() -> Result<()> {
    kill_in_turn(true).await
}

#[tokio::test]
async fn acknowledged_orders_survive_the_death_of_each_replica_leader_last() -> Result<()> {
    kill_in_turn(false).await
}

#[tokio::test]
async fn the_classic_workload_ends_without_a_mismatch_when_the_leader_is_killed() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let (clients, records) = workload(&cluster, "2000")?;
    under_way(&records, UNDER_WAY).await?;
    let leader = Name::Replica(cluster.leader().await?);
    cluster.kill(leader);
    let report = finished(clients).await?;
    ensure!(report.contains("mismatches: 0"), "{report}");
    cluster.restart(leader).await?;
    cluster.check(Some(&records)).await?;
    Ok(())
}

#[tokio::test]
async fn acknowledged_orders_survive_the_death_of_everything_at_once() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let (clients, records) = workload(&cluster, ENDLESS)?;
    under_way(&records, 10 * UNDER_WAY).await?;
    cluster.kill_all()?;
    drop(clients);
    for name in cluster.names() {
        cluster.launch(name, false)?;
    }
    cluster.wait_all_ready().await?;
    ensure!(acknowledged(&records) >= 10 * UNDER_WAY, "the records are there");
    cluster.check(Some(&records)).await?;
    Ok(())
}

#[tokio::test]
async fn trading_goes_on_while_catalog_and_frontend_are_killed_and_restarted() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let (clients, records) = workload(&cluster, ENDLESS)?;
    for name in [Name::Catalog, Name::Frontend(1), Name::Catalog] {
        under_way(&records, UNDER_WAY).await?;
        cluster.kill(name);
        cluster.restart(name).await?;
    }
    clients.signal("TERM")?;
    ends_well(&cluster, clients, &records).await
}

#[tokio::test]
async fn a_catalog_that_lost_its_folder_is_rebuilt_from_the_leader() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let (status, _) = cluster.trade("a-trade", "S1", "buy", 7).await?;
    ensure!(status == 200);
    cluster.kill(Name::Catalog);
    std::fs::remove_dir_all(cluster.data(Name::Catalog))?;
    cluster.restart(Name::Catalog).await?;
    let stock = cluster.stock("S1").await?;
    ensure!(stock["quantity"] == bazaar_tests::cluster::LISTED_QUANTITY - 7, "{stock}");
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_replica_whose_folder_was_wiped_joins_without_a_vote() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let leader = cluster.leader().await?;
    let wiped = REPLICAS.into_iter().find(|id| *id != leader).context("there are followers")?;
    cluster.kill(Name::Replica(wiped));
    std::fs::remove_dir_all(cluster.data(Name::Replica(wiped)))?;
    cluster.launch(Name::Replica(wiped), false)?;
    let url = format!("{}/health", cluster.url_of(Name::Replica(wiped)));
    let health =
        wait_until("the wiped replica answers", || async { cluster.get(&url).await.ok().map(|(_, health)| health) })
            .await?;
    ensure!(health["data"]["role"] == "joining", "{health}");
    ensure!(health["data"]["ready"] == false, "{health}");
    let (status, body) = cluster.trade("after-the-wipe", "S1", "buy", 1).await?;
    ensure!(status == 200, "the other two are a quorum: {body}");
    Ok(())
}

#[tokio::test]
async fn a_replica_that_missed_more_than_the_log_keeps_gets_a_snapshot() -> Result<()> {
    let settings = "raft.snapshot_every_entries = 200\nraft.log_kept_entries = 20";
    let mut cluster = Cluster::start_with(settings).await?;
    let leader = cluster.leader().await?;
    let absent = REPLICAS.into_iter().find(|id| *id != leader).context("there are followers")?;
    cluster.kill(Name::Replica(absent));
    let (clients, records) = workload(&cluster, "4000")?;
    finished(clients).await?;
    // openraft's leader keeps what a member misses as long as it is away; the follower has purged its own log. So the
    // follower is made the leader, and must send a snapshot.
    let purged = REPLICAS.into_iter().find(|id| *id != leader && *id != absent).context("there is a third replica")?;
    let url = format!("{}/admin/raft", cluster.admin_url(purged));
    wait_until("the follower purges its log", || async {
        let raft = cluster.get(&url).await.ok()?.1;
        (raft["data"]["log"]["purged"]["index"].as_u64() > Some(100)).then_some(())
    })
    .await?;
    let transfer = format!("{}/admin/transfer", cluster.admin_url(leader));
    cluster.client().post(transfer).json(&serde_json::json!({ "to": purged })).send().await?.error_for_status()?;
    wait_until("the leadership is handed over", || async { (cluster.leader().await.ok()? == purged).then_some(()) })
        .await?;
    cluster.restart(Name::Replica(absent)).await?;
    cluster.check(Some(&records)).await?;
    let raft = cluster.get(&format!("{}/admin/raft", cluster.admin_url(absent))).await?.1;
    ensure!(raft["data"]["snapshot"]["index"].as_u64() > Some(100), "it came by snapshot: {raft}");
    // What came by snapshot is enough to go on with, also after another crash.
    cluster.kill(Name::Replica(absent));
    cluster.restart(Name::Replica(absent)).await?;
    cluster.check(Some(&records)).await?;
    Ok(())
}

#[tokio::test]
async fn a_rolling_restart_under_load_fails_no_request() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let (clients, records) = workload(&cluster, ENDLESS)?;
    for id in REPLICAS {
        under_way(&records, UNDER_WAY).await?;
        cluster.stop(Name::Replica(id)).await?;
        cluster.restart(Name::Replica(id)).await?;
    }
    clients.signal("TERM")?;
    ends_well(&cluster, clients, &records).await
}

#[tokio::test]
async fn a_replica_whose_log_was_emptied_does_not_vote_with_an_empty_one() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let leader = cluster.leader().await?;
    let emptied = REPLICAS.into_iter().find(|id| *id != leader).context("there are followers")?;
    cluster.kill(Name::Replica(emptied));
    let log = cluster.data(Name::Replica(emptied)).join("raft");
    std::fs::remove_dir_all(&log)?;
    std::fs::create_dir(&log)?;
    let refused = cluster.restart(Name::Replica(emptied)).await.expect_err("it must not start").to_string();
    ensure!(refused.contains("it must not vote"), "{refused}");
    Ok(())
}
