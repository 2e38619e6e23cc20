//! `bazaar log --data`: the log in the folder of a stopped replica.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use bazaar_order_raft::log_store::stopped::{Found, Position, StoppedLog, read};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::text;
use crate::{
    Context,
    output::{Report, or_dash, table, table_text},
};

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct StoppedReport(StoppedLog);

impl Report for StoppedReport {
    fn to_text(&self, colour: bool) -> String {
        let log = &self.0;
        let position = |id: Option<Position>| or_dash(id.map(|id| format!("index {}, term {}", id.index, id.term)));
        let vote = log.vote.map(|vote| {
            let standing = if vote.committed { "which led" } else { "not seen to lead" };
            format!("term {}, for replica {}, {standing}", vote.term, vote.voted_for)
        });
        let mut head = table(&["REPLICA", &or_dash(log.replica)], colour);
        for (what, value) in [
            ("life", or_dash(log.life.map(|life| format!("{life:x}")))),
            ("cluster", or_dash(log.cluster_id.as_ref())),
            ("vote", or_dash(vote)),
            ("first", or_dash(log.first)),
            ("last", or_dash(log.last)),
            ("committed", position(log.committed)),
            ("applied", position(log.applied)),
            ("purged", position(log.purged)),
        ] {
            head.add_row([what, &value]);
        }
        let rows = log.entries.iter().map(|found| match found {
            Found::Entry(entry) => text::row(entry),
            Found::Unreadable { index, error } => [index.to_string(), "-".into(), "UNREADABLE".into(), error.clone()],
        });
        format!("{}\n\n{}", table_text(&head), text::entries_table(rows, colour))
    }
}

/// Shows the log of a stopped replica.
///
/// # Errors
/// If the folder is none of a stopped replica, or an entry cannot be read.
pub(super) async fn run(context: &Context, data: &Path, after: Option<u64>, limit: u64) -> Result<()> {
    let folder = data.to_owned();
    let log = spawn_blocking(move || read(&folder, after, limit)).await?.map_err(|error| {
        anyhow!("{error:#}; --data takes the folder of one stopped replica, without it a running one is asked")
    })?;
    let unreadable = log.unreadable();
    context.printer.print(&StoppedReport(log));
    ensure!(
        unreadable == 0,
        "{unreadable} of the entries cannot be read; the other replicas have them: replace this one (bazaar members \
         replace N)"
    );
    Ok(())
}
