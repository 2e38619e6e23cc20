//! The figures for people. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

use comfy_table::{Table, presets};

use crate::{
    bazaar::stages::STAGES,
    document::Document,
    goals::{COSTS, Verdict, best_batch, replica_bytes},
    point::{NOISE_PERCENT_MAX, Point},
    soak::Soak,
};

/// The groups of processes in the order of their columns.
const GROUPS: [&str; 10] =
    ["frontend", "catalog", "leader", "follower_a", "follower_b", "followers", "primary", "standbys", "bare", "client"];

/// All that a run found.
pub fn show(document: &Document) -> String {
    let mut parts = vec![head(document)];
    if !document.points.is_empty() {
        parts.push(rows(document));
        parts.extend(costs("CPU for one operation, microseconds", &document.points, |point| {
            &point.cpu_us_per_operation
        }));
        parts
            .extend(costs("resident memory at the end of the row, MiB", &document.points, |point| &point.resident_mib));
        parts.extend(stages(&document.points));
    }
    parts.extend(bytes(document));
    parts.extend(
        best_batch(&document.points).map(|point| format!("best batch: {}, {:.0}/s", point.name, point.rate_per_s)),
    );
    parts.extend(ratios(document));
    parts.extend(document.soak.as_ref().map(Soak::conclusion));
    parts.push(prefixed("note", &document.notes));
    parts.push(prefixed("FAILED", &document.failures));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn prefixed(word: &str, lines: &[String]) -> String {
    lines.iter().map(|line| format!("{word}: {line}")).collect::<Vec<_>>().join("\n")
}

fn head(document: &Document) -> String {
    let machine = &document.machine;
    format!(
        "{}, revision {}: {} cores ({}), {} MiB, Linux {}, {}",
        machine.time,
        machine.revision.as_deref().unwrap_or("unknown"),
        machine.cores,
        machine.processor,
        machine.memory_mib,
        machine.kernel,
        machine.file_system,
    )
}

fn rows(document: &Document) -> String {
    let mut rows = table(&["ROW", "CLIENTS", "RATE/S", "P50 MS", "P99 MS", "ERRORS", "BUSY %", "OTHERS %", "GOALS"]);
    for point in &document.points {
        let noise = if point.is_noisy() { " NOISY" } else { "" };
        rows.add_row([
            point.name.clone(),
            point.clients.to_string(),
            format!("{:.0}", point.rate_per_s),
            format!("{:.2}", point.p50_ms),
            format!("{:.2}", point.p99_ms),
            point.errors.to_string(),
            format!("{:.0}", point.busy_percent.median),
            format!("{:.1}{noise}", point.others_percent),
            goals_of(point, &document.goals),
        ]);
    }
    let timing = document.timing;
    let mut text = format!(
        "median (min-max) of {} repeats of {} s, after {} s of warm-up\n{}",
        timing.repeats,
        timing.duration_s,
        timing.warm_up_s,
        lines(&rows)
    );
    if document.points.iter().any(Point::is_noisy) {
        write!(
            text,
            "\nNOISY: others took more than {NOISE_PERCENT_MAX} % of the CPU; measure again when the machine is quiet"
        )
        .expect("writing to a string cannot fail");
    }
    text
}

fn goals_of(point: &Point, goals: &[Verdict]) -> String {
    let own = goals.iter().filter(|verdict| verdict.row == point.name);
    let texts = own.map(|verdict| {
        let word = if verdict.met { "met" } else { "MISSED" };
        format!("{}: {word} ({})", verdict.goal, short(verdict.found))
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// A number with as many decimals as its size is worth.
fn short(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// One column for each group of processes that any row has; nothing if none has any.
fn costs(title: &str, points: &[Point], figures: fn(&Point) -> &BTreeMap<String, f64>) -> Option<String> {
    let has = |name: &&str| points.iter().any(|point| figures(point).contains_key(*name));
    let names: Vec<&str> = GROUPS.into_iter().filter(has).collect();
    if names.is_empty() {
        return None;
    }
    let header: Vec<String> = ["row"].iter().chain(&names).chain(&["total"]).map(|name| name.to_uppercase()).collect();
    let mut rows = table(&header);
    for point in points.iter().filter(|point| !figures(point).is_empty()) {
        let of = figures(point);
        let each = names.iter().map(|name| of.get(*name).map_or(String::new(), |value| format!("{value:.1}")));
        let total = format!("{:.1}", of.values().sum::<f64>());
        rows.add_row([point.name.clone()].into_iter().chain(each).chain([total]));
    }
    Some(format!("{title}\n{}", lines(&rows)))
}

/// One line for each stage, one column for each row of trades.
fn stages(points: &[Point]) -> Option<String> {
    let points: Vec<&Point> = points.iter().filter(|point| !point.stages_us.is_empty()).collect();
    if points.is_empty() {
        return None;
    }
    let header: Vec<String> =
        ["STAGE".to_owned()].into_iter().chain(points.iter().map(|point| point.name.to_uppercase())).collect();
    let mut rows = table(&header);
    for (stage, _, _) in STAGES {
        let mean = |point: &&Point| point.stages_us.get(stage).map_or(String::new(), |mean| format!("{mean:.0}"));
        rows.add_row([stage.to_owned()].into_iter().chain(points.iter().map(mean)));
    }
    Some(format!("mean time of each stage of a trade, microseconds (warm-up included)\n{}", lines(&rows)))
}

fn bytes(document: &Document) -> Option<String> {
    let point = document.points.iter().find(|point| point.name == COSTS)?;
    let order = document.order_bytes?;
    let written = replica_bytes(point);
    Some(format!(
        "bytes written to disk for a trade at {COSTS}, all replicas together: {written:.0}\n  \
         its order has {:.0} bytes as its client sends it (JSON with its key), so {:.1} times as many are written;\n  \
         as it is stored (record under its number) it has {:.0}, so {:.1} times",
        order.sent,
        written / order.sent,
        order.stored,
        written / order.stored,
    ))
}

fn ratios(document: &Document) -> Option<String> {
    if document.ratios.is_empty() {
        return None;
    }
    let mut rows = table(&["OURS", "THEIRS", "RATE: OURS / THEIRS", "P50: THEIRS / OURS", "P99: THEIRS / OURS"]);
    for ratio in &document.ratios {
        let figures = [ratio.rate, ratio.p50, ratio.p99].map(|times| format!("{times:.2}"));
        rows.add_row([ratio.ours.clone(), ratio.theirs.clone()].into_iter().chain(figures));
    }
    Some(lines(&rows))
}

fn table<S: AsRef<str>>(header: &[S]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(AsRef::as_ref)).force_no_tty();
    table
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bazaar::bytes::OrderBytes, point::tests::one, repeat::Timing};

    fn document(points: Vec<Point>) -> Document {
        let mut document = Document::new(Timing::QUICK).unwrap();
        document.order_bytes = Some(OrderBytes { sent: 50.0, stored: 40.0 });
        document.points = points;
        document.conclude();
        document
    }

    #[test]
    fn the_table_has_the_figures_their_goals_and_their_noise() {
        let text =
            show(&document(vec![Point::new("trades-64", 64, vec![one(1_000.0, 0.03, 50.0), one(3_000.0, 0.03, 0.0)])]));
        let row = text.lines().find(|line| line.contains("trades-64 ")).unwrap();
        assert!(row.contains("2000 (1000-3000)"), "{row}");
        assert!(row.contains("51.0 NOISY"), "{row}");
        assert!(row.contains("at least 30000/s: MISSED (2000); at most 8 ms p99: met (7.00)"), "{row}");
        assert!(text.contains("all replicas together: 500") && text.contains("10.0 times as many"), "{text}");
    }

    #[test]
    fn every_group_that_took_cpu_has_a_column_and_they_add_up() {
        let text = show(&document(vec![Point::new("mixed-64", 64, vec![one(1_000.0, 0.03, 0.0)])]));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["ROW", "LEADER", "CLIENT", "TOTAL"]), "{text}");
        assert!(lines.contains(&vec!["mixed-64", "30.0", "10.0", "40.0"]), "{text}");
        assert!(!text.contains("resident memory"), "nobody's memory was looked at: {text}");
    }

    #[test]
    fn a_run_without_rows_shows_what_went_wrong() {
        let mut document = document(Vec::new());
        document.failures.push("etcd: it is missing".into());
        let text = show(&document);
        assert!(text.ends_with("FAILED: etcd: it is missing") && !text.contains("CLIENTS"), "{text}");
    }
}
