//! Folders that are lost in part or as a whole, or that belong elsewhere.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, cluster::REPLICAS, disk::copied, wait_until};

use crate::{REPLACE, SMALL_SNAPSHOTS, a_follower, check_the_rest, refusal, refusal_of, trade};

/// Waits until a replica has a checkpoint and has purged the log before it.
async fn purged(cluster: &Cluster, id: u64) -> Result<()> {
    let url = format!("{}/admin/raft", cluster.admin_url(id));
    wait_until("the log is purged", || async {
        let raft = cluster.get(&url).await.ok()?.1;
        (raft["data"]["log"]["purged"]["index"].as_u64() > Some(20)).then_some(())
    })
    .await
}

#[tokio::test]
async fn a_lost_part_of_the_state_is_made_again_from_the_rest_or_the_replica_refuses() -> Result<()> {
    let mut cluster = Cluster::start_with(SMALL_SNAPSHOTS).await?;
    let id = a_follower(&cluster).await?;
    let data = cluster.data(Name::Replica(id));
    let mut records = PathBuf::new();
    // From the checkpoint and the log behind it; and without a checkpoint, the state is enough.
    for lost in ["state", "snapshots"] {
        records = trade(&cluster, "150").await?;
        purged(&cluster, id).await?;
        cluster.kill(Name::Replica(id));
        fs::remove_dir_all(data.join(lost))?;
        cluster.restart(Name::Replica(id)).await?;
        cluster.check(Some(&records)).await.with_context(|| format!("without {lost}/"))?;
    }
    trade(&cluster, "150").await?;
    cluster.kill(Name::Replica(id));
    for lost in ["state", "snapshots"] {
        fs::remove_dir_all(data.join(lost))?;
    }
    let words = refusal(&mut cluster, id).await?;
    ensure!(words.contains("ends at log entry none, but the log goes on only behind entry"), "{words}");
    ensure!(words.contains(&data.display().to_string()) && words.contains(REPLACE), "{words}");
    check_the_rest(&cluster, &records).await?;
    cluster.replace(id).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_lost_state_is_made_again_from_a_whole_log() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let records = trade(&cluster, "200").await?;
    cluster.kill(Name::Replica(id));
    fs::remove_dir_all(cluster.data(Name::Replica(id)).join("state"))?;
    cluster.restart(Name::Replica(id)).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn a_replica_without_its_log_or_its_identity_refuses() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let data = cluster.data(Name::Replica(id));
    let records = trade(&cluster, "50").await?;
    cluster.kill(Name::Replica(id));
    let aside = data.with_extension("aside");
    for (lost, sentence) in [("identity.json", "identity.json is missing"), ("raft", "it must not vote")] {
        fs::rename(data.join(lost), &aside)?;
        let words = refusal(&mut cluster, id).await?;
        ensure!(words.contains(sentence) && words.contains(&data.display().to_string()), "{words}");
        ensure!(words.contains(REPLACE), "{words}");
        // The log stays lost.
        if lost != "raft" {
            fs::rename(&aside, data.join(lost))?;
        }
    }
    check_the_rest(&cluster, &records).await?;
    cluster.replace(id).await?;
    cluster.check(Some(&records)).await.map(drop)
}

#[tokio::test]
async fn the_directory_of_another_cluster_is_refused() -> Result<()> {
    let mut one = Cluster::start().await?;
    let mut other = Cluster::prepare("")?;
    for name in one.names() {
        let named: &[&str] = match name {
            Name::Replica(_) => &["env", "BAZAAR_ORDER_BOOTSTRAP=other-cluster"],
            _ => &[],
        };
        other.launch_under(named, name, false)?;
    }
    other.wait_all_ready().await?;
    let (ours, theirs) = (trade(&one, "50").await?, trade(&other, "50").await?);
    let id = a_follower(&one).await?;
    let name = Name::Replica(id);
    one.kill(name);
    other.kill(name);
    let (here, there, aside) = (one.data(name), other.data(name), one.folder().join("aside"));
    for (from, to) in [(&here, &aside), (&there, &here), (&aside, &there)] {
        copied(from, to)?;
        fs::remove_dir_all(from)?;
    }
    let words = refusal(&mut one, id).await?;
    ensure!(words.contains("belongs to cluster other-cluster"), "{words}");
    ensure!(words.contains("give the configuration of that cluster, or the data directory of this one"), "{words}");
    let words = refusal(&mut other, id).await?;
    ensure!(words.contains("belongs to cluster test-cluster"), "{words}");
    let words = refusal_of(&mut one, id, true).await?;
    ensure!(words.contains("cannot be bootstrapped into test-cluster"), "{words}");
    for (from, to) in [(&here, &aside), (&there, &here), (&aside, &there)] {
        copied(from, to)?;
        fs::remove_dir_all(from)?;
    }
    one.restart(name).await?;
    other.restart(name).await?;
    one.check(Some(&ours)).await?;
    other.check(Some(&theirs)).await.map(drop)
}

/// The members of a cluster that was begun anew turn away a replica of the old one, although the addresses are the same.
#[tokio::test]
async fn a_directory_from_before_a_new_beginning_counts_for_nothing() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    trade(&cluster, "50").await?;
    let id = 1;
    let name = Name::Replica(id);
    let before = cluster.folder().join("before");
    cluster.kill_all()?;
    copied(&cluster.data(name), &before)?;
    for name in cluster.names().filter(|name| !matches!(name, Name::Frontend(_))) {
        fs::remove_dir_all(cluster.data(name))?;
    }
    fs::remove_file(cluster.folder().join("acknowledged"))?;
    for name in cluster.names() {
        cluster.launch_under(&["env", "BAZAAR_ORDER_BOOTSTRAP=begun-anew"], name, false)?;
    }
    cluster.wait_all_ready().await?;
    cluster.kill(name);
    let new = cluster.folder().join("new");
    fs::rename(cluster.data(name), &new)?;
    fs::rename(&before, cluster.data(name))?;
    fs::write(cluster.data(name).with_extension("log"), "")?;
    cluster.launch(name, false)?;
    let health = format!("{}/health", cluster.url_of(name));
    wait_until("it answers", || async { cluster.get(&health).await.ok() }).await?;
    trade(&cluster, "100").await?;
    let (_, found) = cluster.get(&health).await?;
    ensure!(found["data"]["role"] != "leader" && found["data"]["cluster_id"] == "test-cluster", "{found}");
    wait_until("the others turn it away", || async {
        let log = cluster.process(name).ok()?.output();
        log.contains("wrong cluster: this is 'test-cluster', not 'begun-anew'").then_some(())
    })
    .await?;
    cluster.kill(name);
    fs::remove_dir_all(cluster.data(name))?;
    fs::rename(&new, cluster.data(name))?;
    cluster.restart(name).await?;
    cluster.check(Some(&cluster.folder().join("acknowledged"))).await.map(drop)
}

#[tokio::test]
async fn a_directory_of_a_newer_format_is_refused() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let id = a_follower(&cluster).await?;
    let marker = cluster.data(Name::Replica(id)).join("BAZAAR");
    cluster.kill(Name::Replica(id));
    let found = fs::read_to_string(&marker)?;
    fs::write(&marker, "order-replica format 9999\n")?;
    let words = refusal(&mut cluster, id).await?;
    ensure!(words.contains("'order-replica format 9999', which is newer"), "{words}");
    ensure!(words.contains("start the newer version that wrote it, or give another directory"), "{words}");
    let records = trade(&cluster, "50").await?;
    check_the_rest(&cluster, &records).await?;
    fs::write(&marker, found)?;
    cluster.restart(Name::Replica(id)).await?;
    cluster.check(Some(&records)).await.map(drop)
}

/// A wiped voter cannot lose an acknowledged order.
///
/// S is away. A trade is acknowledged by the leader L and the follower F. L and F die, and F's disk is lost. Now F comes
/// back with an empty directory, and S with a log that lacks the order. Two of three are up, and if F still had the vote
/// of what it was, the two would elect S and trade on without the order. So F must be nobody: it waits to be taken in,
/// which only a leader can do, and no trade is taken. When L is back, L and S have the vote, and the order is there.
#[tokio::test]
async fn a_wiped_voter_cannot_lose_an_acknowledged_order() -> Result<()> {
    const REFUSED_TRADES: usize = 5;
    let mut cluster = Cluster::prepare("")?;
    let config = fs::read_to_string(cluster.config())?;
    fs::write(cluster.config(), config.replace("[frontend]\n", "[frontend]\ntrade_deadline_ms = 1000\n"))?;
    for name in cluster.names() {
        cluster.launch(name, true)?;
    }
    cluster.wait_all_ready().await?;
    let leader = cluster.leader().await?;
    let mut followers = REPLICAS.into_iter().filter(|id| *id != leader);
    let (wiped, without) = (followers.next().context("F")?, followers.next().context("S")?);
    cluster.kill(Name::Replica(without));
    let (status, order) = cluster.trade("acknowledged", "S1", "buy", 7).await?;
    ensure!(status == 200, "two are a quorum: {order}");
    cluster.kill(Name::Replica(leader));
    cluster.kill(Name::Replica(wiped));
    fs::remove_dir_all(cluster.data(Name::Replica(wiped)))?;
    cluster.launch(Name::Replica(wiped), false)?;
    cluster.launch(Name::Replica(without), false)?;
    let health = |id| format!("{}/health", cluster.url_of(Name::Replica(id)));
    for id in [wiped, without] {
        wait_until("the replica answers", || async { cluster.get(&health(id)).await.ok() }).await?;
    }
    let before = cluster.get(&health(without)).await?.1["data"]["last_log_index"].clone();
    // The frontend tries each for a second, which is several times what an election takes.
    for attempt in 0..REFUSED_TRADES {
        let (status, body) = cluster.trade(&format!("refused-{attempt}"), "S1", "buy", 1).await?;
        ensure!(status == 503, "{status} {body}");
        let (_, found) = cluster.get(&health(wiped)).await?;
        ensure!(found["data"]["role"] == "joining", "{found}");
        let (_, found) = cluster.get(&health(without)).await?;
        ensure!(found["data"]["role"] != "leader" && found["data"]["last_log_index"] == before, "{found}");
    }
    cluster.restart(Name::Replica(leader)).await?;
    cluster.wait_ready(Name::Replica(without)).await?;
    let (status, again) = cluster.trade("acknowledged", "S1", "buy", 7).await?;
    let number = |answer: &serde_json::Value| answer["data"]["transaction_number"].as_u64();
    ensure!(status == 200 && number(&again).is_some() && number(&again) == number(&order), "{order} became {again}");
    let (status, body) = cluster.trade("after", "S1", "buy", 1).await?;
    ensure!(status == 200, "{body}");
    cluster.replace(wiped).await?;
    cluster.check(None).await.map(drop)
}
