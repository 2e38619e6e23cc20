//! `bazaar certs show`.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use bazaar_service::tls::expiry;
use serde::Serialize;

use super::AUTHORITY_KEY;
use crate::{
    Context,
    output::{Report, table, table_text, verdict_cell},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The certificates of a folder.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) certificates: Vec<Row>,
    /// Whether the authority's key lies beside them.
    pub(super) has_authority_key: bool,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) file: String,
    /// Whole days until it is no longer valid; negative if it is not any more.
    pub(super) days_left: i64,
    /// When it ends, in seconds since 1970.
    pub(super) not_after_unix_s: u64,
}

pub(super) fn run(context: &Context, dir: &Path) -> Result<()> {
    let shown = look(dir, SystemTime::now())?;
    context.printer.print(&shown);
    match shown.certificates.iter().find(|row| row.days_left < 0) {
        Some(expired) => bail!("{} has expired; 'bazaar certs renew' makes a new one", expired.file),
        None => Ok(()),
    }
}

pub(super) fn look(dir: &Path, now: SystemTime) -> Result<Shown> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("{} cannot be read", dir.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pem"));
    files.sort();
    if files.is_empty() {
        bail!("there are no certificates in {}; 'bazaar certs init' makes them", dir.display());
    }
    let certificates = files.iter().map(|file| row(file, now)).collect::<Result<_>>()?;
    Ok(Shown { certificates, has_authority_key: dir.join(AUTHORITY_KEY).exists() })
}

fn row(file: &Path, now: SystemTime) -> Result<Row> {
    let not_after = expiry::of_file(file)?;
    let days = |span: Duration| i64::try_from(span.as_secs() / DAY.as_secs()).unwrap_or(i64::MAX);
    let days_left = match not_after.duration_since(now) {
        Ok(left) => days(left),
        Err(over) => -1 - days(over.duration()),
    };
    let not_after_unix_s = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Row { file, days_left, not_after_unix_s })
}

impl Report for Shown {
    fn to_text(&self, colour: bool) -> String {
        let mut table = table(&["certificate", "days left"], colour);
        for row in &self.certificates {
            table.add_row(vec![row.file.clone().into(), verdict_cell(row.days_left, row.days_left >= 0)]);
        }
        let key =
            if self.has_authority_key { "\nThe authority's key lies here too: move it to a safer place." } else { "" };
        format!("{}{key}", table_text(&table))
    }
}
