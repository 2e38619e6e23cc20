//! Liveness and readiness on every HTTP listener: who is alive says so whatever happens to the others, and who is not ready
//! says why.

use anyhow::{Context, Result, ensure};
use bazaar_tests::{
    cluster::{Cluster, Name, REPLICAS},
    wait_until,
};
use reqwest::StatusCode;

async fn probe(cluster: &Cluster, url: &str) -> Result<(StatusCode, String)> {
    let answer = cluster.client().get(url).send().await.with_context(|| url.to_owned())?;
    Ok((answer.status(), answer.text().await?))
}

#[tokio::test]
async fn every_listener_says_whether_it_lives_and_why_it_is_not_ready() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let all: Vec<String> = cluster.names().flat_map(|name| cluster.http_urls(name)).collect();
    assert_eq!(all.len(), 3 + 1 + 2 * REPLICAS.len(), "frontend, catalog, replicas");
    for listener in &all {
        for path in ["livez", "readyz"] {
            let (status, body) = probe(&cluster, &format!("{listener}/{path}")).await?;
            assert_eq!(status, StatusCode::OK, "{listener}/{path}: {body}");
        }
    }
    let leader = cluster.leader().await?;
    let lost: Vec<u64> = REPLICAS.into_iter().filter(|id| *id != leader).collect();
    for id in &lost {
        cluster.kill(Name::Replica(*id));
    }
    let left: Vec<String> = cluster
        .names()
        .filter(|name| lost.iter().all(|id| *name != Name::Replica(*id)))
        .flat_map(|name| cluster.http_urls(name))
        .collect();
    for listener in &left {
        let url = format!("{listener}/readyz");
        let body = wait_until(&format!("{listener} is not ready"), || async {
            let (status, body) = probe(&cluster, &url).await.ok()?;
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some(body)
        })
        .await?;
        let reason: serde_json::Value = serde_json::from_str(&body).context(body.clone())?;
        let message = reason["error"]["message"].as_str().unwrap_or_default();
        ensure!(message.len() > 10, "{listener} does not say why: {body}");
        let (status, body) = probe(&cluster, &format!("{listener}/livez")).await?;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ok\n"), "{listener}");
    }
    Ok(())
}
