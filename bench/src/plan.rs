//! Which rows are measured.

use anyhow::{Result, ensure};

use crate::{bazaar::Load, etcd::load::Kind, postgres::Script};

/// Clients of the rows that show how a system bears more of them.
const CLIENTS: [u64; 4] = [1, 16, 64, 256];
/// Trades in a batch.
const BATCHES: [u64; 4] = [64, 1_000, 4_000, 8_192];
/// Connections of the batches.
const BATCH_CONNECTIONS: u64 = 4;
/// Clients of everything that is measured with one number of them.
const MANY: u64 = 64;

/// The row that the bare web server gets, in turn with the lookups.
pub const BARE: &str = "bare-64";
/// The row that it is compared with.
pub const LOOKUPS: &str = "lookups-64";

/// What is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The service.
    Bazaar(Load),
    /// PostgreSQL.
    Postgres(Script),
    /// etcd.
    Etcd(Kind),
}

/// A row to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Connections or clients.
    pub clients: u64,
    /// What they do.
    pub work: Work,
}

/// All rows in the order in which they are measured, those of the peers only if they are wanted.
pub fn rows(peers: bool) -> Vec<Row> {
    let row = |name: &str, clients, work| Row { name: format!("{name}-{clients}"), clients, work };
    let ours = |kind, connections| Work::Bazaar(Load { kind, connections, batch_size: None });
    let mut rows: Vec<Row> = CLIENTS.map(|clients| row("trades", clients, ours("trade", clients))).into();
    rows.extend(BATCHES.map(|size| {
        let load = Load { kind: "batch", connections: BATCH_CONNECTIONS, batch_size: Some(size) };
        Row { name: format!("batch-{size}"), clients: BATCH_CONNECTIONS, work: Work::Bazaar(load) }
    }));
    rows.extend(
        [("lookups", "lookup"), ("reads", "order"), ("mixed", "mixed")]
            .map(|(name, kind)| row(name, MANY, ours(kind, MANY))),
    );
    if peers {
        for script in [Script::Trade, Script::Statement, Script::Insert] {
            let name = format!("postgres-{}", script.name());
            rows.extend(CLIENTS.map(|clients| row(&name, clients, Work::Postgres(script))));
        }
        rows.push(row("postgres-read", MANY, Work::Postgres(Script::Read)));
        for (name, kind) in [("etcd-put", Kind::Put), ("etcd-trade", Kind::Trade)] {
            rows.extend(CLIENTS.map(|clients| row(name, clients, Work::Etcd(kind))));
        }
    }
    rows
}

/// The rows that are meant by these names or beginnings of names; all if there are none.
///
/// # Errors
/// If a name means no row; the message lists all.
pub fn select(rows: Vec<Row>, only: &[String]) -> Result<Vec<Row>> {
    let means = |wanted: &str, name: &str| {
        name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('-'))
    };
    for wanted in only {
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let known = names.iter().any(|name| means(wanted, name));
        ensure!(
            known,
            "there is no row '{wanted}'; there are {} (those of other systems with --peers)",
            names.join(", ")
        );
    }
    let selected = rows.into_iter().filter(|row| only.is_empty() || only.iter().any(|wanted| means(wanted, &row.name)));
    Ok(selected.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(peers: bool, only: &[&str]) -> Result<Vec<String>> {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        Ok(select(rows(peers), &only)?.into_iter().map(|row| row.name).collect())
    }

    #[test]
    fn a_beginning_means_all_its_rows_and_a_whole_name_one() {
        assert_eq!(names(false, &["trades"]).unwrap(), ["trades-1", "trades-16", "trades-64", "trades-256"]);
        assert_eq!(names(false, &["trades-1", "reads"]).unwrap(), ["trades-1", "reads-64"]);
        assert_eq!(names(true, &["postgres-read"]).unwrap(), ["postgres-read-64"]);
        assert_eq!(names(true, &["etcd"]).unwrap().len(), 8);
    }

    #[test]
    fn an_unknown_name_lists_all_and_peers_need_their_flag() {
        let error = names(false, &["trade"]).unwrap_err().to_string();
        assert!(error.contains("'trade'") && error.contains("trades-64") && error.contains("mixed-64"), "{error}");
        assert!(names(false, &["etcd"]).unwrap_err().to_string().contains("--peers"));
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let all = names(true, &[]).unwrap();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}
