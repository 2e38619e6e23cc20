//! `bazaar log --follow`: committed entries as they come. An entry that is not committed yet may still be replaced by
//! another leader's, so it is not shown.

use std::time::Duration;

use anyhow::Result;
use bazaar_domain::{ReplicaId, api::Health};
use bazaar_order_raft::log_store::view::EntryView;
use serde::Serialize;

use super::{ENTRIES_MAX, LogArgs, candidates, choice::choose, text};
use crate::{
    Context,
    admin::Replica,
    api::Failure,
    output::Printer,
    terminal::{self, write_line},
};

/// Pause between two looks at a log that did not grow.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Pause after nobody answered.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Line<'a> {
    replica: ReplicaId,
    #[serde(flatten)]
    entry: &'a EntryView,
}

/// Shows entries until nobody reads them any more.
///
/// # Errors
/// If nobody answers at the start.
pub(super) async fn run(context: &Context, args: &LogArgs) -> Result<()> {
    let candidates = candidates(context, args.node)?;
    let (mut replica, mut health) = choose(&candidates).await?;
    let mut after = args.after.unwrap_or(health.committed.unwrap_or(0).saturating_sub(args.limit));
    loop {
        match step(replica, &health, after).await {
            Ok(entries) if entries.is_empty() => tokio::time::sleep(LOOK_PAUSE).await,
            Ok(entries) => {
                tell_gap(replica.id, after, &entries);
                for entry in &entries {
                    if print(context.printer, replica.id, entry).is_err() {
                        return Ok(());
                    }
                    after = entry.index;
                }
            }
            Err(failure) => terminal::print_note(&format!("the log of replica {} breaks off ({failure})", replica.id)),
        }
        (replica, health) = next(&candidates, replica).await;
    }
}

/// The committed entries behind `after`, as many as are read at a time.
async fn step(replica: &Replica, health: &Health, after: u64) -> Result<Vec<EntryView>, Failure> {
    let committed = health.committed.unwrap_or(0);
    if committed <= after {
        return Ok(Vec::new());
    }
    let mut entries = replica.log(after, (committed - after).min(ENTRIES_MAX)).await?;
    // A log that begins later answers with its first entries, however far those are.
    entries.retain(|entry| entry.index <= committed);
    Ok(entries)
}

/// The same replica as long as it is in touch with the cluster, or else the best one that answers.
async fn next<'a>(candidates: &'a [Replica], current: &'a Replica) -> (&'a Replica, Health) {
    let look = current.health().await;
    if let Ok(health) = &look
        && (health.ready || candidates.len() == 1)
    {
        return (current, health.clone());
    }
    if let Err(failure) = &look {
        terminal::print_note(&format!("replica {} does not answer ({failure})", current.id));
    }
    let mut told = false;
    loop {
        match choose(candidates).await {
            Ok((replica, health)) => {
                if replica.id != current.id || look.is_err() {
                    terminal::print_note(&format!("going on with replica {}", replica.id));
                }
                return (replica, health);
            }
            Err(error) if !told => {
                terminal::print_note(&format!("{error:#}; waiting"));
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn tell_gap(replica: ReplicaId, after: u64, entries: &[EntryView]) {
    if let Some(first) = entries.first().filter(|first| first.index > after + 1) {
        let (from, to) = (after + 1, first.index - 1);
        terminal::print_note(&format!("replica {replica} has purged the entries {from} to {to}; they are left out"));
    }
}

fn print(printer: Printer, replica: ReplicaId, entry: &EntryView) -> std::io::Result<()> {
    write_line(&printer.line(&Line { replica, entry }, || text::line(entry)))
}
