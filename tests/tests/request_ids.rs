//! One request id, followed through the logs of all processes at their usual level.

use std::fs;

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    cluster::{Cluster, Name},
    wait_until,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// The lines of a process that carry this id, alone or with others.
fn lines(cluster: &Cluster, name: Name, id: &str) -> Result<Vec<Value>> {
    let log = fs::read_to_string(cluster.data(name).with_extension("log"))?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines.filter(|line| line["request"].as_str().is_some_and(|own| own.split('+').next() == Some(id))).collect())
}

async fn wait_line(cluster: &Cluster, name: Name, id: &str, message: &str) -> Result<Value> {
    let of_message = || -> Result<Option<Value>> {
        Ok(lines(cluster, name, id)?.into_iter().find(|line| line["message"] == message))
    };
    wait_until(&format!("{name:?} says '{message}' of {id}"), || async { of_message().ok().flatten() }).await
}

async fn trade(cluster: &Cluster, id: &str) -> Result<StatusCode> {
    let body = json!({ "name": "S1", "type": "buy", "quantity": 1 });
    let request = cluster.client().post(format!("{}/orders", cluster.url())).header("X-Request-Id", id).json(&body);
    let answer = request.send().await?;
    ensure!(answer.headers().get("x-request-id").is_some_and(|own| own == id), "the answer carries another id");
    Ok(answer.status())
}

#[tokio::test]
async fn a_slow_trade_is_found_by_its_id_in_the_log_of_every_hop() -> Result<()> {
    let variables = ["BAZAAR_LOG_FORMAT=json", "BAZAAR_SLOW_REQUEST_MS=200"];
    let mut cluster = Cluster::prepare("[leases]\nttl_ms = 5000")?;
    cluster.launch_with(&variables).await?;
    let under: Vec<&str> = ["env"].into_iter().chain(variables).collect();
    cluster.launch_under(&under, Name::Frontend(2), false)?;
    cluster.wait_ready(Name::Frontend(2)).await?;
    // It has a lease and takes no invalidation: the trade waits for the end of that lease. That is long, so that enough of
    // it is left to be slow also where the machine is busy.
    cluster.signal(Name::Frontend(2), "STOP")?;
    assert_eq!(trade(&cluster, "slow-trade").await?, StatusCode::OK);
    let leader = Name::Replica(cluster.leader().await?);
    for (name, message) in [
        (Name::Frontend(1), "a request was slow"),
        (leader, "trades were answered slowly"),
        (leader, "a publish to the catalog was slow or failed"),
        (Name::Catalog, "a batch was exposed slowly"),
    ] {
        wait_line(&cluster, name, "slow-trade", message).await?;
    }
    let work =
        wait_line(&cluster, Name::Frontend(1), "slow-trade", "work for the order leader was slow or failed").await?;
    assert_eq!(work["travelled_as"], "slow-trade", "nobody else traded");
    let index = wait_line(&cluster, leader, "slow-trade", "trades were answered slowly").await?["index"].clone();
    let exposed =
        wait_line(&cluster, Name::Catalog, "slow-trade", "a batch was exposed slowly").await?["index"].clone();
    assert!(exposed.as_u64() >= index.as_u64(), "{exposed} covers {index}");
    Ok(())
}

#[tokio::test]
async fn a_failed_trade_is_found_by_its_id() -> Result<()> {
    let mut cluster = Cluster::prepare("")?;
    cluster.launch_with(&["BAZAAR_LOG_FORMAT=json", "BAZAAR_FRONTEND_TRADE_DEADLINE_MS=300"]).await?;
    let leader = cluster.leader().await?;
    for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        cluster.kill(Name::Replica(id));
    }
    let status = trade(&cluster, "failed-trade").await?;
    ensure!(status.is_server_error(), "a trade without a quorum got {status}");
    let failed = wait_line(&cluster, Name::Frontend(1), "failed-trade", "a request failed").await?;
    assert_eq!(failed["status"], u64::from(status.as_u16()));
    let kind = failed["kind"].as_str().context("a failure has a kind")?;
    ensure!(["no_quorum", "no_leader", "outcome_unknown"].contains(&kind), "{failed}");
    Ok(())
}
