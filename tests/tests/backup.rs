//! Backups: taken from a replica while the cluster trades, and a new cluster that goes on from one.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Cluster, Name,
    cluster::{LISTED_QUANTITY, REPLICAS, finished},
    process::binary,
    wait_until,
};
use serde_json::Value;

/// A trade whose answer is compared before and after.
const OLD_KEY: &str = "before-the-backup";

/// Runs the client for its one sentence on why it refuses.
fn refusal(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary("bazaar")).arg("--config").arg(cluster.config()).args(arguments).output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code().is_some_and(|code| code != 0), "{arguments:?} ended with {}: {error}", output.status);
    ensure!(error.starts_with("error: ") && error.trim_end().lines().count() == 1, "not one sentence: {error}");
    Ok(error)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a folder that is no text")
}

/// Runs the client with JSON output.
async fn report(cluster: &Cluster, output: &str, arguments: &[&str]) -> Result<Value> {
    let text = cluster.bazaar_succeeds(output, &[&["--output", "json"], arguments].concat()).await?;
    Ok(serde_json::from_str(&text)?)
}

/// A cluster in whose place a backup was restored, all processes ready.
async fn start_restored(backup: &Path) -> Result<(Cluster, Value)> {
    let mut cluster = Cluster::prepare("")?;
    let data = cluster.folder().join("restored");
    let restored = report(&cluster, "restore", &["restore", text(backup)?, "--data", text(&data)?]).await?;
    ensure!(data.join("bootstrapped").exists() && data.join("cluster-id").exists(), "what scripts/cluster needs");
    for id in REPLICAS.map(Name::Replica) {
        let made = cluster.data(id);
        fs::rename(data.join(made.file_name().context("a folder without a name")?), made)?;
    }
    for name in cluster.names() {
        cluster.launch(name, false)?;
    }
    cluster.wait_all_ready().await?;
    Ok((cluster, restored))
}

/// The digest over the orders up to a number, as a replica has it.
async fn digest(cluster: &Cluster, replica: u64, number: u64) -> Result<String> {
    let (_, body) = cluster.get(&format!("{}/admin/digest?number={number}", cluster.admin_url(replica))).await?;
    Ok(body["data"]["digest"].as_str().with_context(|| format!("no digest: {body}"))?.to_owned())
}

#[tokio::test]
async fn a_cluster_restored_from_a_backup_under_load_trades_on() -> Result<()> {
    let old = Cluster::start().await?;
    let before = old.trade(OLD_KEY, "S1", "buy", 3).await?;
    ensure!(before.0 == 200, "{before:?}");
    let mut load =
        old.bazaar("load", &["workload", "--requests", "8000", "--clients", "8", "--prob", "1", "--seed", "1"])?;
    wait_until("some hundred trades are done", || async {
        let (_, health) = old.get(&format!("{}/health", old.url_of(Name::Replica(1)))).await.ok()?;
        (health["data"]["orders"].as_u64()? > 300).then_some(())
    })
    .await?;

    let file = old.folder().join("orders.backup");
    let taken = report(&old, "backup", &["backup", text(&file)?]).await?;
    ensure!(load.ended()?.is_none(), "the load ended before the backup: {}", load.output());
    let leader = old.leader().await?;
    ensure!(taken["replica"] != leader || taken["replica"] == 1, "a follower is asked: {taken}");
    let inspected = report(&old, "inspect", &["backup", "inspect", text(&file)?]).await?;
    ensure!(inspected == taken, "{inspected} is not {taken}");
    for id in REPLICAS {
        ensure!(!old.data(Name::Replica(id)).join("lent").exists(), "the checkpoint is left on replica {id}");
    }
    finished(load).await?;
    old.check(None).await?;
    let orders = taken["orders"].as_u64().context("no orders")?;
    ensure!(orders > 300, "{taken}");
    ensure!(digest(&old, 1, orders).await? == taken["digest"], "{taken}");

    let (mut new, restored) = start_restored(&file).await?;
    ensure!(restored["cluster_id"] != restored["from_cluster_id"] && restored["orders"] == orders, "{restored}");
    for id in REPLICAS {
        let (_, health) = new.get(&format!("{}/health", new.url_of(Name::Replica(id)))).await?;
        ensure!(health["data"]["cluster_id"] == restored["cluster_id"], "{health}");
        ensure!(health["data"]["orders"] == orders, "{health}");
        ensure!(digest(&new, id, orders).await? == taken["digest"], "replica {id}");
    }
    for number in [1, orders] {
        let path = format!("/orders/{number}");
        let (was, is) = (old.get(&(old.url() + &path)).await?, new.get(&(new.url() + &path)).await?);
        ensure!(was == is && is.0 == 200, "{was:?} became {is:?}");
    }
    ensure!(new.trade(OLD_KEY, "S1", "buy", 3).await? == before, "an old key has its old answer");
    let (_, health) = new.get(&format!("{}/health", new.url_of(Name::Replica(1)))).await?;
    ensure!(health["data"]["orders"] == orders, "and does not trade again: {health}");
    let (status, answer) = new.trade("after", "S1", "sell", 1).await?;
    ensure!(status == 200 && answer["data"]["transaction_number"] == orders + 1, "{status} {answer}");
    new.check(None).await?;

    // The new cluster bears what any other bears.
    let leader = new.leader().await?;
    new.kill(Name::Replica(leader));
    let (status, answer) = new.trade("after the leader's death", "S2", "sell", 1).await?;
    ensure!(status == 200 && answer["data"]["transaction_number"] == orders + 2, "{status} {answer}");
    new.restart(Name::Replica(leader)).await?;
    new.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_restored_cluster_sends_a_new_member_its_snapshot() -> Result<()> {
    let old = Cluster::start().await?;
    ensure!(old.trade(OLD_KEY, "S1", "buy", 3).await?.0 == 200);
    let file = old.folder().join("orders.backup");
    report(&old, "backup", &["backup", text(&file)?, "--replica", "2"]).await?;
    let (mut new, _) = start_restored(&file).await?;
    let lost = if new.leader().await? == 1 { 2 } else { 1 };
    new.replace(lost).await?;
    let stock = new.stock("S1").await?;
    ensure!(stock["quantity"] == LISTED_QUANTITY - 3, "{stock}");
    new.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_damaged_is_restored() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    ensure!(cluster.trade(OLD_KEY, "S1", "buy", 3).await?.0 == 200);
    let file = cluster.folder().join("orders.backup");
    let backup = text(&file)?;
    cluster.bazaar_succeeds("backup", &["backup", backup]).await?;
    let whole = fs::read(&file)?;

    let sentence = refusal(&cluster, &["backup", backup])?;
    ensure!(sentence.contains("exists already") && fs::read(&file)? == whole, "{sentence}");
    let elsewhere = cluster.folder().join("elsewhere");
    let sentence = refusal(&cluster, &["backup", text(&elsewhere)?, "--replica", "9"])?;
    ensure!(sentence.contains("there is no replica 9"), "{sentence}");

    cluster.kill(Name::Replica(1));
    let sentence = refusal(&cluster, &["backup", text(&elsewhere)?, "--replica", "1"])?;
    ensure!(sentence.contains("replica 1 gives no backup, see --replica: refused"), "{sentence}");
    ensure!(!elsewhere.exists() && !elsewhere.with_extension("partial").exists(), "something is left");

    let data = cluster.folder().join("restored");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    for (bytes, word) in [(&flipped[..], "damaged"), (&whole[..whole.len() / 2], "truncated")] {
        fs::write(&elsewhere, bytes)?;
        for arguments in
            [&["backup", "inspect", text(&elsewhere)?][..], &["restore", text(&elsewhere)?, "--data", text(&data)?]]
        {
            let sentence = refusal(&cluster, arguments)?;
            ensure!(sentence.contains(word) && sentence.contains("elsewhere"), "{sentence}");
        }
        ensure!(!data.exists() && !data.with_extension("partial").exists(), "something is left");
    }

    let sentence = refusal(&cluster, &["restore", backup, "--data", text(cluster.folder())?])?;
    ensure!(sentence.contains("is not empty"), "{sentence}");
    Ok(())
}
