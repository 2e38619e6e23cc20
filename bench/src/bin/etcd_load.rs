//! `etcd-load`: loads an etcd member for a while and prints what it measured as JSON.

use std::time::Duration;

use anyhow::Result;
use bazaar_bench::etcd::load::{self, Kind};
use clap::Parser;

/// Loads an etcd member for a while and prints what it measured as JSON.
#[derive(Debug, Parser)]
struct Args {
    /// What clients do.
    #[arg(value_enum)]
    kind: Kind,
    /// The member: host:port.
    #[arg(long)]
    member: String,
    /// Clients, each with one operation under way; they share up to eight connections.
    #[arg(long, default_value_t = 64)]
    clients: u64,
    /// How long.
    #[arg(long, default_value_t = 8, value_name = "SECONDS")]
    duration_s: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Args { kind, member, clients, duration_s } = Args::parse();
    let answer = load::run(&member, kind, clients, Duration::from_secs(duration_s)).await?;
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}
