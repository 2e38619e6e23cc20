//! What `compose.yaml` says, done without an engine: each service runs with its own entry point, environment, files, user
//! and capabilities, in namespaces of its own. It needs Linux, root and `ip`, and is skipped elsewhere.

mod compose;
mod container;
mod files;

use std::{collections::BTreeMap, fs, net::Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use bazaar_tests::{
    network::{Host, Network},
    wait_until,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    compose::{Compose, Service},
    container::{Container, Engine},
};

/// All services of `compose.yaml`, as far as they run.
struct Project {
    // Before the network and the folder, so that nothing runs in them when they go.
    running: BTreeMap<String, Container>,
    compose: Compose,
    engine: Engine,
    network: Network,
    folder: TempDir,
    client: reqwest::Client,
}

impl Project {
    /// `None`, with the reason printed, where no network can be laid.
    fn new() -> Result<Option<Self>> {
        let folder = TempDir::new()?;
        let data = folder.path().join("data").to_string_lossy().into_owned();
        let compose = Compose::load(&[("BAZAAR_DATA", &data)])?;
        let hosts: Vec<Host> = (1..).take(compose.services.len()).map(Host).collect();
        let Some(network) = Network::lay(&hosts)? else { return Ok(None) };
        let addresses =
            compose.services.keys().cloned().zip(hosts.iter().map(|host| network.address(*host).to_string()));
        let engine = Engine::new(folder.path(), &addresses.collect())?;
        let client = bazaar_service::tls::http_client().build()?;
        Ok(Some(Self { running: BTreeMap::new(), compose, engine, network, folder, client }))
    }

    fn service(&self, name: &str) -> Result<&Service> {
        self.compose.services.get(name).with_context(|| format!("there is no service {name}"))
    }

    fn host(&self, name: &str) -> Result<Host> {
        let place = self.compose.services.keys().position(|other| other == name).context("a service")?;
        Ok(Host(u8::try_from(place + 1)?))
    }

    /// `docker compose up`: everything that does not run, in order, each behind the end of the one-shots before it.
    async fn up(&mut self) -> Result<()> {
        let names: Vec<String> = self.compose.in_order()?.into_iter().map(str::to_owned).collect();
        for name in names.iter().filter(|name| !self.running.contains_key(*name)).cloned().collect::<Vec<_>>() {
            self.start(&name).await?;
            if self.compose.is_one_shot(&name) {
                let code = self.container(&name)?.end().await?;
                self.running.remove(&name);
                ensure!(code == Some(0), "{name} ended with {code:?}:\n{}", self.engine.output(&name));
            }
        }
        Ok(())
    }

    async fn start(&mut self, name: &str) -> Result<()> {
        let place = self.network.on(self.host(name)?);
        let container = self.engine.start(name, self.service(name)?, &place).await?;
        self.running.insert(name.to_owned(), container);
        Ok(())
    }

    fn container(&mut self, name: &str) -> Result<&mut Container> {
        self.running.get_mut(name).with_context(|| format!("{name} does not run"))
    }

    /// Kills a container (kill -9).
    async fn kill(&mut self, name: &str) -> Result<()> {
        let mut container = self.running.remove(name).with_context(|| format!("{name} does not run"))?;
        container.signal("KILL")?;
        container.end().await.map(drop)
    }

    async fn exec(&self, name: &str, program: &[&str]) -> Result<(bool, String)> {
        self.engine.exec(self.running.get(name).with_context(|| format!("{name} does not run"))?, program).await
    }

    /// The command line in the frontend's container, as the guide has it; returns what it said.
    async fn bazaar(&self, arguments: &[&str]) -> Result<String> {
        let (well, said) = self.exec("frontend", &[&["bazaar"], arguments].concat()).await?;
        ensure!(well, "bazaar {}: {said}", arguments.join(" "));
        Ok(said)
    }

    /// Waits until a service's own health check says that it is well.
    async fn healthy(&self, name: &str) -> Result<()> {
        let check = &self.service(name)?.healthcheck.as_ref().context("a health check")?.test;
        let program: Vec<&str> = check.iter().skip(1).map(String::as_str).collect();
        let what = format!("{name} is healthy");
        let well = wait_until(&what, || async { self.exec(name, &program).await.ok().filter(|(well, _)| *well) });
        well.await.with_context(|| self.engine.output(name)).map(drop)
    }

    async fn all_healthy(&self) -> Result<()> {
        for name in self.running.keys() {
            self.healthy(name).await?;
        }
        Ok(())
    }

    /// The port that clients come to, inside: an engine would carry it to the machine's own address.
    fn published(&self) -> Result<(Ipv4Addr, &str)> {
        let port = self.service("frontend")?.ports.first().context("a published port")?;
        Ok((self.network.address(self.host("frontend")?), port.rsplit(':').next().context("a port")?))
    }

    async fn buy(&self, key: &str) -> Result<(StatusCode, Value)> {
        let (address, port) = self.published()?;
        let trade = json!({ "name": "GameStart", "type": "buy", "quantity": 1 });
        let post = self.client.post(format!("http://{address}:{port}/orders")).header("Idempotency-Key", key);
        let answer = post.json(&trade).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    async fn bought(&self, key: &str) -> Result<u64> {
        let (status, body) = self.buy(key).await?;
        ensure!(status == StatusCode::OK, "{status} {body}");
        body["data"]["transaction_number"].as_u64().context("a number")
    }

    async fn health(&self, replica: &str) -> Result<Value> {
        let url = format!("http://{}:16006/health", self.network.address(self.host(replica)?));
        Ok(self.client.get(url).send().await?.json::<Value>().await?["data"].clone())
    }

    /// Waits until a replica says that it is in no cluster.
    async fn joining(&self, replica: &str) -> Result<()> {
        let joins = || async { self.health(replica).await.ok().filter(|health| health["role"] == "joining") };
        wait_until(&format!("{replica} waits to be taken in"), joins).await.map(drop)
    }

    async fn leader(&self) -> Result<String> {
        wait_until("a replica leads", || async {
            for name in ["order-1", "order-2", "order-3"] {
                if self.running.contains_key(name)
                    && let Ok(health) = self.health(name).await
                    && health["role"] == "leader"
                    && health["ready"] == true
                {
                    return Some(name.to_owned());
                }
            }
            None
        })
        .await
    }
}

#[tokio::test]
async fn a_replica_that_lost_its_volume_is_started_by_the_same_file_and_does_not_vote() -> Result<()> {
    let Some(mut project) = Project::new()? else { return Ok(()) };
    project.up().await?;
    project.all_healthy().await?;
    let first = project.bought("first").await?;

    // One follower loses its volume, and the others go on.
    let leader = project.leader().await?;
    let mut others = ["order-1", "order-2", "order-3"].into_iter().filter(|name| *name != leader);
    let (wiped, other) = (others.next().context("a follower")?, others.next().context("another")?);
    project.kill(wiped).await?;
    fs::remove_dir_all(project.folder.path().join("data").join(wiped))?;
    let second = project.bought("second").await?;
    project.up().await?;
    project.joining(wiped).await?;
    // That of the file may have looked before the replica answered.
    let said = project.bazaar(&["init"]).await?;
    let id = wiped.rsplit('-').next().context("a number")?;
    ensure!(said.contains(&format!("replica {id} has a new data directory and does not vote")), "{said}");

    // With its vote, the other follower would lead once the leader is gone.
    project.kill(&leader).await?;
    let (status, body) = project.buy("refused").await?;
    ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "{status} {body}");
    ensure!(project.health(wiped).await?["role"] == "joining");
    ensure!(project.health(other).await?["role"] != "leader");

    project.up().await?;
    project.leader().await?;
    project.bazaar(&["members", "replace", id]).await?;
    project.all_healthy().await?;
    ensure!(project.bought("first").await? == first && project.bought("second").await? == second);
    let said = project.bazaar(&["check"]).await?;
    println!("{said}");
    Ok(())
}

#[tokio::test]
async fn containers_stop_in_order_when_they_are_told_and_come_back_with_their_data() -> Result<()> {
    let Some(mut project) = Project::new()? else { return Ok(()) };
    project.up().await?;
    project.all_healthy().await?;
    let number = project.bought("kept").await?;
    for (name, mut container) in std::mem::take(&mut project.running) {
        container.signal("TERM")?;
        let code = container.end().await?;
        ensure!(code == Some(0), "{name} ended with {code:?}:\n{}", project.engine.output(&name));
    }
    project.up().await?;
    project.all_healthy().await?;
    ensure!(project.engine.output("init").contains("exists, nothing is changed"), "{}", project.engine.output("init"));
    ensure!(project.bought("kept").await? == number);
    project.bazaar(&["check"]).await.map(drop)
}
