//! A cluster in which everything speaks TLS.

use std::{fmt::Write as _, process::Command};

use anyhow::{Context, Result, ensure};
use bazaar_service::tls::Connector;

use super::{Cluster, REPLICAS, REQUEST_TIMEOUT};
use crate::process::binary;

impl Cluster {
    /// As [`Self::start_with_frontends`], with TLS and certificates everywhere, made by `bazaar certs init`.
    ///
    /// # Errors
    /// As there.
    pub async fn start_secured(frontends: u16, more_config: &str) -> Result<Self> {
        let mut cluster = Self { frontends, ..Self::prepare(more_config)? };
        cluster.make_certificates("init")?;
        let [authority, certificate, key] =
            ["authority.pem", "{process}.pem", "{process}.key"].map(|file| format!("certs/{file}"));
        write!(
            cluster.more_config,
            "\n[tls]\nauthority = \"{authority}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\""
        )?;
        cluster.write_config(&REPLICAS)?;
        cluster.is_secured = true;
        let operator = (cluster.certificate("operator.pem"), cluster.certificate("operator.key"));
        let connector = Connector::load(cluster.certificate("authority.pem"), Some(operator))?;
        cluster.client = connector.client_builder().timeout(REQUEST_TIMEOUT).build()?;
        cluster.launch_all().await?;
        Ok(cluster)
    }

    /// A file of a secured cluster's certificates.
    pub fn certificate(&self, file: &str) -> String {
        self.folder().join("certs").join(file).to_string_lossy().into_owned()
    }

    /// Runs `bazaar certs init` or `renew`.
    ///
    /// # Errors
    /// If it fails; the message is its own.
    pub fn make_certificates(&self, action: &str) -> Result<()> {
        let (config, dir) = (self.config(), self.folder().join("certs"));
        let command = Command::new(binary("bazaar"))
            .args(["certs", action, "--config"])
            .arg(config)
            .arg("--dir")
            .arg(dir)
            .output();
        let output = command.context("bazaar cannot be started")?;
        ensure!(output.status.success(), "certs {action}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
