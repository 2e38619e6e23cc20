//! Replicas that lose their disks, join and leave, while clients trade.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    Cluster, Name,
    cluster::{REPLICAS, finished},
    process::Process,
    wait_until,
};
use serde_json::Value;

/// Clients that trade until they are told to stop, and what they were acknowledged.
struct Clients {
    process: Process,
    records: PathBuf,
}

impl Clients {
    async fn start(cluster: &Cluster) -> Result<Self> {
        let records = cluster.folder().join("acknowledged");
        let path = records.to_str().context("a folder that is no text")?;
        let arguments = ["workload", "--requests", "100000000", "--clients", "8", "--prob", "0.5", "--records", path];
        let clients = Self { process: cluster.bazaar("workload", &arguments)?, records };
        clients.trade_more().await?;
        Ok(clients)
    }

    fn acknowledged(&self) -> usize {
        std::fs::read_to_string(&self.records).unwrap_or_default().lines().count()
    }

    async fn trade_more(&self) -> Result<()> {
        let wanted = self.acknowledged() + 100;
        wait_until("clients trade", || async { (self.acknowledged() >= wanted).then_some(()) }).await
    }

    /// No request of theirs failed, and everything is there.
    async fn stop(self, cluster: &Cluster) -> Result<()> {
        self.process.signal("TERM")?;
        let report = finished(self.process).await?;
        ensure!(report.contains("mismatches: 0"), "{report}");
        cluster.check(Some(&self.records)).await?;
        Ok(())
    }
}

async fn members(cluster: &Cluster) -> Result<Vec<Value>> {
    let output = cluster.bazaar_succeeds("members", &["--output", "json", "members", "list"]).await?;
    let start = output.rfind("\n{").map_or(0, |at| at + 1);
    let listed: Value = serde_json::from_str(&output[start..]).with_context(|| output.clone())?;
    Ok(listed["members"].as_array().context("members")?.clone())
}

fn voters(members: &[Value]) -> Vec<u64> {
    members.iter().filter(|member| member["voter"] == true).filter_map(|member| member["id"].as_u64()).collect()
}

async fn a_follower(cluster: &Cluster) -> Result<u64> {
    let leader = cluster.leader().await?;
    REPLICAS.into_iter().find(|id| *id != leader).context("there are followers")
}

#[tokio::test]
async fn a_wiped_replica_is_replaced_under_load_and_counts_again() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let clients = Clients::start(&cluster).await?;
    let wiped = a_follower(&cluster).await?;
    cluster.kill(Name::Replica(wiped));
    std::fs::remove_dir_all(cluster.data(Name::Replica(wiped)))?;
    cluster.launch(Name::Replica(wiped), false)?;
    cluster.wait_role(wiped, "joining").await?;
    let id = wiped.to_string();
    let said = cluster.bazaar_succeeds("replace", &["members", "replace", &id]).await?;
    ensure!(said.contains("is back, as a new member, and votes"), "{said}");
    cluster.wait_ready(Name::Replica(wiped)).await?;
    let members = members(&cluster).await?;
    ensure!(voters(&members) == REPLICAS, "{members:?}");
    let life = members.iter().find(|member| member["id"] == wiped).map(|member| member["life"].clone());
    ensure!(life.is_some_and(|life| life != 0), "it is another member than before: {members:?}");
    // It carries its part of a quorum: with another one dead, nothing works without it.
    let other = REPLICAS.into_iter().find(|other| *other != wiped).context("there are others")?;
    cluster.kill(Name::Replica(other));
    clients.trade_more().await?;
    cluster.restart(Name::Replica(other)).await?;
    clients.stop(&cluster).await
}

#[tokio::test]
async fn a_cluster_grows_to_five_and_shrinks_to_three_under_load() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let clients = Clients::start(&cluster).await?;
    cluster.write_config(&[1, 2, 3, 4, 5])?;
    for id in [4, 5] {
        cluster.launch(Name::Replica(id), false)?;
        cluster.wait_role(id, "joining").await?;
        cluster.bazaar_succeeds("add", &["members", "add", &id.to_string()]).await?;
        cluster.wait_ready(Name::Replica(id)).await?;
    }
    ensure!(voters(&members(&cluster).await?) == [1, 2, 3, 4, 5]);
    // The frontend and the catalog have never read of replica 5; they hear of it from the leader.
    cluster.transfer(5).await?;
    clients.trade_more().await?;
    // Five replicas bear the loss of two.
    cluster.kill(Name::Replica(1));
    cluster.kill(Name::Replica(2));
    clients.trade_more().await?;
    cluster.restart(Name::Replica(1)).await?;
    cluster.restart(Name::Replica(2)).await?;
    for id in [5, 4] {
        cluster.bazaar_succeeds("remove", &["members", "remove", &id.to_string()]).await?;
        clients.trade_more().await?;
        cluster.stop(Name::Replica(id)).await?;
    }
    cluster.write_config(&REPLICAS)?;
    ensure!(voters(&members(&cluster).await?) == REPLICAS);
    clients.trade_more().await?;
    clients.stop(&cluster).await
}

#[tokio::test]
async fn wrong_changes_are_refused_in_words() -> Result<()> {
    let cluster = Cluster::start().await?;
    let leader = cluster.leader().await?;
    let refused = async |output: &str, arguments: &[&str]| -> Result<String> {
        match cluster.bazaar_succeeds(output, arguments).await {
            Ok(said) => anyhow::bail!("{arguments:?} was not refused: {said}"),
            Err(error) => Ok(error.to_string()),
        }
    };
    let said = refused("add", &["members", "add", "2"]).await?;
    ensure!(said.contains("replica 2 is a member"), "{said}");
    let said = refused("replace", &["members", "replace", "2"]).await?;
    ensure!(said.contains("needs no replacement"), "{said}");
    let said = refused("unknown", &["members", "add", "9"]).await?;
    ensure!(said.contains("there is no replica 9"), "{said}");
    let said = refused("remove", &["members", "remove", "9"]).await?;
    ensure!(said.contains("replica 9 is no member"), "{said}");
    let (status, body) = cluster.get(&format!("{}/admin/members", cluster.admin_url(leader))).await?;
    ensure!(status == 200 && body["data"]["members"].as_array().is_some_and(|all| all.len() == 3), "{body}");
    cluster.check(None).await?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_made_to_depend_on_a_replica_that_has_just_died() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let leader = cluster.leader().await?;
    let followers: Vec<u64> = REPLICAS.into_iter().filter(|id| *id != leader).collect();
    cluster.kill(Name::Replica(followers[0]));
    let post = async |path: &str, body: Value| -> Result<(u16, Value)> {
        let request = cluster.client().post(format!("{}{path}", cluster.admin_url(leader))).json(&body);
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    let remove = serde_json::json!({ "action": "remove", "id": followers[1] });
    let (status, body) = post("/admin/members", remove).await?;
    ensure!(status == 409 && body["error"]["kind"] == "membership_conflict", "{status} {body}");
    let (status, body) = post("/admin/transfer", serde_json::json!({ "to": followers[0] })).await?;
    ensure!(status == 409 && body["error"]["kind"] == "transfer_failed", "{status} {body}");
    ensure!(cluster.leader().await? == leader, "the leader is still there");
    let (status, body) = cluster.trade("after", "S1", "buy", 1).await?;
    ensure!(status == 200, "{status} {body}");
    Ok(())
}
