//! The rows of the peers: what people would use instead.

use anyhow::Result;

use crate::{
    document::Document,
    etcd::members::Etcd,
    plan::{Row, Work},
    point::Point,
    postgres::Postgres,
    progress::say,
    repeat::repeats,
};

/// Measures PostgreSQL.
///
/// # Errors
/// If it is missing or fails, or its stocks did not lose what was sold.
pub async fn measure_postgres(wanted: &[&Row], document: &mut Document) -> Result<()> {
    say("starting PostgreSQL: a primary and two standbys");
    let postgres = Postgres::start().await?;
    let version = postgres.version().await?;
    document
        .notes
        .push(format!("PostgreSQL {version}: a commit is answered when one of two standbys has synced it too"));
    let groups = postgres.groups();
    for row in wanted {
        let Work::Postgres(script) = row.work else { continue };
        let load = async |duration_s| postgres.load(script, row.clients, duration_s).await;
        let repeats = repeats(&groups, document.timing, load).await?;
        document.add(Point::new(&row.name, row.clients, repeats).without_written_bytes());
    }
    postgres.check_books().await
}

/// Measures etcd.
///
/// # Errors
/// If it is missing or fails, or its stocks did not lose what was sold.
pub async fn measure_etcd(wanted: &[&Row], document: &mut Document) -> Result<()> {
    say("starting etcd: three members");
    let etcd = Etcd::start().await?;
    document
        .notes
        .push(format!("{}: all settings that matter as by default; clients talk to the leader", etcd.version().await?));
    let groups = etcd.groups();
    for row in wanted {
        let Work::Etcd(kind) = row.work else { continue };
        let load = async |duration_s| etcd.load(kind, row.clients, duration_s).await;
        let repeats = repeats(&groups, document.timing, load).await?;
        document.add(Point::new(&row.name, row.clients, repeats));
    }
    Ok(())
}
