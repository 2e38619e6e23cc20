//! `bazaar backup`: takes a backup from a running replica, or looks into one.

mod take;

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use bazaar_domain::ReplicaId;
use bazaar_order_raft::backup::format::{Nowhere, Verified, read_archive};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{
    Context,
    output::{Report, table, table_text},
};

/// Shown below the arguments.
const EXAMPLES: &str = "\
Examples:
  bazaar backup orders.backup
  bazaar backup orders.backup --replica 2
  bazaar backup inspect orders.backup";

/// The arguments of `bazaar backup`.
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
#[command(after_help = EXAMPLES)]
pub struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// Where the backup goes; it must not exist yet.
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// The number of the replica that makes it; without this the highest one that follows and has applied all it knows of.
    #[arg(long, value_name = "ID")]
    replica: Option<ReplicaId>,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Check a backup, and show what it holds.
    #[command(after_help = "Examples:\n  bazaar backup inspect orders.backup")]
    Inspect {
        /// The file of the backup.
        file: PathBuf,
    },
}

/// What a backup holds.
#[derive(Debug, Serialize)]
struct BackupReport {
    file: PathBuf,
    /// When it was taken, for people; `taken_unix_s` is for programs.
    taken: String,
    #[serde(flatten)]
    backup: Verified,
}

impl BackupReport {
    fn new(file: PathBuf, backup: Verified) -> Self {
        Self { file, taken: utc(backup.manifest.taken_unix_s), backup }
    }
}

impl Report for BackupReport {
    fn to_text(&self, colour: bool) -> String {
        let Verified { manifest, bytes, checksum } = &self.backup;
        let mut main = table(&["BACKUP", &self.file.display().to_string()], colour);
        for (what, value) in [
            ("cluster", manifest.cluster_id.clone()),
            ("replica", manifest.replica.to_string()),
            ("log position", format!("index {}, term {}", manifest.index, manifest.term)),
            ("orders", manifest.orders.to_string()),
            ("digest", manifest.digest.clone()),
            ("taken", self.taken.clone()),
            ("size", format!("{bytes} bytes")),
            ("checksum", checksum.clone()),
            ("files", manifest.files.len().to_string()),
        ] {
            main.add_row([what, &value]);
        }
        let mut files = table(&["FILE", "BYTES", "CRC-32"], colour);
        for file in &manifest.files {
            files.add_row([file.name.clone(), file.bytes.to_string(), format!("{:08x}", file.crc32)]);
        }
        format!("{}\n\n{}", table_text(&main), table_text(&files))
    }
}

/// Runs the command.
///
/// # Errors
/// If the backup cannot be taken, or is damaged.
pub async fn run(context: &Context, args: BackupArgs) -> Result<()> {
    let (file, backup) = match (args.command, args.file) {
        (Some(BackupCommand::Inspect { file }), other) => {
            ensure!(other.is_none(), "inspect takes one file; see 'bazaar backup inspect --help'");
            let read = file.clone();
            let verified = spawn_blocking(move || inspect(&read)).await??;
            (file, verified)
        }
        (None, file) => {
            let file = file.context("name the file of the backup")?;
            let verified = take::take(context, &file, args.replica).await?;
            (file, verified)
        }
    };
    context.printer.print(&BackupReport::new(file, backup));
    Ok(())
}

fn inspect(path: &Path) -> Result<Verified> {
    let file = File::open(path).with_context(|| format!("the backup {} cannot be read", path.display()))?;
    read_archive(BufReader::new(file), &mut Nowhere)
        .with_context(|| format!("the backup {} cannot be used", path.display()))
}

/// Seconds since 1970 as a date and time, UTC.
fn utc(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Counted in years that begin in March, so that the leap day is the last one (400 years have 146,097 days).
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn seconds_become_dates_over_leap_days_and_centuries() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400 + 86_399), "2000-02-29 23:59:59 UTC");
        assert_eq!(utc(1_709_164_800), "2024-02-29 00:00:00 UTC");
        assert_eq!(utc(1_767_225_599), "2025-12-31 23:59:59 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}
