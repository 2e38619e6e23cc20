//! One log entry, decoded by the replica that holds it.

use std::time::Duration;

use bazaar_domain::api::Data;
use bazaar_service::Caller;
use serde::Deserialize;
use serde_json::Value;

/// How long a replica may take to decode an entry; it may hold thousands of trades.
const ENTRY_TIMEOUT: Duration = Duration::from_secs(2);

/// An entry as `GET /admin/log` shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LogEntry {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) kind: String,
    pub(super) items: Vec<Value>,
}

/// Asks a replica's admin listener for one entry.
///
/// # Errors
/// Why there is none, in words.
pub(super) async fn fetch(caller: &Caller, admin: &str, index: u64) -> Result<LogEntry, String> {
    let after = index.checked_sub(1).map(|after| format!("after={after}&")).unwrap_or_default();
    let url = caller.url(admin, &format!("/admin/log?{after}limit=1"));
    let found: Data<Vec<LogEntry>> =
        caller.get_json(&url, ENTRY_TIMEOUT).await.map_err(|error| format!("the replica cannot be asked: {error}"))?;
    let entry = found.data.into_iter().next().filter(|entry| entry.index == index);
    entry.ok_or_else(|| "the replica no longer holds this entry, or does not hold it yet".into())
}
