//! A cluster that is founded by `bazaar init`, of replicas that are started in the same way the first time and ever after
//! (ADR 0010).

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use bazaar_tests::{Cluster, Name, cluster::REPLICAS, cluster::finished, wait_until};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// How long a story waits for an answer that should not come.
const NO_ANSWER_AFTER: Duration = Duration::from_secs(3);

/// Starts three replicas with empty folders, as a service file does.
async fn three_new_replicas() -> Result<Cluster> {
    let mut cluster = Cluster::prepare("")?;
    for id in REPLICAS {
        cluster.launch(Name::Replica(id), false)?;
    }
    for id in REPLICAS {
        cluster.wait_role(id, "joining").await?;
    }
    Ok(cluster)
}

/// A founded cluster that takes trades.
async fn founded() -> Result<Cluster> {
    let mut cluster = three_new_replicas().await?;
    let said = init(&cluster).await?;
    ensure!(said.contains("is founded"), "{said}");
    start_the_rest(&mut cluster).await?;
    Ok(cluster)
}

async fn start_the_rest(cluster: &mut Cluster) -> Result<()> {
    for name in [Name::Catalog, Name::Frontend(1)] {
        cluster.launch(name, false)?;
    }
    cluster.wait_all_ready().await
}

/// What `bazaar init` says.
async fn init(cluster: &Cluster) -> Result<String> {
    fs::write(cluster.folder().join("init"), "")?;
    cluster.bazaar_succeeds("init", &["init"]).await
}

/// Starts a replica with an empty folder in place of the one that it had.
async fn wipe(cluster: &mut Cluster, id: u64) -> Result<()> {
    cluster.kill(Name::Replica(id));
    fs::remove_dir_all(cluster.data(Name::Replica(id)))?;
    cluster.launch(Name::Replica(id), false)?;
    cluster.wait_role(id, "joining").await
}

async fn standing(cluster: &Cluster, id: u64) -> Result<Value> {
    let (status, body) = cluster.get(&format!("{}/admin/founding", cluster.admin_url(id))).await?;
    ensure!(status == StatusCode::OK, "{status} {body}");
    Ok(body["data"].clone())
}

/// The founding of these replicas as `bazaar init` would write it.
async fn founding(cluster: &Cluster, cluster_id: &str) -> Result<Value> {
    let config = fs::read_to_string(cluster.config())?;
    let peers: Vec<&str> = config.lines().filter_map(|line| line.strip_prefix("peers = ")).collect();
    let mut founders = vec![];
    for (id, peers) in REPLICAS.into_iter().zip(peers) {
        let address = |url: String| url.trim_start_matches("http://").to_owned();
        let (service, admin) = (address(cluster.url_of(Name::Replica(id))), address(cluster.admin_url(id)));
        let (life, peers) = (standing(cluster, id).await?["life"].clone(), peers.trim_matches('"'));
        founders.push(json!({ "id": id, "life": life, "service": service, "peers": peers, "admin": admin }));
    }
    Ok(json!({ "cluster_id": cluster_id, "founders": founders }))
}

/// Sends one replica one step of a founding.
async fn step(cluster: &Cluster, id: u64, step: &str, founding: &Value) -> Result<StatusCode> {
    let mut body = founding.clone();
    body["step"] = step.into();
    let url = format!("{}/admin/founding", cluster.admin_url(id));
    Ok(cluster.client().post(url).json(&body).send().await?.status())
}

#[tokio::test]
async fn new_replicas_become_one_cluster_however_often_it_is_asked_for() -> Result<()> {
    let mut cluster = three_new_replicas().await?;
    // Two at once, and one more when all is done.
    let calls = [cluster.bazaar("init-a", &["init"])?, cluster.bazaar("init-b", &["init"])?];
    for call in calls {
        finished(call).await?;
    }
    start_the_rest(&mut cluster).await?;
    let said = init(&cluster).await?;
    ensure!(said.contains("exists, nothing is changed"), "{said}");
    let (status, body) = cluster.trade("first", "S0", "buy", 3).await?;
    ensure!(status == StatusCode::OK && body["data"]["transaction_number"] == 1, "{status} {body}");
    cluster.check(None).await?;
    // The same command starts a replica again.
    for id in REPLICAS {
        cluster.stop(Name::Replica(id)).await?;
        cluster.restart(Name::Replica(id)).await?;
    }
    cluster.check(None).await.map(drop)
}

#[tokio::test]
async fn nothing_is_founded_without_all_replicas() -> Result<()> {
    let mut cluster = three_new_replicas().await?;
    cluster.kill(Name::Replica(2));
    let mut call = cluster.bazaar("init", &["init", "--wait-s", "0"])?;
    ensure!(!call.end(Duration::from_secs(60)).await?.success(), "it founded a cluster without replica 2");
    ensure!(call.output().contains("replica 2 does not answer"), "{}", call.output());
    ensure!(standing(&cluster, 1).await?["prepared"].is_null(), "replica 1 agreed to a founding");
    cluster.launch(Name::Replica(2), false)?;
    let said = init(&cluster).await?;
    ensure!(said.contains("is founded"), "{said}");
    start_the_rest(&mut cluster).await
}

#[tokio::test]
async fn a_wiped_founder_does_not_vote_again() -> Result<()> {
    let mut cluster = founded().await?;
    // Replica 3 lacks the order that 1 and 2 acknowledge; then 2 forgets it and 1 dies.
    cluster.transfer(1).await?;
    // Killed and not halted: a halted one would find the entry in its socket when it goes on.
    cluster.kill(Name::Replica(3));
    let (status, body) = cluster.trade("kept", "S0", "buy", 3).await?;
    ensure!(status == StatusCode::OK, "{status} {body}");
    cluster.kill(Name::Replica(2));
    cluster.kill(Name::Replica(1));
    fs::remove_dir_all(cluster.data(Name::Replica(2)))?;
    cluster.launch(Name::Replica(2), false)?;
    cluster.wait_role(2, "joining").await?;
    cluster.launch_under(&["env", "BAZAAR_LOG=info,openraft=info"], Name::Replica(3), false)?;
    // It asks again and again, so after the second time the first has led to nothing.
    wait_until("replica 3 asks for votes a second time", || async {
        let log = cluster.process(Name::Replica(3)).ok()?.output();
        (log.matches("new pre-candidate").count() > 1).then_some(())
    })
    .await?;
    let said = init(&cluster).await?;
    ensure!(
        said.contains("exists, nothing is changed") && said.contains("replica 2 has a new data directory"),
        "{said}"
    );
    // With the vote of 2, replica 3 would lead without the order.
    let url = format!("{}/orders", cluster.url_of(Name::Replica(3)));
    let trade = json!({ "name": "S0", "type": "buy", "quantity": 1 });
    let answer = cluster.client().post(url).json(&trade).timeout(NO_ANSWER_AFTER).send().await;
    ensure!(answer.is_err() || answer.is_ok_and(|answer| !answer.status().is_success()), "replica 3 took a trade");
    let (_, found) = cluster.get(&format!("{}/health", cluster.url_of(Name::Replica(3)))).await?;
    ensure!(found["data"]["role"] != "leader" && found["data"]["orders"] == 0, "{found}");

    cluster.restart(Name::Replica(1)).await?;
    let (status, body) = cluster.trade("kept", "S0", "buy", 3).await?;
    ensure!(status == StatusCode::OK && body["data"]["transaction_number"] == 1, "{status} {body}");
    cluster.bazaar_succeeds("replace", &["members", "replace", "2"]).await?;
    cluster.wait_all_ready().await?;
    cluster.check(None).await.map(drop)
}

#[tokio::test]
async fn a_founding_that_was_cut_off_while_replicas_agreed_goes_on() -> Result<()> {
    let mut cluster = three_new_replicas().await?;
    let begun = founding(&cluster, "cut-off").await?;
    for id in [1, 2] {
        ensure!(step(&cluster, id, "prepare", &begun).await? == StatusCode::OK);
    }
    // What it agreed to survives, and it neither agrees to another one nor begins before all have agreed and say so.
    cluster.kill(Name::Replica(2));
    cluster.launch(Name::Replica(2), false)?;
    cluster.wait_role(2, "joining").await?;
    let other = founding(&cluster, "other").await?;
    ensure!(step(&cluster, 2, "prepare", &other).await? == StatusCode::CONFLICT);
    ensure!(step(&cluster, 3, "begin", &begun).await? == StatusCode::CONFLICT);
    let said = init(&cluster).await?;
    ensure!(said.contains("cluster cut-off is founded"), "{said}");
    start_the_rest(&mut cluster).await?;
    cluster.check(None).await.map(drop)
}

#[tokio::test]
async fn a_founding_that_was_cut_off_while_replicas_began_is_ended_without_the_wiped_one() -> Result<()> {
    let mut cluster = three_new_replicas().await?;
    let begun = founding(&cluster, "cut-off").await?;
    for id in REPLICAS {
        ensure!(step(&cluster, id, "prepare", &begun).await? == StatusCode::OK);
    }
    ensure!(step(&cluster, 1, "begin", &begun).await? == StatusCode::OK);
    wipe(&mut cluster, 3).await?;
    // An older call that is still at work names the directory that is gone.
    for late in ["prepare", "begin"] {
        ensure!(step(&cluster, 3, late, &begun).await? == StatusCode::CONFLICT);
    }
    let said = wait_until("replica 1 belongs to the cluster, and 2 begins", || async {
        init(&cluster).await.ok().filter(|said| said.contains("cluster cut-off is founded"))
    })
    .await?;
    ensure!(said.contains("replica 3 has a new data directory"), "{said}");
    cluster.leader().await.context("1 and 2 are a majority")?;
    cluster.bazaar_succeeds("replace", &["members", "replace", "3"]).await?;
    start_the_rest(&mut cluster).await?;
    cluster.check(None).await.map(drop)
}

#[tokio::test]
async fn a_founding_whose_directories_were_changed_is_left_to_a_person() -> Result<()> {
    let mut cluster = three_new_replicas().await?;
    let begun = founding(&cluster, "cut-off").await?;
    ensure!(step(&cluster, 1, "prepare", &begun).await? == StatusCode::OK);
    wipe(&mut cluster, 2).await?;
    let mut call = cluster.bazaar("init", &["init"])?;
    ensure!(!call.end(Duration::from_secs(60)).await?.success(), "it went on with another directory");
    ensure!(call.output().contains("empty the data directories of all of them"), "{}", call.output());
    wipe(&mut cluster, 1).await?;
    ensure!(init(&cluster).await?.contains("is founded"));
    start_the_rest(&mut cluster).await
}
