//! `bazaar log` of a living cluster and of a stopped replica.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, process::binary, wait_until};
use serde_json::Value;

#[tokio::test]
async fn a_followed_log_goes_on_over_the_death_of_the_leader() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let mut follower = cluster.bazaar("followed", &["log", "--follow", "--output", "json"])?;
    let mut traded = Vec::new();
    for round in 0..3 {
        let key = format!("round-{round}");
        // An election may take longer than the frontend holds a trade, where the machine is busy.
        wait_until("the trade is taken", || async {
            cluster.trade(&key, "S1", "buy", 1).await.ok().filter(|(status, _)| *status == 200)
        })
        .await?;
        wait_until("the trade's entry is shown", || async { follower.output().contains(&key).then_some(()) }).await?;
        traded.push(key);
        if round < 2 {
            let leader = cluster.leader().await?;
            cluster.kill(Name::Replica(leader));
            if round == 0 {
                cluster.leader().await?;
                cluster.restart(Name::Replica(leader)).await?;
            }
        }
    }
    follower.signal("INT")?;
    let status = follower.end(std::time::Duration::from_secs(60)).await?;
    ensure!(status.code() == Some(0), "{status}");
    let output = follower.output();
    let entries: Vec<Value> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let indexes: Vec<u64> = entries.iter().filter_map(|entry| entry["index"].as_u64()).collect();
    ensure!(indexes.windows(2).all(|pair| pair[1] == pair[0] + 1), "entries are doubled or left out: {indexes:?}");
    for key in traded {
        // A trade that was sent again under its key is in the log twice, in two entries.
        ensure!(output.contains(&format!("\"{key}\"")), "{key} is not there:\n{output}");
    }
    Ok(())
}

#[tokio::test]
async fn the_log_of_a_stopped_replica_is_that_of_the_others_and_a_running_one_is_refused() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    ensure!(cluster.trade("kept", "S1", "buy", 1).await?.0 == 200);
    let data = cluster.data(Name::Replica(2)).to_str().context("a folder that is no text")?.to_owned();
    let arguments = ["log", "--limit", "1000", "--output", "json", "--data", &data];
    let running = Command::new(binary("bazaar")).args(arguments).output()?;
    let said = String::from_utf8_lossy(&running.stderr);
    ensure!(running.status.code() == Some(1) && said.contains("in use by a running process"), "{said}");
    cluster.check(None).await?;
    cluster.stop(Name::Replica(2)).await?;
    let stopped: Value = serde_json::from_str(&cluster.bazaar_succeeds("stopped", &arguments).await?)?;
    let live = cluster.bazaar_succeeds("live", &["log", "--after", "0", "--limit", "1000", "--output", "json"]).await?;
    let live: Value = serde_json::from_str(&live)?;
    let entries = stopped["entries"].as_array().context("entries")?;
    let shown = live["entries"].as_array().context("entries")?;
    let common = entries.iter().filter(|entry| entry["index"] != 0).count();
    ensure!(common > 0 && entries.iter().skip(1).eq(shown.iter().take(common)), "{stopped}\n{live}");
    for field in ["applied", "committed"] {
        ensure!(stopped[field]["index"].as_u64() > Some(0), "{field}: {stopped}");
    }
    ensure!(stopped["vote"]["term"].as_u64() > Some(0) && stopped["cluster_id"] == "test-cluster", "{stopped}");
    cluster.restart(Name::Replica(2)).await?;
    cluster.check(None).await?;
    Ok(())
}
