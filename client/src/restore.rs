//! `bazaar restore`: makes the data of a new cluster from a backup.

use std::path::PathBuf;

use anyhow::Result;
use bazaar_domain::ReplicaId;
use bazaar_order_raft::backup::restore::{Restored, restore};
use clap::Args;
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{
    Context,
    output::{Report, counted},
};

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar restore orders.backup --data new-data";

/// The arguments of `bazaar restore`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RestoreArgs {
    /// The file of the backup.
    file: PathBuf,
    /// The folder to make, with a data directory for each replica of the configuration; it must be new or empty.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

#[derive(Debug, Serialize)]
struct RestoreReport {
    data: PathBuf,
    cluster_id: String,
    replicas: Vec<ReplicaId>,
    from_cluster_id: String,
    term: u64,
    index: u64,
    orders: u64,
    digest: String,
}

impl RestoreReport {
    fn new(data: PathBuf, restored: Restored) -> Self {
        let Restored { backup, cluster_id, replicas } = restored;
        let manifest = backup.manifest;
        Self {
            data,
            cluster_id,
            replicas,
            from_cluster_id: manifest.cluster_id,
            term: manifest.term,
            index: manifest.index,
            orders: manifest.orders,
            digest: manifest.digest,
        }
    }
}

impl Report for RestoreReport {
    fn to_text(&self, _colour: bool) -> String {
        let replicas: Vec<String> = self.replicas.iter().map(ToString::to_string).collect();
        let data = self.data.display();
        format!(
            "{} of cluster {} up to log index {}, digest {}\nare now cluster {} in {data}, replicas {}\nif the old cluster \
             runs, stop it first: scripts/cluster stop\nstart this one with: scripts/cluster start --data {data}\nits other \
             commands need the same: scripts/cluster stop --data {data}",
            counted(self.orders, "order"),
            self.from_cluster_id,
            self.index,
            self.digest,
            self.cluster_id,
            replicas.join(", "),
        )
    }
}

/// Runs the command.
///
/// # Errors
/// If the folder is not empty, or the backup is damaged; then nothing is made.
pub async fn run(context: &Context, args: RestoreArgs) -> Result<()> {
    let config = context.cluster()?;
    let RestoreArgs { file, data } = args;
    let made = data.clone();
    let restored = spawn_blocking(move || restore(&file, &made, &config)).await??;
    context.printer.print(&RestoreReport::new(data, restored));
    Ok(())
}
