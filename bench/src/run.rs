//! A whole run: the service, then the peers, each alone on the machine.

use std::{
    env,
    fs::File,
    io::{Write as _, stderr},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    args::Args,
    bazaar::{Bazaar, CACHE_STOCKS, bare::Bare},
    document::Document,
    etcd::members::Etcd,
    goals::COSTS,
    machine,
    plan::{BARE, LOOKUPS, Row, Work, rows, select},
    point::{Point, Repeat, Timing, repeat},
    postgres::Postgres,
    soak::Soak,
    table,
    usage::Group,
};

/// Order reads need orders to read.
const READABLE_ORDERS_MIN: u64 = 100_000;
/// The same for a quick run.
const READABLE_ORDERS_QUICK_MIN: u64 = 1_000;

/// Says how far the run is; figures go to standard output.
pub fn say(line: &str) {
    // Nobody who watches is no reason to stop.
    let _ = writeln!(stderr(), "{line}");
}

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
    writeln!(std::io::stdout(), "{}", table::show(&document))?;
    if !document.failures.is_empty() {
        bail!("{}", document.failures.join("; "));
    }
    if let Some(file) = args.out() {
        document.write(&file)?;
        say(&format!("written to {}", file.display()));
    }
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

async fn measure_ours(args: &Args, wanted: &[&Row], document: &mut Document) -> Result<()> {
    say("starting a fresh cluster");
    let bazaar = Bazaar::start().await?;
    if args.orders > 0 {
        say(&format!("filling it with {} orders", args.orders));
        document.orders_at_start = bazaar.fill(args.orders).await?;
    }
    if let Some(minutes) = args.soak {
        document.soak = Some(Soak::run(&bazaar, minutes).await?);
        return Ok(());
    }
    for row in wanted {
        if row.name.starts_with("reads-") {
            bazaar.fill(if args.quick { READABLE_ORDERS_QUICK_MIN } else { READABLE_ORDERS_MIN }).await?;
        }
        let points = if row.name == LOOKUPS {
            lookups(&bazaar, row, document.timing).await?
        } else {
            vec![ours(&bazaar, row, document.timing).await?]
        };
        points.into_iter().for_each(|point| add(document, point));
        if row.name == COSTS {
            document.order_bytes = Some(bazaar.order_bytes().await?);
        }
    }
    bazaar.check_books().await
}

async fn ours(bazaar: &Bazaar, row: &Row, timing: Timing) -> Result<Point> {
    let Work::Bazaar(load) = row.work else { bail!("{} is a row of a peer", row.name) };
    let groups = bazaar.groups().await?;
    let term = bazaar.standing().await?.term;
    let repeats = repeats(&groups, timing, async |duration_s| bazaar.load(load, duration_s, None).await).await?;
    // The groups are called after who leads.
    ensure!(bazaar.standing().await?.term == term, "there was an election during {}", row.name);
    Point::new(&row.name, row.clients, repeats).with_memory(&groups)
}

/// Lookups and the bare server in turn, so that a change of the machine's mood meets both.
async fn lookups(bazaar: &Bazaar, row: &Row, timing: Timing) -> Result<Vec<Point>> {
    let Work::Bazaar(load) = row.work else { bail!("{} is a row of a peer", row.name) };
    let bare = Bare::start(bazaar).await?;
    let url = bare.url();
    let (our_groups, bare_groups) = (bazaar.groups().await?, bare.groups());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    bazaar.load(load, timing.warm_up_s, None).await?;
    bazaar.load(load, timing.warm_up_s, Some(&url)).await?;
    for _ in 0..timing.repeats {
        ours.push(repeat(&our_groups, bazaar.load(load, timing.duration_s, None)).await?);
        theirs.push(repeat(&bare_groups, bazaar.load(load, timing.duration_s, Some(&url))).await?);
    }
    let ours = Point::new(&row.name, row.clients, ours).with_memory(&our_groups)?;
    Ok(vec![ours, Point::new(BARE, row.clients, theirs).with_memory(&bare_groups)?])
}

async fn measure_postgres(wanted: &[&Row], document: &mut Document) -> Result<()> {
    say("starting PostgreSQL: a primary and two standbys");
    let postgres = Postgres::start().await?;
    document
        .notes
        .push(format!("PostgreSQL {}: one of two standbys must have synced each commit", postgres.version().await?));
    let groups = postgres.groups();
    for row in wanted {
        let Work::Postgres(script) = row.work else { continue };
        let load = async |duration_s| postgres.load(script, row.clients, duration_s).await;
        let repeats = repeats(&groups, document.timing, load).await?;
        add(document, Point::new(&row.name, row.clients, repeats).without_written_bytes());
    }
    postgres.check_books().await
}

async fn measure_etcd(wanted: &[&Row], document: &mut Document) -> Result<()> {
    say("starting etcd: three members");
    let etcd = Etcd::start().await?;
    document
        .notes
        .push("etcd: three members as they are by default; clients share up to eight connections to the leader".into());
    let groups = etcd.groups();
    for row in wanted {
        let Work::Etcd(kind) = row.work else { continue };
        let load = async |duration_s| etcd.load(kind, row.clients, duration_s).await;
        let repeats = repeats(&groups, document.timing, load).await?;
        add(document, Point::new(&row.name, row.clients, repeats));
    }
    Ok(())
}

/// Warm-up, then the repeats.
async fn repeats(
    groups: &[Group],
    timing: Timing,
    mut load: impl AsyncFnMut(u64) -> Result<crate::answer::Answer>,
) -> Result<Vec<Repeat>> {
    load(timing.warm_up_s).await?;
    let mut repeats = Vec::new();
    for _ in 0..timing.repeats {
        repeats.push(repeat(groups, load(timing.duration_s)).await?);
    }
    Ok(repeats)
}

fn add(document: &mut Document, point: Point) {
    let noise = if point.is_noisy() { "  NOISY" } else { "" };
    let Point { name, rate_per_s, p50_ms, p99_ms, errors, others_percent, .. } = &point;
    say(&format!(
        "{name}: {rate_per_s:.0}/s, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, {errors} errors, others {others_percent:.1} %{noise}"
    ));
    document.points.push(point);
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
