//! `scripts/cluster`, called: the one way in which the client touches processes.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use bazaar_domain::ReplicaId;
use clap::Args;
use tokio::process::Command;

/// The script that started the cluster.
#[derive(Debug, Clone, Args)]
pub struct ScriptArgs {
    /// The script that started the cluster.
    #[arg(long, default_value = "scripts/cluster", value_name = "FILE")]
    pub script: PathBuf,
    /// The data folder that was given to the script.
    #[arg(long, default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
}

/// The script with what it needs to know.
#[derive(Debug)]
pub struct Script<'a> {
    /// Where it is, and the folder of its cluster.
    pub args: &'a ScriptArgs,
    /// The cluster's configuration.
    pub config: PathBuf,
}

impl Script<'_> {
    /// Calls the script with a command for one replica.
    ///
    /// # Errors
    /// If it cannot be run, or says that it failed.
    pub async fn call(&self, command: &str, replica: ReplicaId) -> Result<()> {
        let script = &self.args.script;
        let output = Command::new(script)
            .arg(command)
            .arg(replica.to_string())
            .arg("--data")
            .arg(&self.args.data)
            .arg("--config")
            .arg(&self.config)
            .output()
            .await
            .with_context(|| format!("{} cannot be run; name the script with --script", script.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {command} {replica}: {}", script.display(), said.trim());
        Ok(())
    }
}
