//! What stories ask of a cluster: its listeners, and the client `bazaar`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Cluster, Name, finished};
use crate::{described, process::Process, wait_until};

impl Cluster {
    /// The texts of a replica's events, oldest first.
    ///
    /// # Errors
    /// If the replica does not show them.
    pub async fn events(&self, id: u64) -> Result<Vec<String>> {
        let (_, raft) = self.get(&format!("{}/admin/raft", self.admin_url(id))).await?;
        let events = raft["data"]["events"].as_array().context("events")?;
        Ok(events.iter().filter_map(|event| Some(event["what"].as_str()?.to_owned())).collect())
    }

    /// Has the leader hand over to this replica, unless it leads already, and waits until it leads.
    ///
    /// # Errors
    /// If it does not come about.
    pub async fn transfer(&self, to: u64) -> Result<()> {
        wait_until(&format!("replica {to} leads"), || async {
            let leader = self.leader().await.ok()?;
            if leader != to {
                let transfer = format!("{}/admin/transfer", self.admin_url(leader));
                // Refused while an election or another transfer is under way: the next look asks again.
                self.client.post(transfer).json(&json!({ "to": to })).send().await.ok();
            }
            (leader == to).then_some(())
        })
        .await
    }

    /// Waits until a replica tells this role in its health.
    ///
    /// # Errors
    /// If it does not.
    pub async fn wait_role(&self, id: u64, role: &str) -> Result<()> {
        let url = format!("{}/health", self.url_of(Name::Replica(id)));
        wait_until(&format!("replica {id} is {role}"), || async {
            self.get(&url).await.ok().filter(|(_, health)| health["data"]["role"] == role)
        })
        .await
        .map(drop)
    }

    /// Waits until a replica leads and takes trades; returns its number.
    ///
    /// # Errors
    /// If none does.
    pub async fn leader(&self) -> Result<u64> {
        wait_until("a replica leads", || async {
            for id in self.running_replicas() {
                let health = self.get(&format!("{}/health", self.url_of(Name::Replica(id)))).await;
                if let Ok((StatusCode::OK, health)) = health
                    && health["data"]["role"] == "leader"
                    && health["data"]["ready"] == true
                {
                    return Some(id);
                }
            }
            None
        })
        .await
    }

    /// Gets JSON.
    ///
    /// # Errors
    /// If nothing answers.
    pub async fn get(&self, url: &str) -> Result<(StatusCode, Value)> {
        read(self.client.get(url)).await
    }

    /// Sends a trade under a key through the frontend.
    ///
    /// # Errors
    /// If nothing answers.
    pub async fn trade(&self, key: &str, stock: &str, side: &str, quantity: u64) -> Result<(StatusCode, Value)> {
        let body = json!({ "name": stock, "type": side, "quantity": quantity });
        read(self.client.post(format!("{}/orders", self.url())).header("Idempotency-Key", key).json(&body)).await
    }

    /// A stock, as the frontend shows it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn stock(&self, stock: &str) -> Result<Value> {
        let (status, body) = self.get(&format!("{}/stocks/{stock}", self.url())).await?;
        ensure!(status == StatusCode::OK, "{stock}: {status} {body}");
        Ok(body["data"].clone())
    }

    /// The HTTP client of the stories.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Starts the client `bazaar` against this cluster; its output goes to a file of this name in the folder.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn bazaar(&self, output: &str, arguments: &[&str]) -> Result<Process> {
        let config = self.config();
        let url = self.url();
        let common = ["--url", &url, "--config", config.to_str().context("a folder that is no text")?];
        Process::start("bazaar", common.iter().chain(arguments), &self.folder().join(output))
    }

    /// Runs the client to its end and checks that it says all is well; returns what it printed.
    ///
    /// # Errors
    /// If it does not end well.
    pub async fn bazaar_succeeds(&self, output: &str, arguments: &[&str]) -> Result<String> {
        finished(self.bazaar(output, arguments)?).await
    }

    /// Runs `bazaar check` over everything, with the acknowledged orders of a workload.
    ///
    /// # Errors
    /// If a check fails.
    pub async fn check(&self, records: Option<&Path>) -> Result<String> {
        let mut arguments = vec!["check"];
        if let Some(records) = records {
            arguments.extend(["--records", records.to_str().context("a folder that is no text")?]);
        }
        self.bazaar_succeeds("check", &arguments).await
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value)> {
    let answer = described::send(request).await?;
    Ok((answer.status(), answer.json().await?))
}
