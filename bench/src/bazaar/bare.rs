//! The bare web server as a process.

use std::{fs, net::TcpStream};

use anyhow::{Context, Result};
use bazaar_tests::{
    ports::Ports,
    process::{self, Process},
    wait_until,
};

use super::{Bazaar, recorded::Recorded};
use crate::{child, usage::Group};

/// A running bare server; killed when it is dropped.
#[derive(Debug)]
pub struct Bare {
    process: Process,
    address: String,
    _ports: Ports,
}

impl Bare {
    /// Starts it with the answers of a cluster's frontend.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(bazaar: &Bazaar) -> Result<Self> {
        let cluster = bazaar.cluster();
        let recorded = Recorded::of(cluster.client(), &cluster.url()).await?;
        let answers = cluster.folder().join("answers.json");
        fs::write(&answers, serde_json::to_vec(&recorded)?)?;
        let ports = Ports::take()?;
        let address = format!("127.0.0.1:{}", ports.get(0));
        let arguments = ["--listen", &address, "--answers", answers.to_str().context("a folder that is no text")?];
        let process =
            child::start(&child::under(None), &process::binary("bare"), arguments, &cluster.folder().join("bare.log"))?;
        wait_until("the bare server listens", || async { TcpStream::connect(&address).ok() }).await?;
        Ok(Self { process, address, _ports: ports })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process.
    pub fn groups(&self) -> Vec<Group> {
        vec![Group { name: "bare", pids: vec![self.process.id()] }]
    }
}
