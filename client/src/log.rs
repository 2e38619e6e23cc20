//! `bazaar log`: shows entries of a replica's log.

use anyhow::{Context as _, Result};
use bazaar_domain::{ReplicaId, api::Role};
use clap::Args;
use futures::future::join_all;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Context,
    admin::{LogEntry, Replica},
    exit::{Ending, Exit},
    output::{Report, counted, table, table_text},
};

/// Most entries that one command shows.
const ENTRIES_MAX: u64 = 1_000;
/// Items of an entry that are shown one by one.
const ITEMS_SHOWN_MAX: usize = 3;
/// Most characters of an item of an unknown form.
const ITEM_CHARS_MAX: usize = 80;

/// The arguments of `bazaar log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The replica; without this the leader, or any one that answers.
    #[arg(long, value_name = "ID")]
    pub node: Option<ReplicaId>,
    /// Show entries after this log index; without this the newest ones.
    #[arg(long, value_name = "INDEX")]
    pub after: Option<u64>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=ENTRIES_MAX))]
    pub limit: u64,
}

#[derive(Debug, Serialize)]
struct LogReport {
    replica: ReplicaId,
    entries: Vec<LogEntry>,
}

impl Report for LogReport {
    fn to_text(&self, colour: bool) -> String {
        let mut rows = table(&["INDEX", "TERM", "KIND", "CONTENT"], colour);
        for entry in &self.entries {
            let LogEntry { index, term, kind, items } = entry;
            rows.add_row([index.to_string(), term.to_string(), kind.clone(), summary(items)]);
        }
        format!("replica {}\n{}", self.replica, table_text(&rows))
    }
}

/// An entry's items in one line.
fn summary(items: &[Value]) -> String {
    if items.is_empty() {
        return "-".into();
    }
    let mut shown: Vec<String> = items.iter().take(ITEMS_SHOWN_MAX).map(item_text).collect();
    if items.len() > ITEMS_SHOWN_MAX {
        shown.push(format!("and {} more", items.len() - ITEMS_SHOWN_MAX));
    }
    format!("{}: {}", counted(items.len() as u64, "item"), shown.join(", "))
}

/// One item: a trade as `buy 3 GameStart`, anything else as its JSON, cut short.
fn item_text(item: &Value) -> String {
    let text = |field: &str| item.get(field).and_then(Value::as_str);
    match (text("side").or(text("type")), item.get("quantity").and_then(Value::as_u64), text("name")) {
        (Some(side), Some(quantity), Some(name)) => format!("{side} {quantity} {name}"),
        _ => item.to_string().chars().take(ITEM_CHARS_MAX).collect(),
    }
}

/// Runs the command.
///
/// # Errors
/// If there is no such replica, or none answers.
pub async fn run(context: &Context, args: LogArgs) -> Result<()> {
    let config = context.cluster()?;
    let caller = context.frontend.caller();
    let candidates: Vec<Replica> = match args.node {
        Some(id) => vec![Replica::new(config.replica(id)?, caller)],
        None => config.replicas.iter().map(|replica| Replica::new(replica, caller)).collect(),
    };
    let (replica, last) = choose(candidates).await?;
    let after = args.after.unwrap_or(last.saturating_sub(args.limit));
    let entries = replica
        .log(after, args.limit)
        .await
        .with_context(|| format!("the log of replica {} cannot be read, name another one with --node", replica.id))?;
    context.printer.print(&LogReport { replica: replica.id, entries });
    Ok(())
}

/// The leader if it answers, otherwise the first that does, and the last index of its log.
async fn choose(candidates: Vec<Replica>) -> Result<(Replica, u64)> {
    let looks = candidates.into_iter().map(|replica| async {
        let health = replica.health().await;
        (replica, health)
    });
    let mut found = None;
    let mut silent = Vec::new();
    for (replica, health) in join_all(looks).await {
        match health {
            Ok(health) => {
                let last = health.last_log_index.unwrap_or(0);
                if health.role == Role::Leader || found.is_none() {
                    found = Some((replica, last));
                }
            }
            Err(failure) => silent.push(format!("{}: {failure}", replica.id)),
        }
    }
    found.ok_or_else(|| {
        let silent = silent.join(", ");
        Ending::new(Exit::Unavailable, format!("no replica answers ({silent}); start the cluster, or check --config")).into()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn trades_are_summed_up_in_words_and_long_entries_are_cut() {
        let trade = json!({"key": "k", "name": "BoarCo", "side": "buy", "quantity": 3});
        assert_eq!(summary(&[]), "-");
        assert_eq!(summary(std::slice::from_ref(&trade)), "1 item: buy 3 BoarCo");
        let many = vec![trade; 5];
        assert_eq!(summary(&many), "5 items: buy 3 BoarCo, buy 3 BoarCo, buy 3 BoarCo, and 2 more");
    }

    #[test]
    fn an_item_of_another_form_is_shown_as_its_json() {
        let listing = json!({"name": "BoarCo", "change": "x".repeat(200)});
        let text = item_text(&listing);
        assert!(text.starts_with("{\"change\":\"xxx"), "{text}");
        assert_eq!(text.chars().count(), ITEM_CHARS_MAX);
    }
}
