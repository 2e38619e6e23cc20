//! A whole run: the service, then the peers, each alone on the machine.

use std::{
    env,
    fs::File,
    io::{Write as _, stdout},
};

use anyhow::{Context, Result, ensure};

use crate::{
    args::Args,
    bazaar::CACHE_STOCKS,
    document::Document,
    machine,
    ours::measure_ours,
    peers::{measure_etcd, measure_postgres},
    plan::{Row, Work, rows, select},
    progress::say,
    repeat::Timing,
    table,
};

/// Measures what the arguments want, prints it and writes it.
///
/// # Errors
/// If something is missing or fails; what was measured until then is printed.
pub async fn run(args: Args) -> Result<()> {
    let wanted = select(rows(args.peers), &args.only)?;
    // A quick run gives no figures, so it needs neither a disk nor the machine for itself.
    let _alone = if args.quick {
        None
    } else {
        machine::require_disk()?;
        Some(claim()?)
    };
    let timing = if args.quick { Timing::QUICK } else { Timing::FULL };
    let mut document = Document::new(timing)?;
    document.notes = notes(&args);
    measure(&args, &wanted, &mut document).await;
    document.conclude();
    writeln!(stdout(), "{}", table::show(&document))?;
    let failures = document.failures.join("; ");
    // What is kept from earlier runs is not replaced by half of one.
    if let Some(file) = if failures.is_empty() { args.out() } else { args.out } {
        document.write(&file)?;
        say(&format!("written to {}", file.display()));
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}

/// A peer that fails does not take the figures of the others with it.
async fn measure(args: &Args, wanted: &[Row], document: &mut Document) {
    let of = |is: fn(&Work) -> bool| wanted.iter().filter(|row| is(&row.work)).collect::<Vec<_>>();
    let ours = of(|work| matches!(work, Work::Bazaar(_)));
    let postgres = of(|work| matches!(work, Work::Postgres(_)));
    let etcd = of(|work| matches!(work, Work::Etcd(_)));
    if !ours.is_empty() {
        let result = measure_ours(args, &ours, document).await;
        note_failure(document, "the service", result);
    }
    if !postgres.is_empty() {
        let result = measure_postgres(&postgres, document).await;
        note_failure(document, "PostgreSQL", result);
    }
    if !etcd.is_empty() {
        let result = measure_etcd(&etcd, document).await;
        note_failure(document, "etcd", result);
    }
}

fn note_failure(document: &mut Document, who: &str, result: Result<()>) {
    if let Err(error) = result {
        document.failures.push(format!("{who}: {error:#}"));
    }
}

fn notes(args: &Args) -> Vec<String> {
    let mut notes = vec![
        "everything runs on this machine, load generators included; closed loops".to_owned(),
        format!("ten stocks, and a cache that holds them all ({CACHE_STOCKS}); all else is as by default"),
    ];
    if args.peers {
        notes.push("the peers do not look for keys that were used before; the service does".into());
        notes.push("TigerBeetle is left out: Debian has no package of it".into());
    }
    let others = machine::running_bazaars();
    if !others.is_empty() {
        let pids: Vec<String> = others.iter().map(u32::to_string).collect();
        notes.push(format!("processes of another bazaar were running: {}", pids.join(", ")));
    }
    notes
}

/// Two measurements at a time would measure each other. The lock ends with the process.
fn claim() -> Result<File> {
    let path = env::temp_dir().join("bazaar-bench.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
    ensure!(file.try_lock().is_ok(), "another measurement is running ({} is locked); wait for its end", path.display());
    Ok(file)
}
