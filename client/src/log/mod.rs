//! `bazaar log`: shows entries of a replica's log, live or in the folder of a stopped replica.

mod choice;
mod follow;
mod stopped;
mod text;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bazaar_domain::ReplicaId;
use bazaar_order_raft::log_store::view::EntryView;
use clap::Args;
use serde::Serialize;

use crate::{
    Context,
    admin::{Replica, configured},
    interrupt::until_interrupted,
    output::Report,
};

/// Most entries that one command shows, and most that are read at a time.
const ENTRIES_MAX: u64 = 1_000;

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar log --limit 5
  bazaar log --node 2 --after 100
  bazaar log --follow                        committed entries as they come, from whoever answers
  bazaar log --follow --output json          one JSON object a line
  bazaar log --data data/replica-1           of a stopped replica, without changing its folder

--follow shows committed entries only, and moves to another replica when one does not answer any more, unless --node
says which. Ctrl-C ends it with exit code 0. --data needs no running cluster: it also shows the vote, where the log
begins and ends, and what is applied; entries that cannot be read are named, and the exit code is 1.";

/// The arguments of `bazaar log`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LogArgs {
    /// The number of the replica; without this the leader, or any one that answers.
    #[arg(long, value_name = "ID")]
    pub node: Option<ReplicaId>,
    /// Show entries after this log index; without this the newest ones.
    #[arg(long, value_name = "INDEX")]
    pub after: Option<u64>,
    /// Show at most so many entries; with --follow so many older ones first.
    #[arg(long, default_value_t = 20, value_name = "ENTRIES", value_parser = clap::value_parser!(u64).range(1..=ENTRIES_MAX))]
    pub limit: u64,
    /// Go on showing entries as they are committed, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// Read the data directory of a stopped replica instead.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["node", "follow"])]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct LogReport {
    replica: ReplicaId,
    entries: Vec<EntryView>,
}

impl Report for LogReport {
    fn to_text(&self, colour: bool) -> String {
        format!("replica {}\n{}", self.replica, text::entries_table(self.entries.iter().map(text::row), colour))
    }
}

/// Runs the command.
///
/// # Errors
/// If there is no such replica or folder, none answers, or an entry cannot be read.
pub async fn run(context: &Context, args: LogArgs) -> Result<()> {
    match (&args.data, args.follow) {
        (Some(data), _) => stopped::run(context, data, args.after, args.limit).await,
        (None, true) => until_interrupted(follow::run(context, &args)).await,
        (None, false) => show(context, &args).await,
    }
}

/// The replicas that may be asked.
fn candidates(context: &Context, node: Option<ReplicaId>) -> Result<Vec<Replica>> {
    let config = context.cluster()?;
    let caller = context.frontend.caller();
    Ok(match node {
        Some(id) => vec![Replica::new(configured(&config, id)?, caller)],
        None => config.replicas.iter().map(|replica| Replica::new(replica, caller)).collect(),
    })
}

async fn show(context: &Context, args: &LogArgs) -> Result<()> {
    let candidates = candidates(context, args.node)?;
    let (replica, health) = choice::choose(&candidates).await?;
    let last = health.last_log_index.unwrap_or(0);
    let after = args.after.unwrap_or(last.saturating_sub(args.limit));
    let entries = replica
        .log(after, args.limit)
        .await
        .with_context(|| format!("the log of replica {} cannot be read, name another one with --node", replica.id))?;
    context.printer.print(&LogReport { replica: replica.id, entries });
    Ok(())
}
